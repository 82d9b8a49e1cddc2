// An update is: list the processes with the build-IDs they map, leave out the blacklisted, fetch
// for each distinct build-ID the newest patch, and have the server apply what was fetched to the
// processes that map it. Then the same once more for processes that came up meanwhile, until no new
// ones are found. Build-IDs are those of the mapped objects themselves, so a library in a
// container's mount namespace counts like any other.
#include "agent/userspace.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <utility>

#include "agent/blacklist.h"
#include "agent/patch_source.h"
#include "agent/server_client.h"
#include "base/log.h"
#include "trust/keys.h"

namespace livecare::agent {

namespace {

constexpr int rounds_max = 5;

bool is_failure(const Json& line) {
  return text_at(line, "outcome") == "failed";
}

std::string describe_failure(const Json& line) {
  std::string text = fmt::format("{} {}: {}", number_at(line, "pid"), text_at(line, "comm"),
                                 text_at(line, "reason"));
  for (const Json& thread : list_at(line, "in_the_way"))
    text += fmt::format("\n    thread {} {} is in {}", number_at(thread, "tid"),
                        text_at(thread, "comm"), text_at(thread, "function"));
  return text;
}

bool has_live_object(const Json& line) {
  for (const Json& object : list_at(line, "objects"))
    if (text_at(object, "state") == "live") return true;
  return false;
}

// One update in progress.
class Update {
 public:
  Update(const Paths& paths, const std::filesystem::path& server, const UpdateRequest& request,
         PatchSource source, Blacklist blacklist)
      : paths_(paths),
        server_(server),
        request_(request),
        source_(std::move(source)),
        blacklist_(std::move(blacklist)) {}

  Result<UpdateSummary> run() {
    for (int round = 0; round < rounds_max; ++round) {
      Request list;
      list.operation = Operation::list;
      list.all = true;
      TRY(Answer answer, ask_server(server_, list));
      if (round == 0) warn_unreadable(answer);
      Request patch = plan(answer);
      if (round == 0) say_what_was_fetched();
      if (patch.pids.empty()) break;
      TRY(Answer done, ask_server(server_, patch));
      for (const Json& line : done.lines) count(line);
      if (done.interrupted) {
        summary_.failures.push_back("the update was interrupted; run it again for the rest");
        break;
      }
    }
    report();
    return std::move(summary_);
  }

 private:
  static void warn_unreadable(const Answer& answer) {
    if (std::string warning = unreadable_warning(answer); !warning.empty())
      log(LogLevel::warning, "{}", warning);
  }

  // What is to be done for processes that were not seen before.
  Request plan(const Answer& answer) {
    Request request;
    request.operation = Operation::patch;
    request.may_vanish = true;
    request.root = paths_.root.native();
    std::set<std::string> files;
    for (const Json& process : answer.lines) {
      if (is_failure(process)) {
        if (seen_.insert(number_at(process, "pid")).second)
          summary_.failures.push_back(describe_failure(process));
        continue;
      }
      uint64_t pid = number_at(process, "pid");
      std::set<std::string> wanted = files_for(process);
      if (wanted.empty() || !seen_.insert(pid).second) continue;
      if (std::string rule = blacklist_.match(text_at(process, "executable")); !rule.empty()) {
        ++summary_.blacklisted;
        log(LogLevel::debug, "{} {} is left alone: {}", pid, text_at(process, "comm"), rule);
        continue;
      }
      request.pids.push_back(static_cast<pid_t>(pid));
      files.merge(wanted);
    }
    request.patch_files.assign(files.begin(), files.end());
    return request;
  }

  std::set<std::string> files_for(const Json& process) {
    std::set<std::string> files;
    for (const Json& object : list_at(process, "objects")) {
      const std::string& file = file_for(text_at(object, "build_id"));
      if (!file.empty()) files.insert(file);
    }
    return files;
  }

  // The cached file with the patch for a build-ID, fetched at most once; empty: none.
  const std::string& file_for(const std::string& build_id) {
    auto [known, is_new] = files_.try_emplace(build_id);
    if (!is_new) return known->second;
    auto patch = source_.newest(wanted_object(build_id), request_.not_after, [&] {
      if (!std::exchange(downloading_, true)) fmt::print("Downloading updates\n");
    });
    if (!patch.ok()) {
      summary_.failures.push_back(patch.error().text());
      if (!summary_.first_error) summary_.first_error = patch.error();
      return known->second;
    }
    if (!*patch) return known->second;
    const patchfmt::Patchset& patchset = (*patch)->patchset;
    bool wanted = std::find(request_.products.begin(), request_.products.end(), patchset.product) !=
                  request_.products.end();
    if (!wanted) return known->second;
    // The objects of one patchset share one file, so that the server sees each patchset once.
    auto file = by_patchset_.try_emplace({patchset.name, patchset.level}, (*patch)->file.native());
    known->second = file.first->second;
    summary_.patches = by_patchset_.size();
    return known->second;
  }

  void say_what_was_fetched() const {
    if (by_patchset_.empty() && !summary_.first_error)
      fmt::print("No patches are available for the running processes\n");
    else if (!by_patchset_.empty() && !downloading_)
      fmt::print("Updates already downloaded\n");
  }

