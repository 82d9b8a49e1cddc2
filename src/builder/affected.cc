#include "builder/affected.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/build_space.h"
#include "builder/cache_entry.h"
#include "builder/include_scan.h"
#include "builder/parallel.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

template <size_t N>
bool is_one_of(std::string_view text, const std::array<const char*, N>& set) {
  return std::find(set.begin(), set.end(), text) != set.end();
}

std::vector<std::string> components(const std::string& name) {
  std::vector<std::string> parts;
  for (const fs::path& part : fs::path(name).parent_path()) parts.push_back(part);
  return parts;
}

// True when text holds the word with neither a letter nor a digit on either side.
bool has_word(std::string_view text, std::string_view word) {
  auto is_letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  if (word.empty()) return false;
  for (size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; ++at) {
    size_t end = at + word.size();
    if ((at == 0 || !is_letter(text[at - 1])) && (end == text.size() || !is_letter(text[end])))
      return true;
  }
  return false;
}

// The prerequisites of a make rule: "x: a.c b.h \\\n c\\ d.h".
std::vector<std::string> prerequisites(std::string_view rule) {
  std::vector<std::string> files;
  size_t colon = rule.find(':');
  if (colon == std::string_view::npos) return files;
  std::string file;
  auto end = [&] {
    if (!file.empty()) files.push_back(std::exchange(file, {}));
  };
  for (size_t i = colon + 1; i < rule.size(); ++i) {
    char c = rule[i];
    char next = i + 1 < rule.size() ? rule[i + 1] : '\n';
    bool is_escape =
        (c == '\\' && (next == ' ' || next == '#' || next == '\\')) || (c == '$' && next == '$');
    bool is_end = c == ' ' || c == '\n' || c == '\t' || (c == '\\' && next == '\n');
    if (is_escape)
      file += rule[++i];
    else if (is_end)
      end();
    else
      file += c;
  }
  end();
  return files;
}

class Finder {
 public:
  Finder(const PreparedTree& tree, const FixPlan& plan, unsigned jobs)
      : tree_(tree), plan_(plan), jobs_(jobs) {
    for (const TouchedFile& file : plan.touched)
      for (const fs::path& copy : file.copies) touched_[copy] = &file;
    collect_uses();
  }

  Result<Affected> find() {
    TRY_STATUS(ask_candidates());
    for (const auto& [unit, uses] : uses_)
      if (reached_.contains(unit)) add_unit(unit, uses);
    // New sources first: whether a build file only names them is asked after.
    for (bool is_new : {true, false})
      for (const TouchedFile& file : plan_.touched)
        if (file.is_new == is_new) judge(file);
    return std::move(affected_);
  }

 private:
  struct Use {
    size_t target = 0;
    bool certain = true;
  };

  const CompileUnit& unit(uint32_t index) const { return tree_.graph.units()[index]; }

  void collect_uses() {
    for (size_t i = 0; i < tree_.targets.size(); ++i)
      for (const LinkedFile& linked : tree_.graph.linked())
        if (linked.path == tree_.targets[i].rebuilt_seen)
          for (const UnitUse& use : linked.units) uses_[use.unit].push_back({i, use.certain});
  }

  fs::path real_path(const Call& call, const std::string& path) const {
    std::string absolute = fs::path(path).is_absolute() ? path : call.directory + "/" + path;
    fs::path disk = tree_.on_disk(fs::path(absolute).lexically_normal());
    std::error_code failure;
    fs::path real = fs::canonical(disk, failure);
    return failure ? disk : real;
  }

  // Macros that compiles get on their command lines.
  std::set<std::string> defined_macros() const {
    std::set<std::string> macros;
    for (const auto& [index, uses] : uses_) {
      const auto& arguments = tree_.calls[unit(index).call].arguments;
      for (size_t i = 0; i < arguments.size(); ++i) {
        if (!arguments[i].starts_with("-D")) continue;
        std::string macro = arguments[i].substr(2);
        if (macro.empty() && i + 1 < arguments.size()) macro = arguments[i + 1];
        macros.insert(macro.substr(0, macro.find('=')));
      }
    }
    return macros;
  }

