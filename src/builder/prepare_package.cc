// A distribution's source package, built as the distribution builds it.
//
// Only the build stage of debian/rules runs (build-arch): packaging steps may fail for reasons of
// their own and nothing of them is needed. The profiles nocheck, nodoc and nobiarch leave out what
// does not change the libraries; glibc alone would otherwise be built three times.
// The build is ended as soon as every shipped file has been linked and is equal, or, when some
// differ, when no compiler has run for a minute: what comes after (glibc's locales) takes as long
// again. A build that fails late is good enough when it linked what was shipped.
// Documents are not made (recorder.c); a build that misses them is done again with them. Whether
// the result is the shipped program is proved later and does not depend on any of this.
#include <algorithm>
#include <cctype>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/apt.h"
#include "builder/cache_entry.h"
#include "builder/pairing.h"
#include "builder/prepare.h"
#include "builder/prepare_parts.h"
#include "builder/tree_edit.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr const char* skipped_documents = "skipped-documents";  // file in the entry
constexpr double completion_interval_seconds = 6;
constexpr int quiet_rounds_if_identical = 2;
constexpr int quiet_rounds_if_paired = 10;

const std::vector<std::string> profiles = {"nocheck", "nodoc", "nobiarch"};

struct NameVersion {
  std::string name;
  std::string version;
};

Result<NameVersion> split_name(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    return make_error(ErrorCode::invalid_input, text,
                      "is not NAME=VERSION (curl=7.88.1-10+deb12u5)");
  for (char c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("+-.:~=_", c))
      return make_error(ErrorCode::invalid_input, text, "has a character that no package name has");
  return NameVersion{text.substr(0, equals), text.substr(equals + 1)};
}

std::string upstream_version(const std::string& version) {
  size_t colon = version.find(':');
  std::string rest = colon == std::string::npos ? version : version.substr(colon + 1);
  size_t dash = rest.rfind('-');
  return dash == std::string::npos ? rest : rest.substr(0, dash);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

unsigned job_count(const PrepareOptions& options) {
  return options.jobs != 0 ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
}

// What dpkg-buildpackage and sbuild set.
Result<std::map<std::string, std::string>> build_environment(const PreparedTree& tree,
                                                             unsigned jobs, bool skip_documents) {
  std::map<std::string, std::string> environment = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"HOME", "/nonexistent"},
      {"LC_ALL", "C.UTF-8"},
      {"LANG", "C.UTF-8"},
      {"SHELL", "/bin/sh"},
      {"DEB_BUILD_OPTIONS", fmt::format("nocheck nodoc parallel={}", jobs)},
      {"DEB_BUILD_PROFILES", joined(profiles)},
      {"DEB_RULES_REQUIRES_ROOT", "no"}};
  TRY(std::string time,
      run_checked({.arguments = {"dpkg-parsechangelog", "-STimestamp"}, .directory = tree.root}));
  while (!time.empty() && time.back() == '\n') time.pop_back();
  environment["SOURCE_DATE_EPOCH"] = time;
  if (skip_documents)
    environment["LIVECARE_SKIP_DOCUMENTS"] = (tree.entry / skipped_documents).native();
  TRY(CommandResult machine, run({.arguments = {"dpkg-architecture", "-f"}}));
  for (size_t at = 0; at < machine.output.size();) {
    size_t end = std::min(machine.output.find('\n', at), machine.output.size());
    std::string line = machine.output.substr(at, end - at);
    size_t equals = line.find('=');
    if (line.starts_with("DEB_") && equals != std::string::npos)
      environment[line.substr(0, equals)] = line.substr(equals + 1);
    at = end + 1;
  }
  return environment;
}

// The path below /build that the shipped files were built under, as far as they tell.
std::string build_path(const std::vector<Shipped>& shipped, const std::string& directory) {
  constexpr std::string_view begin = "/build/";
  for (const Shipped& file : shipped) {
    auto bytes = read_file(file.path);
    if (!bytes.ok()) continue;
    std::string_view text = ByteView(*bytes).as_text();
    for (size_t at = 0; (at = text.find(begin, at)) != std::string_view::npos; at += begin.size()) {
      size_t end = at;
      while (end < text.size() &&
             (std::isalnum(static_cast<unsigned char>(text[end])) ||
              std::strchr("/+-.~_", text[end])) &&
             text[end] != '\0')
        ++end;
      std::string path = std::string(text.substr(at, end - at)) + "/";
      size_t found = path.find("/" + directory + "/");
      if (found != std::string::npos) return path.substr(0, found + 1 + directory.size());
    }
  }
  return "/build/reproducible-path/" + directory;
}

// Says when a build has nothing more to give: all shipped files are there, and no compiler or
// linker has started for a while; a short one if they are equal.
class Completion {
 public:
  Completion(const PreparedTree& tree, const std::vector<Shipped>& shipped)
      : tree_(tree), shipped_(shipped) {}

