#include "engine/report.h"

#include <set>

#include "base/clock.h"
#include "engine/mend.h"
#include "engine/target.h"
#include "remote/status.h"

namespace livecare::engine {
namespace {

ObjectState state_of(const Control& image) {
  ObjectState state;
  state.build_id = image.build_id;
  state.soname = image.soname;
  state.patchset = image.patchset;
  state.level = image.level;
  state.functions = static_cast<uint32_t>(image.functions.size());
  state.cves = image.cves;
  state.state = to_string(image.state);
  state.info = image.info;
  return state;
}

// The headers alone: works for a process that cannot be stopped, and takes no more than its maps.
Result<FoundImages> read_images(pid_t pid) {
  TRY(remote::Memory memory, remote::Memory::open(pid));
  TRY(remote::Maps maps, remote::Maps::read(pid));
  return find_images(memory, maps);
}

bool has_died(pid_t pid) {
  auto task = remote::read_status(pid);
  return !task.ok() ? task.error().code == ErrorCode::process_died
                    : task->state == 'Z' || task->state == 'X';
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::patched:
      return "patched";
    case Outcome::unpatched:
      return "unpatched";
    case Outcome::unchanged:
      return "unchanged";
    case Outcome::failed:
      return "failed";
    case Outcome::mended:
      return "mended";
  }
  return "unknown";
}

void complete_report(pid_t pid, ProcessReport& report, const Status& status) {
  report.pid = pid;
  if (auto task = remote::read_status(pid); task.ok()) {
    report.comm = task->comm;
    if (report.threads == 0) report.threads = task->threads;
  }
  if (auto images = read_images(pid); images.ok())
    for (const Control& image : images->images) report.objects.push_back(state_of(image));
  if (status.ok()) return;
  report.outcome = Outcome::failed;
  if (has_died(pid)) {  // whatever it was that failed first
    report.code = ErrorCode::process_died;
    report.reason = fmt::format("process {} has ended", pid);
    return;
  }
  report.code = status.error().code;
  report.reason = status.error().text();
}

ProcessReport info(pid_t pid) {
  uint64_t started = monotonic_us();
  ProcessReport report;
  auto images = read_images(pid);
  if (images.ok()) {
    for (const std::string& found : find_leftovers(*images).found) {
      report.outcome = Outcome::mended;
      report.reason += (report.reason.empty() ? "" : "; ") + found;
    }
    for (const Error& damaged : images->damaged)
      report.reason += (report.reason.empty() ? "" : "; ") + damaged.text();
  }
  complete_report(pid, report, images.ok() ? ok_status() : Status(images.error()));
  report.total_us = monotonic_us() - started;
  return report;
}

Result<std::vector<LoadedObject>> loaded_objects(pid_t pid) {
  TRY(remote::Memory memory, remote::Memory::open(pid));
  TRY(remote::Maps maps, remote::Maps::read(pid));
  TRY(remote::Loaded loaded, remote::Loaded::read(memory, maps));
  std::vector<LoadedObject> objects;
  std::set<std::pair<std::string, uint64_t>> seen;
  for (const remote::LoadedObject& object : loaded.objects())
    if (!object.build_id.empty() && seen.insert({object.build_id, object.bias}).second)
      objects.push_back({object.build_id, object.path, object.bias});
  return objects;
}

}  // namespace livecare::engine
