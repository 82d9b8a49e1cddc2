// Reads every text file of the tree once and asks each rule about it. The rules are plain functions
// over lines; what needs the whole tree (a header that nobody includes) is asked at the end.
#include "support/tree_rules.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace livecare::tree {
namespace {

namespace fs = std::filesystem;

// The arrows of HACKING.md: room -> rooms it may include. Reaching further along the arrows is
// allowed; anything else is not.
const std::map<std::string, std::set<std::string>>& arrows() {
  static const std::map<std::string, std::set<std::string>> table = {
      {"base", {}},
      {"elf", {"base"}},
      {"insn", {"base"}},
      {"objdiff", {"elf", "insn"}},
      {"match", {"elf", "insn"}},
      {"patchfmt", {"elf"}},
      {"trust", {"base"}},
      {"protocol", {"base"}},
      {"net", {"base"}},
      {"builder", {"objdiff", "match", "patchfmt", "trust"}},
      {"remote", {"elf"}},
      {"engine", {"remote", "patchfmt", "insn"}},
      {"kctl", {"patchfmt"}},
      {"inventory", {"elf"}},
      {"agent", {"engine", "kctl", "inventory", "protocol", "net", "trust"}},
      {"scanners", {"base"}},
      {"httpd", {"base"}},
      {"store", {"base"}},
      {"auth", {"base"}},
      {"portal", {"protocol", "patchfmt", "trust", "net", "httpd", "store", "auth"}},
      {"console", {"protocol", "scanners", "patchfmt", "trust", "net", "httpd", "store", "auth"}},
  };
  return table;
}

std::set<std::string> reachable(const std::string& room) {
  std::set<std::string> seen;
  std::vector<std::string> open = {room};
  while (!open.empty()) {
    std::string next = open.back();
    open.pop_back();
    if (!seen.insert(next).second) continue;
    auto found = arrows().find(next);
    if (found == arrows().end()) continue;
    open.insert(open.end(), found->second.begin(), found->second.end());
  }
  return seen;
}

// Headers of libraries that only one room may see; tests may use them to judge our own code.
const std::map<std::string, std::set<std::string>>& library_owners() {
  static const std::map<std::string, std::set<std::string>> table = {
      {"libelf.h", {"elf"}},
      {"gelf.h", {"elf"}},
      {"elfutils/libdwfl.h", {"remote"}},
      {"elfutils/libdw.h", {"builder", "remote"}},
      {"dwarf.h", {"builder", "remote"}},
      {"boost/beast.hpp", {"httpd"}},
      {"curl/curl.h", {"net"}},
      {"Zydis/Zydis.h", {"builder", "match", "objdiff"}},
  };
  return table;
}

std::string list_of(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " or ") + name;
  return text;
}

struct File {
  fs::path path;  // relative
  std::vector<std::string> lines;
};

class Checker {
 public:
  explicit Checker(fs::path root) : root_(std::move(root)) {}

