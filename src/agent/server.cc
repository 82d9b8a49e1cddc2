// Order of work for a patch request: keys, then every patch file (verified, parsed), and only when
// all of them are good the first look at a process. A request with one bad file touches nothing.
//
// "All" means every process that maps an object of a patch at some moment of the run: the list of
// processes is read again until it holds nothing new (a child forked from an unpatched parent while
// the parent was being patched would else be missed), at most sweeps_max times.
//
// Which patchset for which process: of those that have a mapped object, each object's highest level
// decides; a patchset that is the best for none of its mapped objects is left out.
#include "agent/server.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "agent/paths.h"
#include "agent/processes.h"
#include "agent/request.h"
#include "agent/trusted_patch.h"
#include "base/file_system.h"
#include "base/log.h"
#include "patchfmt/codec.h"
#include "trust/keys.h"

namespace livecare::agent {

namespace {

using engine::Outcome;
using engine::ProcessReport;
using patchfmt::Patchset;

constexpr int sweeps_max = 5;
constexpr size_t patch_files_max = 1000;

bool is_front_end(const Process& process) {
  return process.comm == "libcare-ctl" || process.comm == "kcarectl";
}

ProcessReport failure(const Process& process, const Error& error) {
  ProcessReport report;
  report.pid = process.pid;
  report.comm = process.comm;
  report.outcome = Outcome::failed;
  report.code = error.code;
  report.reason = error.text();
  return report;
}

bool is_gone(const ProcessReport& report) {
  return report.outcome == Outcome::failed && report.code == ErrorCode::process_died;
}

// One line per process, also when several patchsets went into it.
void merge(ProcessReport& into, ProcessReport next) {
  into.objects = std::move(next.objects);
  into.threads = std::max(into.threads, next.threads);
  into.stop_us = std::max(into.stop_us, next.stop_us);
  into.total_us += next.total_us;
  into.attempts += next.attempts;
  if (!next.reason.empty()) into.reason += (into.reason.empty() ? "" : "; ") + next.reason;
  into.in_the_way.insert(into.in_the_way.end(), next.in_the_way.begin(), next.in_the_way.end());
  if (next.outcome == Outcome::failed) into.code = next.code;
  auto weight = [](Outcome outcome) {
    switch (outcome) {
      case Outcome::failed:
        return 3;
      case Outcome::patched:
      case Outcome::unpatched:
        return 2;
      case Outcome::mended:
        return 1;
      case Outcome::unchanged:
        return 0;
    }
    return 0;
  };
  if (weight(next.outcome) > weight(into.outcome)) into.outcome = next.outcome;
}

class Server {
 public:
  Server(const Request& request, const EngineCalls& engine, const ServerOutput& output)
      : request_(request), engine_(engine), output_(output), paths_(request.root) {}

  Status prepare() {
    if (request_.patch_files.size() > patch_files_max)
      return make_error(ErrorCode::invalid_input, "request", "names more than {} patch files",
                        patch_files_max);
    if (request_.operation == Operation::patch) return load_trusted_patches();
    if (request_.operation == Operation::unpatch) return load_build_ids();
    return ok_status();
  }

  void run() {
    if (request_.all)
      run_all();
    else
      run_named();
    Json end{{"end", true}, {"processes", lines_}};
    if (!unreadable_.empty()) end["unreadable"] = unreadable_;
    if (!unreadable_.empty() && examined_ == 0) end["nothing_examined"] = true;
    if (interrupted_) end["interrupted"] = true;
    output_.line(to_line(end));
  }

 private:
  Status load_trusted_patches() {
    TRY(auto ring, trust::load_ring(paths_.keys));
    for (const std::string& file : request_.key_files) {
      TRY(trust::PublicKey key, trust::load_public_key(file));
      ring.push_back(std::move(key));
    }
    for (const std::string& file : request_.patch_files) {
      TRY(TrustedPatch patch, open_trusted_file(file, ring, paths_.keys.native()));
      patchsets_.push_back(std::move(patch.patchset));
    }
    if (patchsets_.empty())
      return make_error(ErrorCode::invalid_input, "request", "names no patch file");
    std::stable_sort(patchsets_.begin(), patchsets_.end(),
                     [](auto& a, auto& b) { return a.level < b.level; });
    return check_levels();
  }