  // What else than a source of its own a unit may read.
  bool touches_headers() const {
    return std::any_of(touched_.begin(), touched_.end(), [](const auto& file) {
      return language_of(file.first.native()) == Language::other;
    });
  }

  // Units that may read a touched file, by the scan of include lines.
  std::vector<uint32_t> candidates() const {
    std::set<std::string> names;
    for (const auto& [path, file] : touched_) names.insert(path.filename());
    std::set<std::string> may = IncludeScan(tree_.root, defined_macros()).may_include(names);
    std::vector<uint32_t> found;
    for (const auto& [index, uses] : uses_) {
      const Call& call = tree_.calls[unit(index).call];
      bool is_candidate = may.contains(fs::path(unit(index).source).filename());
      for (size_t i = 0; i + 1 < call.arguments.size() && !is_candidate; ++i)
        if (call.arguments[i] == "-include" || call.arguments[i] == "-imacros")
          is_candidate = may.contains(fs::path(call.arguments[i + 1]).filename());
      if (is_candidate && unit(index).source != "-") found.push_back(index);
    }
    return found;
  }

  Status ask_candidates() {
    Stopwatch watch;
    std::vector<uint32_t> asked;
    for (uint32_t index : candidates()) {
      const CompileUnit& one = unit(index);
      fs::path source = real_path(tree_.calls[one.call], one.source);
      if (touched_.contains(source)) reach(index, source);
      if (!touched_.contains(source) || touches_headers()) asked.push_back(index);
    }
    TRY(TemporaryDirectory scratch, TemporaryDirectory::make("livecare-deps"));
    std::vector<Result<std::vector<fs::path>>> answers;
    for (size_t i = 0; i < asked.size(); ++i) answers.emplace_back(std::vector<fs::path>());
    for_each_parallel(asked.size(), jobs_, [&](size_t i) {
      answers[i] = files_read(asked[i], scratch.path() / std::to_string(i));
    });
    for (size_t i = 0; i < asked.size(); ++i) {
      if (!answers[i].ok()) return answers[i].take_error();
      for (const fs::path& path : *answers[i])
        if (touched_.contains(path)) reach(asked[i], path);
    }
    log(LogLevel::debug, "asked {} of {} units for their headers in {:.1f} s", asked.size(),
        uses_.size(), watch.seconds());
    return ok_status();
  }

  Result<std::vector<fs::path>> files_read(uint32_t index, const fs::path& rule) const {
    const CompileUnit& one = unit(index);
    const Call& call = tree_.calls[one.call];
    if (tool_of(call) == Tool::assembler) return std::vector<fs::path>{real_path(call, one.source)};
    BuildSpace space = tree_.space();
    TRY(CommandResult result,
        space.run_again(call, dependency_arguments(call, one.spelled, rule.native())));
    if (result.exit_code != 0)
      return make_error(ErrorCode::io, one.source,
                        "the compiler cannot list the files that it includes: {}", result.errors);
    TRY(std::string text, read_text(rule));
    std::vector<fs::path> files;
    for (const std::string& file : prerequisites(text)) files.push_back(real_path(call, file));
    return files;
  }

  void reach(uint32_t index, const fs::path& path) {
    reached_.insert(index);
    used_.insert(touched_.at(path));
  }

  std::string name_of(const std::string& seen) const {
    std::string disk = tree_.on_disk(seen).native();
    for (const auto& [path, file] : touched_)
      if (path.native() == disk) return file->name;
    return disk.starts_with(tree_.root.native() + "/") ? disk.substr(tree_.root.native().size() + 1)
                                                       : disk;
  }

  void add_unit(uint32_t index, const std::vector<Use>& uses) {
    const CompileUnit& one = unit(index);
    AffectedUnit affected{index, {}, name_of(one.source), {}, {}};
    if (one.language == Language::assembler) {
      affected_.refused.push_back({"", "",
                                   affected.name +
                                       ": is assembler source, which is not compared; a fix has to "
                                       "change C or C++ code only"});
      return;
    }
    for (const Use& use : uses) {
      affected.targets.push_back(use.target);
      affected.certain.push_back(use.certain);
    }
    affected_.units.push_back(std::move(affected));
  }