  bool is_complete() {
    if (watch_.seconds() < asked_at_ + completion_interval_seconds) return false;
    asked_at_ = watch_.seconds();
    std::error_code failure;
    uint64_t size = fs::file_size(tree_.entry / "record", failure);
    if (failure || size != seen_size_) {
      seen_size_ = size;
      if (!update_calls()) return false;
    } else {
      ++quiet_;
    }
    if (quiet_ != quiet_rounds_if_identical && quiet_ != quiet_rounds_if_paired) return false;
    PreparedTree probe = tree_;
    if (!replay_record(probe).ok() || !pair_targets(probe, shipped_).ok()) return false;
    if (!probe.unpaired.empty()) return false;
    return quiet_ == quiet_rounds_if_paired ||
           std::all_of(probe.targets.begin(), probe.targets.end(),
                       [](const PreparedTarget& target) {
                         return target.comparison.starts_with("identical");
                       });
  }

 private:
  // False when compilers were at work since the last time.
  bool update_calls() {
    PreparedTree probe = tree_;
    if (!replay_record(probe).ok()) return false;
    size_t working = 0;
    for (const Call& call : probe.calls) {
      Tool tool = tool_of(call);
      working += tool == Tool::compiler || tool == Tool::linker || tool == Tool::archiver ? 1 : 0;
    }
    bool is_quiet = working == working_calls_;
    working_calls_ = working;
    quiet_ = is_quiet ? quiet_ + 1 : 0;
    return is_quiet;
  }

  const PreparedTree& tree_;
  const std::vector<Shipped>& shipped_;
  Stopwatch watch_;
  double asked_at_ = 0;
  uint64_t seen_size_ = 0;
  size_t working_calls_ = 0;
  int quiet_ = 0;
};

Result<int> build(const PreparedTree& tree, const fs::path& recorder, unsigned jobs,
                  bool skip_documents, const std::function<bool()>& keep_going) {
  TRY(auto environment, build_environment(tree, jobs, skip_documents));
  BuildSpace space = tree.space();
  TRY(int exit_code, run_recorded(space, tree.entry, recorder, {"debian/rules", "build-arch"},
                                  environment, true, keep_going));
  if (exit_code == 0) return 0;
  if (quote_log(tree.entry / "build.log").find("No rule to make target 'build-arch'") ==
      std::string::npos)
    return exit_code;
  return run_recorded(space, tree.entry, recorder, {"debian/rules", "build"}, environment, true,
                      keep_going);
}

// Fetches, builds and pairs into an emptied entry.
class Preparation {
 public:
  Preparation(const Apt& apt, SourceVersion source, fs::path entry, const PrepareOptions& options,
              bool skip_documents, Workspace& workspace)
      : apt_(apt),
        source_(std::move(source)),
        entry_(std::move(entry)),
        options_(options),
        skip_documents_(skip_documents),
        workspace_(workspace),
        log_file_(entry_ / "build.log") {}

  Status run(const fs::path& recorder) {
    PreparedTree& tree = workspace_.tree;
    tree.entry = entry_;
    tree.root = entry_ / (source_.name + "-" + upstream_version(source_.version));
    tree.source_package = source_.text();
    TRY(std::vector<Shipped> shipped, fetch());
    choose_path(tree, build_path(shipped, tree.root.filename()));
    TRY_STATUS(dependencies());
    TRY(int exit_code, build_recorded(recorder, shipped));
    TRY_STATUS(pair(shipped, exit_code));
    return save_prepared(tree);
  }

 private:
  Result<std::vector<Shipped>> fetch() {
    Stopwatch watch;
    log(LogLevel::info, "{}: fetching source and shipped packages", source_.text());
    TRY(auto packages, apt_.binaries(source_));
    TRY(auto unpacked, apt_.unpack_binaries(packages, entry_ / "shipped"));
    std::vector<Shipped> shipped;
    for (const BinaryPackage& package : unpacked)
      for (const fs::path& file : find_elf_files(entry_ / "shipped" / package.name))
        shipped.push_back({file, package.name + " " + package.version});
    if (shipped.empty())
      return make_error(ErrorCode::unsupported, source_.text(),
                        "its packages hold no 64-bit program or library");
    TRY_STATUS(apt_.unpack_source(source_, entry_ / "source", workspace_.tree.root));
    workspace_.seconds["fetch"] = watch.seconds();
    log(LogLevel::info, "{}: fetched {} packages with {} programs and libraries in {:.1f} s",
        source_.text(), unpacked.size(), shipped.size(), watch.seconds());
    return shipped;
  }

  Status dependencies() {
    Stopwatch watch;
    Heartbeat heartbeat("installing build dependencies");
    TRY_STATUS(apt_.install_build_dependencies(workspace_.tree.root, profiles, log_file_));
    workspace_.seconds["dependencies"] = watch.seconds();
    return ok_status();
  }

  Result<int> build_recorded(const fs::path& recorder, const std::vector<Shipped>& shipped) {
    Stopwatch watch;
    unsigned jobs = job_count(options_);
    log(LogLevel::info, "{}: building once with {} jobs (log: {})", source_.text(), jobs,
        log_file_.native());
    Heartbeat heartbeat("building " + source_.text());
    Completion completion(workspace_.tree, shipped);
    bool is_complete = false;
    TRY(int exit_code, build(workspace_.tree, recorder, jobs, skip_documents_, [&] {
          is_complete = completion.is_complete();
          return !is_complete;
        }));
    workspace_.seconds["build"] = watch.seconds();
    if (is_complete)
      log(LogLevel::info, "{}: every shipped file is linked; the rest of the build is left out",
          source_.text());
    return is_complete ? 0 : exit_code;
  }