  void count(const Json& line) {
    std::string outcome = text_at(line, "outcome");
    if (outcome == "patched") {
      ++summary_.newly_patched;
      fmt::print("{} {}: patched, {} threads stopped for {} us\n", number_at(line, "pid"),
                 text_at(line, "comm"), number_at(line, "threads"), number_at(line, "stop_us"));
    }
    if (outcome == "failed") summary_.failures.push_back(describe_failure(line));
    if (!has_live_object(line)) return;
    ++summary_.patched;
    for (const Json& object : list_at(line, "objects"))
      if (text_at(object, "state") == "live") ++objects_[text_at(object, "soname")];
  }

  void report() const {
    if (by_patchset_.empty()) return;
    fmt::print(
        "The patches have been successfully applied to {} newly discovered processes. The overall "
        "amount of patched processes is {}.\n",
        summary_.newly_patched, summary_.patched);
    for (const auto& [soname, processes] : objects_)
      fmt::print("Object `{}' is patched for {} processes.\n", soname, processes);
    if (summary_.blacklisted > 0)
      fmt::print("{} processes are blacklisted and were left alone.\n", summary_.blacklisted);
  }

  const Paths& paths_;
  const std::filesystem::path& server_;
  const UpdateRequest& request_;
  PatchSource source_;
  Blacklist blacklist_;
  UpdateSummary summary_;
  std::set<uint64_t> seen_;
  std::map<std::string, std::string> files_;  // by build-ID
  std::map<std::pair<std::string, uint32_t>, std::string> by_patchset_;
  std::map<std::string, size_t> objects_;
  bool downloading_ = false;
};

}  // namespace

Result<UpdateSummary> Userspace::update(const UpdateRequest& request) const {
  TRY(auto ring, trust::load_ring(paths_.keys));
  if (ring.empty())
    return make_error(ErrorCode::untrusted, paths_.keys.native(),
                      "holds no key, so no patch can be trusted; import the maker's key with "
                      "kcarectl --import-key");
  TRY(Blacklist blacklist, Blacklist::load(paths_));
  TRY(PatchSource source,
      PatchSource::create(request.server, request.prefix, paths_,
                          PatchCache(paths_.cache, std::move(ring), paths_.keys.native())));
  return Update(paths_, server_, request, std::move(source), std::move(blacklist)).run();
}

Result<std::vector<std::string>> Userspace::unload() const {
  Request request;
  request.operation = Operation::unpatch;
  request.all = true;
  TRY(Answer answer, ask_server(server_, request));
  std::vector<std::string> failures;
  size_t unpatched = 0;
  for (const Json& line : answer.lines) {
    if (is_failure(line)) failures.push_back(describe_failure(line));
    if (text_at(line, "outcome") != "unpatched") continue;
    ++unpatched;
    fmt::print("{} {}: unpatched, {} threads stopped for {} us\n", number_at(line, "pid"),
               text_at(line, "comm"), number_at(line, "threads"), number_at(line, "stop_us"));
  }
  if (std::string warning = unreadable_warning(answer); !warning.empty())
    log(LogLevel::warning, "{}", warning);
  if (answer.interrupted) failures.push_back("the unload was interrupted; run it again");
  fmt::print("Userspace patches were removed from {} processes\n", unpatched);
  return failures;
}

Result<std::vector<Json>> Userspace::patched_processes() const {
  Request request;
  request.operation = Operation::info;
  request.all = true;
  TRY(Answer answer, ask_server(server_, request));
  if (std::string warning = unreadable_warning(answer); !warning.empty())
    log(LogLevel::warning, "{}", warning);
  return std::move(answer.lines);
}

Result<std::vector<Json>> Userspace::patches_in_memory() const {
  TRY(auto processes, patched_processes());
  TRY(auto ring, trust::load_ring(paths_.keys));
  PatchCache cache(paths_.cache, std::move(ring), paths_.keys.native());
  std::map<std::pair<std::string, std::string>, Json> found;  // by patchset and build-ID
  for (const Json& process : processes)
    for (const Json& object : list_at(process, "objects")) {
      if (text_at(object, "state") != "live") continue;
      std::string build_id = text_at(object, "build_id");
      auto [place, is_new] = found.try_emplace({text_at(object, "patchset"), build_id});
      Json& patch = place->second;
      if (is_new) {
        auto level = static_cast<uint32_t>(number_at(object, "level"));
        std::string info = text_at(object, "info");
        if (info.empty()) info = cache.kpatch_info(wanted_object(build_id), level);
        patch = {{"patchset", text_at(object, "patchset")},
                 {"level", level},
                 {"build_id", build_id},
                 {"soname", text_at(object, "soname")},
                 {"cves", texts_at(object, "cves")},
                 {"processes", 0},
                 {"info", info}};
      }
      patch["processes"] = number_at(patch, "processes") + 1;
    }
  std::vector<Json> patches;
  patches.reserve(found.size());
  for (auto& [key, patch] : found) patches.push_back(std::move(patch));
  return patches;
}

}  // namespace livecare::agent