  void judge(const TouchedFile& file) {
    if (used_.contains(&file)) return;
    FileRole role = role_of(file.name);
    auto ignore = [&](std::string_view why) {
      affected_.ignored.push_back(fmt::format("{} ({})", file.name, why));
    };
    auto refuse = [&](std::string_view why) {
      affected_.refused.push_back({"", "", fmt::format("{}: {}", file.name, why)});
    };
    if (file.is_new && role == FileRole::source && language_of(file.name) != Language::other) {
      judge_new_source(file);
    } else if (is_aside(file.name)) {
      ignore("tests, documentation or examples");
    } else if (role == FileRole::source) {
      ignore("no compile of a target reads it");
    } else if (role == FileRole::packaging) {
      if (fs::path(file.name).filename() == "rules")
        refuse("changes how the package is built");
      else
        ignore("packaging");
    } else if (role == FileRole::build) {
      judge_build_file(file);
    } else if (role == FileRole::generator) {
      refuse(
          "sources are generated from it; write the fix against the generated file, or build the "
          "fixed tree and take the difference");
    } else {
      ignore("nothing is compiled from it");
    }
  }

  std::vector<std::string> new_stems() const {
    std::vector<std::string> stems;
    for (const TouchedFile& file : plan_.touched)
      if (file.is_new && !build_files_name(file)) stems.push_back(fs::path(file.name).stem());
    return stems;
  }

  void judge_build_file(const TouchedFile& file) {
    bool harmless = true;
    std::vector<std::string> stems = new_stems();
    for (const std::string& added : added_units_) stems.push_back(added);
    for (const FilePatch* patch : file.patches)
      harmless = harmless && only_names_new_files(*patch, stems);
    if (harmless || !reaches_target(file)) {
      affected_.ignored.push_back(file.name + (harmless ? " (only names files that the fix adds)"
                                                        : " (no target is built below it)"));
      return;
    }
    affected_.refused.push_back(
        {"", "",
         file.name + ": steers the build of a target, which cannot be repeated for a part; "
                     "leave this file out of the fix if its sources do not need it"});
  }

  // A target's source lives in the directory of the build file or below it.
  bool reaches_target(const TouchedFile& file) const {
    for (const fs::path& copy : file.copies) {
      std::string directory = copy.parent_path().native() + "/";
      for (const auto& [index, uses] : uses_)
        if (tree_.on_disk(unit(index).source).native().starts_with(directory)) return true;
    }
    return false;
  }

  // A build file of the fix adds a line that names the new source (not as a test).
  bool build_files_name(const TouchedFile& source) const {
    std::string stem = fs::path(source.name).stem();
    if (is_aside(source.name) || stem.starts_with("tst-") || stem.starts_with("test") ||
        stem.starts_with("bug-"))
      return false;
    for (const TouchedFile& file : plan_.touched) {
      if (role_of(file.name) != FileRole::build) continue;
      for (const FilePatch* patch : file.patches)
        for (const Hunk& hunk : patch->hunks)
          for (const HunkLine& line : hunk.lines)
            if (line.kind == '+' && has_word(line.text, stem)) return true;
    }
    return false;
  }

  void judge_new_source(const TouchedFile& file) {
    if (!build_files_name(file)) {
      affected_.ignored.push_back(file.name + " (new, and no build file of the fix names it)");
      return;
    }
    added_units_.push_back(fs::path(file.name).stem());
    bool found = false;
    for (const fs::path& copy : file.copies) {
      std::map<size_t, uint32_t> siblings;  // by target
      for (const auto& [index, uses] : uses_) {
        const CompileUnit& one = unit(index);
        if (one.language != language_of(file.name)) continue;
        if (tree_.on_disk(one.source).parent_path() != copy.parent_path()) continue;
        for (const Use& use : uses)
          if (use.certain) siblings.emplace(use.target, index);
      }
      for (const auto& [target, sibling] : siblings) {
        affected_.units.push_back({sibling, tree_.as_seen(copy), file.name, {target}, {true}});
        found = true;
      }
    }
    if (!found)
      affected_.refused.push_back({"", "",
                                   file.name + ": is new, and no target has a source beside "
                                               "it whose flags could be used"});
  }