  Status pair(const std::vector<Shipped>& shipped, int exit_code) {
    Stopwatch watch;
    auto replayed = replay_record(workspace_.tree);
    if (!replayed.ok() && exit_code == 0) return replayed.take_error();
    TRY_STATUS(pair_targets(workspace_.tree, shipped));
    workspace_.seconds["pair"] = watch.seconds();
    bool all = !workspace_.tree.targets.empty() && workspace_.tree.unpaired.empty();
    if (exit_code != 0 && !all)
      return make_error(ErrorCode::io, source_.text(),
                        "the build failed with exit code {}; see {}; it ends with:\n{}", exit_code,
                        log_file_.native(), quote_log(log_file_));
    if (workspace_.tree.targets.empty())
      return make_error(
          ErrorCode::unsupported, source_.text(),
          "none of the {} shipped files is among the {} that the build linked; see {}",
          shipped.size(), workspace_.tree.graph.linked().size(), log_file_.native());
    if (exit_code != 0)
      log(LogLevel::warning,
          "{}: the build ended with exit code {} after linking every shipped file", source_.text(),
          exit_code);
    return ok_status();
  }

  const Apt& apt_;
  SourceVersion source_;
  fs::path entry_;
  const PrepareOptions& options_;
  bool skip_documents_;
  Workspace& workspace_;
  fs::path log_file_;
};

std::string entry_name(const SourceVersion& source) {
  return source.name + "_" + source.version;
}

// The source package behind NAME=VERSION. An entry that is in the cache already needs no archive.
Result<SourceVersion> find_source(const NameVersion& wanted, const fs::path& cache, const Apt** apt,
                                  std::optional<Apt>& opened) {
  fs::path alias = cache / "aliases" / (wanted.name + "=" + wanted.version);
  if (auto known = read_text(alias); known.ok()) {
    size_t blank = known->find(' ');
    SourceVersion source{known->substr(0, blank), known->substr(blank + 1)};
    std::error_code ignored;
    if (fs::exists(cache / "trees" / entry_name(source) / "prepared.json", ignored)) return source;
  }
  TRY(Apt fresh, Apt::open(cache / "apt"));
  opened = std::move(fresh);
  *apt = &*opened;
  TRY(SourceVersion source, opened->resolve(wanted.name, wanted.version));
  TRY_STATUS(write_file_atomic(alias, ByteView(source.text())));
  return source;
}

}  // namespace

Result<Workspace> prepare_package(const std::string& name_and_version,
                                  const PrepareOptions& options) {
  fs::path cache = cache_directory(options);
  TRY(NameVersion wanted, split_name(name_and_version));
  TRY(fs::path tools, install_tools(cache));
  const Apt* apt = nullptr;
  std::optional<Apt> opened;
  TRY(SourceVersion source, find_source(wanted, cache, &apt, opened));
  fs::path entry = cache / "trees" / entry_name(source);
  Workspace workspace;
  TRY(workspace.lock, lock_entry(entry));
  auto prepared = load_prepared(entry);
  if (prepared.ok()) {
    workspace.tree = std::move(prepared).value();
    workspace.was_cached = true;
    TRY_STATUS(restore_tree(entry));
    return workspace;
  }
  if (apt == nullptr) {
    TRY(Apt fresh, Apt::open(cache / "apt"));
    opened = std::move(fresh);
    apt = &*opened;
  }
  for (bool skip_documents : {true, false}) {
    TRY_STATUS(clear_entry(entry));
    Preparation preparation(*apt, source, entry, options, skip_documents, workspace);
    Status status = preparation.run(tools / "recorder.so");
    if (status.ok()) break;
    std::error_code ignored;
    if (!skip_documents || !fs::exists(entry / skipped_documents, ignored))
      return status.take_error();
    log(LogLevel::info, "{}: did not build without its documents; once more with them",
        source.text());
  }
  return workspace;
}

Result<std::vector<std::string>> fetch_package(const std::string& name_and_version,
                                               const fs::path& directory,
                                               const PrepareOptions& options) {
  fs::path cache = cache_directory(options);
  TRY(NameVersion wanted, split_name(name_and_version));
  TRY(Apt apt, Apt::open(cache / "apt"));
  TRY(SourceVersion source, apt.resolve(wanted.name, wanted.version));
  TRY(auto packages, apt.binaries(source));
  TRY(auto unpacked, apt.unpack_binaries(packages, fs::absolute(directory)));
  std::error_code ignored;
  fs::remove(directory / "deb", ignored);
  std::vector<std::string> names;
  names.reserve(unpacked.size());
  for (const BinaryPackage& package : unpacked) names.push_back(package.name);
  return names;
}

}  // namespace livecare::builder