  // Of two patchsets with one level neither replaces the other. The same file twice is harmless.
  Status check_levels() const {
    std::map<std::pair<std::string_view, uint32_t>, const Patchset*> first;
    for (const Patchset& patchset : patchsets_)
      for (const patchfmt::Object& object : patchset.objects) {
        const Patchset* other =
            first.try_emplace({object.build_id, patchset.level}, &patchset).first->second;
        if (other->name != patchset.name)
          return make_error(ErrorCode::conflict, object.soname,
                            "{} and {} are both level {} for build-ID {}; name one of them, or "
                            "build one patchset of a higher level that holds both",
                            other->name, patchset.name, patchset.level, object.build_id);
      }
    return ok_status();
  }

  // To undo, a file only says which objects are meant: nothing of it is run, no signature needed.
  Status load_build_ids() {
    build_ids_ = request_.build_ids;
    for (const std::string& file : request_.patch_files) {
      TRY(Bytes bytes, read_file(file, patchfmt::patch_file_bytes_max));
      TRY(patchfmt::PatchFile opened, patchfmt::read(bytes, file));
      for (const patchfmt::Object& object : opened.patchset.objects)
        build_ids_.push_back(object.build_id);
    }
    return ok_status();
  }

  bool stop_now() {
    interrupted_ = interrupted_ || (output_.should_stop && output_.should_stop());
    return interrupted_;
  }

  void run_named() {
    for (pid_t pid : request_.pids) {
      if (stop_now()) return;
      auto process = read_process(pid);
      if (!process || process->dead)
        emit(failure({.pid = pid}, make_error(ErrorCode::process_died, "", "no such process")));
      else if (process->kernel_thread)
        emit(failure(*process, make_error(ErrorCode::unsupported, "", "is a kernel thread")));
      else if (request_.operation == Operation::list)
        list(*process);
      else
        emit(carry_out(*process));
    }
  }

  void run_all() {
    std::set<std::pair<pid_t, uint64_t>> seen;
    pid_t parent = ::getppid();
    for (int sweep = 0; sweep < sweeps_max; ++sweep) {
      bool found_new = false;
      for (const Process& process : user_processes()) {
        if (process.pid == ::getpid() || (process.pid == parent && is_front_end(process))) continue;
        if (!seen.emplace(process.pid, process.start_time).second) continue;
        if (stop_now()) return;
        found_new = true;
        one_of_all(process);
      }
      if (!found_new || request_.operation != Operation::patch) return;
    }
  }

  void one_of_all(const Process& process) {
    switch (request_.operation) {
      case Operation::list:
        return list(process);
      case Operation::patch: {
        auto loaded = engine_.loaded_objects(process.pid);
        if (!loaded.ok()) return cannot_examine(process, loaded.error());
        ++examined_;
        if (!choose(*loaded).empty()) emit(carry_out(process));
        return;
      }
      case Operation::info:
      case Operation::unpatch: {
        ProcessReport now = engine_.info(process.pid);
        if (now.outcome == Outcome::failed)
          return cannot_examine(process, Error{now.code, "", now.reason});
        ++examined_;
        if (now.objects.empty() && now.outcome == Outcome::unchanged) return;
        emit(request_.operation == Operation::info ? now : carry_out(process));
      }
    }
  }

  // A process that is gone or of the other word size maps nothing that a patch could be for. One
  // that we may not look into (of another user, or confined) is no failure of the run, but named in
  // the end line: it may hold old code.
  void cannot_examine(const Process& process, const Error& error) {
    if (error.code == ErrorCode::process_died || error.code == ErrorCode::unsupported) return;
    if (error.code == ErrorCode::permission)
      unreadable_.push_back({{"pid", process.pid}, {"comm", process.comm}});
    else
      emit(failure(process, error));
  }

