// libcare-server for tests: everything real but the engine, whose "processes" are a JSON file named
// by LIVECARE_FAKE_ENGINE:
//
//   {"loaded": {"PID": ["build-id", ...]},        what loaded_objects() says; others map nothing
//    "live": {"PID": {"build-id": LEVEL}},        what is patched; changed by patch and unpatch
//    "fail": {"PID": "reason"},                   patch and unpatch fail so
//    "die": ["PID"],                              every call says process_died
//    "deny": ["PID"],                             every call says permission; "all": for every
//    process "calls": ["patch PID NAME", ...]}            what was asked, in order; appended to
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "agent/request.h"
#include "agent/server.h"
#include "base/file_system.h"

namespace {

using namespace livecare;
using agent::Json;

class FakeEngine {
 public:
  explicit FakeEngine(std::string path) : path_(std::move(path)) {
    state_ = Json::parse(read_text(path_).value(), nullptr, false);
    LIVECARE_ASSERT(state_.is_object());
  }
  ~FakeEngine() { (void)write_file_atomic(path_, ByteView(state_.dump(1))).ok(); }

  engine::ProcessReport patch(pid_t pid, const patchfmt::Patchset& patchset) {
    state_["calls"].push_back(fmt::format("patch {} {}", pid, patchset.name));
    engine::ProcessReport report = info(pid);
    if (report.outcome == engine::Outcome::failed || failed(pid, report)) return report;
    Json& live = live_of(pid);
    for (const patchfmt::Object& object : patchset.objects) {
      if (live.value(object.build_id, 0u) >= patchset.level) continue;
      live[object.build_id] = patchset.level;
      report.outcome = engine::Outcome::patched;
      report.stop_us = 111;
    }
    report.objects = objects(pid);
    return report;
  }

  engine::ProcessReport unpatch(pid_t pid, const std::vector<std::string>& build_ids) {
    state_["calls"].push_back(fmt::format("unpatch {} {}", pid, fmt::join(build_ids, ",")));
    engine::ProcessReport report = info(pid);
    if (report.outcome == engine::Outcome::failed || failed(pid, report)) return report;
    Json& live = live_of(pid);
    if (!live.empty()) report.outcome = engine::Outcome::unpatched;
    if (build_ids.empty()) live = Json::object();
    for (const std::string& build_id : build_ids) live.erase(build_id);
    report.objects = objects(pid);
    return report;
  }

  engine::ProcessReport info(pid_t pid) {
    engine::ProcessReport report;
    report.pid = pid;
    report.comm = "fake";
    report.threads = 3;
    report.total_us = 222;
    report.objects = objects(pid);
    if (auto error = obstacle(pid)) {
      report.outcome = engine::Outcome::failed;
      report.code = error->code;
      report.reason = error->message;
    }
    return report;
  }

  Result<std::vector<engine::LoadedObject>> loaded_objects(pid_t pid) {
    if (auto error = obstacle(pid)) return *error;
    std::vector<engine::LoadedObject> loaded;
    for (const std::string& build_id : agent::texts_at(state_["loaded"], std::to_string(pid)))
      loaded.push_back({build_id, "/lib/fake.so", 0});
    return loaded;
  }

 private:
  Json& live_of(pid_t pid) {
    Json& live = state_["live"][std::to_string(pid)];
    if (!live.is_object()) live = Json::object();
    return live;
  }

  std::optional<Error> obstacle(pid_t pid) {
    for (const std::string& text : agent::texts_at(state_, "die"))
      if (text == std::to_string(pid)) return make_error(ErrorCode::process_died, "", "died");
    for (const std::string& text : agent::texts_at(state_, "deny"))
      if (text == std::to_string(pid) || text == "all")
        return make_error(ErrorCode::permission, "process 7", "denied");
    return std::nullopt;
  }

  bool failed(pid_t pid, engine::ProcessReport& report) {
    report.reason = agent::text_at(state_["fail"], std::to_string(pid));
    if (report.reason.empty()) return false;
    report.outcome = engine::Outcome::failed;
    report.code = ErrorCode::busy;
    report.in_the_way = {{pid, "worker", "parse", {"libfake.so!parse+0x4"}}};
    return true;
  }

  std::vector<engine::ObjectState> objects(pid_t pid) {
    std::vector<engine::ObjectState> list;
    const Json* live = agent::member(state_["live"], std::to_string(pid));
    if (live == nullptr) return list;
    for (const auto& [build_id, level] : live->items())
      list.push_back({build_id,
                      "libfake.so",
                      "U20261122_01",
                      level.get<uint32_t>(),
                      1,
                      {"CVE-2026-0001"},
                      "",
                      "live"});
    return list;
  }

  std::string path_;
  Json state_;
};

}  // namespace

int main() {
  const char* path = std::getenv("LIVECARE_FAKE_ENGINE");
  LIVECARE_ASSERT(path != nullptr);
  FakeEngine fake(path);
  std::string request{std::istreambuf_iterator<char>(std::cin), {}};
  agent::EngineCalls calls{
      [&](pid_t pid, const auto& patchset, const auto&) { return fake.patch(pid, patchset); },
      [&](pid_t pid, const auto& ids, const auto&) { return fake.unpatch(pid, ids); },
      [&](pid_t pid) { return fake.info(pid); },
      [&](pid_t pid) { return fake.loaded_objects(pid); }};
  return agent::serve(request, calls,
                      {[](const std::string& line) { fmt::print("{}\n", line); }, {}});
}