  const PreparedTree& tree_;
  const FixPlan& plan_;
  unsigned jobs_;
  std::map<fs::path, const TouchedFile*> touched_;
  std::map<uint32_t, std::vector<Use>> uses_;
  std::set<uint32_t> reached_;
  std::set<const TouchedFile*> used_;
  std::vector<std::string> added_units_;
  Affected affected_;
};

}  // namespace

FileRole role_of(const std::string& name) {
  static constexpr std::array build_names = {"Makefile",       "makefile",    "GNUmakefile",
                                             "CMakeLists.txt", "meson.build", "meson_options.txt",
                                             "configure",      "build.info",  "Rules",
                                             "Makeconfig",     "Makerules",   "Jamfile",
                                             "BUILD",          "SConstruct",  "SConscript",
                                             "Configure",      "config",      "Versions",
                                             "wscript",        "Kbuild",      "Kconfig"};
  static constexpr std::array build_endings = {
      ".mk", ".mak",  ".am",  ".ac",  ".m4",  ".cmake", ".pro",     ".pri", ".gyp", ".gn",
      ".bp", ".make", ".map", ".ver", ".sym", ".exp",   ".version", ".lds", ".ld"};
  static constexpr std::array generators = {
      ".in", ".pl",      ".pm",    ".py",  ".sh",     ".awk",  ".y",       ".yy",  ".l",
      ".ll", ".sed",     ".gperf", ".td",  ".proto",  ".asn1", ".asn",     ".idl", ".tmpl",
      ".j2", ".list",    ".num",   ".ec",  ".txt.in", ".rs",   ".go",      ".f",   ".f90",
      ".d",  ".zig",     ".vala",  ".pyx", ".asm",    ".nasm", ".perlasm", ".rl",  ".re",
      ".hx", ".json.in", ".lua",   ".tcl", ".rb"};
  static constexpr std::array headers = {".h",   ".hh",  ".hpp", ".hxx", ".H",  ".inc",
                                         ".def", ".tcc", ".ipp", ".inl", ".h++"};
  fs::path path(name);
  std::string file = path.filename();
  std::string ending = path.extension();
  if (name.starts_with("debian/")) return FileRole::packaging;
  if (is_one_of(file, build_names) || is_one_of(ending, build_endings) ||
      file.starts_with("Makefile."))
    return FileRole::build;
  if (is_one_of(ending, generators)) return FileRole::generator;
  if (language_of(name) != Language::other || is_one_of(ending, headers)) return FileRole::source;
  return FileRole::other;
}

bool is_aside(const std::string& name) {
  static constexpr std::array asides = {
      "test",      "tests",   "testsuite",  "testing",    "t",       "doc",     "docs",
      "examples",  "example", "demo",       "demos",      "fuzz",    "fuzzing", "man",
      "po",        "bench",   "benchmark",  "benchmarks", ".github", "ci",      "unittest",
      "unittests", "manual",  "mysql-test", "demoCA"};
  auto parts = components(name);
  return std::any_of(parts.begin(), parts.end(),
                     [](const std::string& part) { return is_one_of(part, asides); });
}

bool only_names_new_files(const FilePatch& patch, const std::vector<std::string>& new_stems) {
  for (const Hunk& hunk : patch.hunks)
    for (const HunkLine& line : hunk.lines) {
      if (line.kind == ' ') continue;
      size_t first = line.text.find_first_not_of(" \t\r\\");
      if (first == std::string::npos || line.text[first] == '#') continue;
      bool names = std::any_of(new_stems.begin(), new_stems.end(),
                               [&](const std::string& stem) { return has_word(line.text, stem); });
      // A line that is removed and comes back with a continuation mark says nothing new.
      std::string bare = line.text.substr(0, line.text.find_last_not_of(" \t\r\\") + 1);
      bool moved = false;
      for (const HunkLine& other : hunk.lines)
        if (other.kind != ' ' && other.kind != line.kind &&
            other.text.substr(0, other.text.find_last_not_of(" \t\r\\") + 1) == bare)
          moved = true;
      if (!names && !moved) return false;
    }
  return true;
}

Result<Affected> find_affected(const PreparedTree& tree, const FixPlan& plan, unsigned jobs) {
  return Finder(tree, plan, jobs).find();
}

}  // namespace livecare::builder