  ProcessReport carry_out(const Process& process) {
    if (request_.operation == Operation::info) return engine_.info(process.pid);
    if (request_.operation == Operation::unpatch)
      return engine_.unpatch(process.pid, build_ids_, request_.limits);
    auto loaded = engine_.loaded_objects(process.pid);
    if (!loaded.ok()) return failure(process, loaded.error());
    auto chosen = choose(*loaded);
    if (chosen.empty()) {
      ProcessReport report = engine_.info(process.pid);
      if (report.outcome == Outcome::unchanged && report.reason.empty())
        report.reason = "maps no object that a given patch is for";
      return report;
    }
    ProcessReport report;
    for (size_t i = 0; i < chosen.size(); ++i) {
      ProcessReport next = patch_unless_older(process, *chosen[i]);
      if (i == 0)
        report = std::move(next);
      else
        merge(report, std::move(next));
    }
    return report;
  }

  // Never back to an older level by itself: whoever wants that unpatches first.
  ProcessReport patch_unless_older(const Process& process, const Patchset& patchset) const {
    ProcessReport now = engine_.info(process.pid);
    if (now.outcome == Outcome::failed) return now;
    for (const engine::ObjectState& state : now.objects)
      for (const patchfmt::Object& object : patchset.objects)
        if (state.state == "live" && state.build_id == object.build_id &&
            state.level > patchset.level) {
          now.outcome = Outcome::unchanged;
          now.reason = fmt::format(
              "{}: level {} is in memory, {} has level {}; unpatch first to go "
              "back",
              state.soname, state.level, patchset.name, patchset.level);
          return now;
        }
    return engine_.patch(process.pid, patchset, request_.limits);
  }

  std::vector<const Patchset*> choose(const std::vector<engine::LoadedObject>& loaded) const {
    std::map<std::string_view, const Patchset*> best;  // patchsets_ is in order of level
    for (const Patchset& patchset : patchsets_)
      for (const patchfmt::Object& object : patchset.objects)
        for (const engine::LoadedObject& mapped : loaded)
          if (mapped.build_id == object.build_id) best[object.build_id] = &patchset;
    std::vector<const Patchset*> chosen;
    for (const Patchset& patchset : patchsets_)
      if (std::any_of(best.begin(), best.end(), [&](auto& b) { return b.second == &patchset; }))
        chosen.push_back(&patchset);
    return chosen;
  }

  void list(const Process& process) {
    auto loaded = engine_.loaded_objects(process.pid);
    if (!loaded.ok()) return cannot_examine(process, loaded.error());
    Json line{{"pid", process.pid}, {"comm", process.comm}, {"executable", process.executable}};
    line["objects"] = Json::array();
    for (const engine::LoadedObject& object : *loaded)
      if (!object.build_id.empty())
        line["objects"].push_back({{"build_id", object.build_id}, {"path", object.path}});
    ++lines_;
    output_.line(to_line(line));
  }

  void emit(const ProcessReport& report) {
    if (is_gone(report) && request_.may_vanish) return;
    ++lines_;
    output_.line(to_line(to_json(report)));
  }

  const Request& request_;
  const EngineCalls& engine_;
  const ServerOutput& output_;
  Paths paths_;
  std::vector<Patchset> patchsets_;
  std::vector<std::string> build_ids_;
  uint64_t lines_ = 0;
  Json unreadable_ = Json::array();
  uint64_t examined_ = 0;  // of all
  bool interrupted_ = false;
};

}  // namespace

int serve(std::string_view request_text, const EngineCalls& engine, const ServerOutput& output) {
  auto request = parse_request(request_text);
  if (!request.ok()) {
    output.line(to_line({{"error", to_json(request.error())}}));
    return 2;
  }
  if (request->verbose) set_log_level(LogLevel::debug);
  log(LogLevel::debug, "request: {}, {} files, {} processes", to_string(request->operation),
      request->patch_files.size(), request->all ? "all" : std::to_string(request->pids.size()));
  Server server(*request, engine, output);
  if (auto ready = server.prepare(); !ready.ok()) {
    output.line(to_line({{"error", to_json(ready.error())}}));
    return 2;
  }
  server.run();
  return 0;
}

}  // namespace livecare::agent