  std::vector<Finding> run() {
    for (const fs::path& path : list_files()) files_.push_back(load(path));
    for (const File& file : files_) check_file(file);
    check_unused_headers();
    check_list_of_documents();
    std::sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) {
      return std::tie(a.file, a.line) < std::tie(b.file, b.line);
    });
    return findings_;
  }

 private:
  static bool is_left_out(const fs::path& name) {
    return name == "build" || name == ".git" || name == ".cache" || name == "node_modules";
  }

  std::vector<fs::path> list_files() const {
    std::vector<fs::path> found;
    for (auto at = fs::recursive_directory_iterator(root_); at != fs::end(at); ++at) {
      if (at->is_directory() && is_left_out(at->path().filename())) at.disable_recursion_pending();
      if (at->is_regular_file()) found.push_back(fs::relative(at->path(), root_));
    }
    return found;
  }

  File load(const fs::path& path) const {
    File file{.path = path, .lines = {}};
    std::ifstream stream(root_ / path);
    for (std::string line; std::getline(stream, line);) file.lines.push_back(line);
    return file;
  }

  void report(const File& file, size_t line, std::string message) {
    findings_.push_back({file.path.string(), line, std::move(message)});
  }

  static bool is_cxx(const File& file) {
    return file.path.extension() == ".cc" || file.path.extension() == ".h";
  }
  static bool is_test(const File& file) { return file.path.stem().string().ends_with("_test"); }
  static bool is_text_of_ours(const File& file) { return file.path.filename() != "LICENSE"; }

  // The room of a file below src/, empty elsewhere.
  static std::string room_of(const File& file) {
    auto part = file.path.begin();
    if (part == file.path.end() || *part != "src" || ++part == file.path.end()) return "";
    return std::next(part) == file.path.end() ? "" : part->string();
  }

  void check_file(const File& file) {
    if (!is_text_of_ours(file)) return;
    check_words(file);
    check_length(file);
    check_links(file);
    if (!is_cxx(file)) return;
    check_room(file);
    check_includes(file);
    check_own_header_first(file);
    check_pragma_once(file);
  }

  void check_length(const File& file) {
    if (file.path.extension() == ".md" || file.lines.size() <= file_lines_max) return;
    report(file, 0,
           std::to_string(file.lines.size()) + " lines, more than " +
               std::to_string(file_lines_max) + "; split it by nouns");
  }

  // A link between documents must lead somewhere.
  void check_links(const File& file) {
    if (file.path.extension() != ".md") return;
    static const std::regex link("\\]\\(([^)#]+)(#[^)]*)?\\)");
    for (size_t i = 0; i < file.lines.size(); i++) {
      const std::string& line = file.lines[i];
      for (std::sregex_iterator at(line.begin(), line.end(), link), end; at != end; ++at) {
        const std::string target = (*at)[1];
        if (target.find("://") != std::string::npos) continue;
        if (!fs::exists(root_ / file.path.parent_path() / target)) {
          report(file, i + 1, "links to " + target + ", which does not exist");
        }
      }
    }
  }

  // The words are put together here so that this file passes its own rule.
  void check_words(const File& file) {
    static const std::regex later(std::string("\\b(TO") + "DO|FIX" + "ME|XX" + "X|HA" + "CK)\\b");
    static const std::regex skipped(std::string("\\b(GTEST_") + "SKIP|DISABLED" + "_[A-Z])");
    static const std::regex machine(std::string("(^|[^A-Za-z0-9_.])/(wo") + "rk|ho" +
                                    "me/[a-z]+)/");
    for (size_t i = 0; i < file.lines.size(); i++) {
      const std::string& line = file.lines[i];
      if (std::regex_search(line, later))
        report(file, i + 1, "a mark for later work; do it or drop it");
      if (std::regex_search(line, skipped)) report(file, i + 1, "a test that is switched off");
      if (std::regex_search(line, machine)) report(file, i + 1, "a path of one machine");
    }
  }

  void check_room(const File& file) {
    if (*file.path.begin() != "src") return;
    std::string room = room_of(file);
    if (arrows().count(room) == 0) report(file, 0, "lies in no room of HACKING.md");
  }

  static std::string included(const std::string& line, bool& quoted) {
    static const std::regex form("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"]");
    std::smatch match;
    if (!std::regex_search(line, match, form)) return "";
    quoted = match[1] == "\"";
    return match[2];
  }

  void check_includes(const File& file) {
    const std::string room = room_of(file);
    const std::set<std::string> allowed = reachable(room);
    for (size_t i = 0; i < file.lines.size(); i++) {
      bool quoted = false;
      std::string name = included(file.lines[i], quoted);
      if (name.empty()) continue;
      if (quoted) used_headers_.insert(name);
      if (quoted && name.starts_with("..")) {
        report(file, i + 1, "includes start at the root, not at " + name);
      }
      if (room.empty() || is_test(file)) continue;
      std::string other = name.substr(0, name.find('/'));
      if (quoted && arrows().count(other) != 0 && allowed.count(other) == 0) {
        report(file, i + 1, room + " may not include " + other + " (no arrow leads there)");
      }
      auto owner = library_owners().find(name);
      if (owner != library_owners().end() && owner->second.count(room) == 0) {
        report(file, i + 1, name + " is for the room " + list_of(owner->second) + " only");
      }
    }
  }

  // The header that x.cc implements must be its first include, so that it is known to stand alone.
  void check_own_header_first(const File& file) {
    if (room_of(file).empty() || file.path.extension() != ".cc" || is_test(file)) return;
    fs::path header = file.path;
    header.replace_extension(".h");
    if (!fs::exists(root_ / header)) return;
    const std::string own = fs::relative(header, "src").string();
    for (size_t i = 0; i < file.lines.size(); i++) {
      bool quoted = false;
      std::string name = included(file.lines[i], quoted);
      if (name.empty()) continue;
      if (name != own) report(file, i + 1, "own header " + own + " must be included first");
      return;
    }
    report(file, 0, "does not include its own header " + own);
  }

  void check_pragma_once(const File& file) {
    if (room_of(file).empty() || file.path.extension() != ".h") return;
    bool found = std::any_of(file.lines.begin(), file.lines.end(), [](const std::string& line) {
      return line.starts_with("#pragma once") || line.starts_with("#ifndef");
    });
    if (!found) report(file, 0, "has no #pragma once");
  }

  // A header below src/ that nothing includes is dead, unless a build file installs or embeds it.
  void check_unused_headers() {
    for (const File& file : files_) {
      if (room_of(file).empty() || file.path.extension() != ".h") continue;
      std::string name = fs::relative(file.path, "src").string();
      if (used_headers_.count(name) == 0 && !is_named_by_build(file.path.filename().string())) {
        report(file, 0, "nobody includes it");
      }
    }
  }

  // Every document below docs/ is in the table of docs/README.md.
  void check_list_of_documents() {
    const fs::path docs = "docs", list = docs / "README.md";
    std::string table;
    for (const File& file : files_)
      if (file.path == list)
        for (const std::string& line : file.lines) table += line + "\n";
    if (table.empty()) return;
    for (const File& file : files_) {
      if (*file.path.begin() != docs || file.path.extension() != ".md" || file.path == list)
        continue;
      const std::string link = "(" + fs::relative(file.path, docs).string() + ")";
      if (table.find(link) == std::string::npos) report(file, 0, "is not in docs/README.md");
    }
  }

  bool is_named_by_build(const std::string& name) const {
    for (const File& file : files_) {
      bool is_build = file.path.filename() == "CMakeLists.txt" || file.path.extension() == ".cmake";
      if (!is_build) continue;
      for (const std::string& line : file.lines) {
        if (line.find(name) != std::string::npos) return true;
      }
    }
    return false;
  }

  fs::path root_;
  std::vector<File> files_;
  std::set<std::string> used_headers_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check(const fs::path& root) {
  return Checker(root).run();
}

}  // namespace livecare::tree
