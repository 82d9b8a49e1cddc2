// When is it safe to unmap code that was undone?
//
// No jump leads to the image any more and the stop that undid it saw no thread inside. What may be
// left is a copy of an address: a function pointer that the new code stored, a return address on
// the stack of a suspended coroutine, a jmp_buf, a pointer to one of its constants or variables.
// New copies can only be made from existing ones. So the process is stopped once more and every
// word of its writable memory and registers is looked at (remote/stack_scan.h); if none points into
// the image there is no copy, and there never will be one.
//
// The search is conservative; what a walk of the stacks proves to be left over does not count
// (stale.cc). Other left-over words go away while threads run, so it is tried a few times. What
// stays is used again when the same patch comes back, so that patching and undoing for ever needs
// no more memory than one image.
//
// Two kinds of words do not count. Those inside of the region itself. And pointers into .eh_frame
// and the own page: only libgcc has them, for as long as the image is registered with it, and it is
// deregistered before it is unmapped.
//
// The kernel holds pointers too: signal handlers are asked for one by one (handlers.cc).
//
// A search that would have to stop a process for long is not made (searched_bytes_max): the image
// is kept. Rejected: searching while the process runs, where a pointer can move from a place that
// is yet to be read to one that has been.
#include "engine/release.h"

#include <algorithm>
#include <array>

#include "base/file_system.h"
#include "base/log.h"
#include "engine/calls.h"
#include "engine/handlers.h"
#include "engine/layout.h"
#include "engine/stage.h"
#include "engine/stale.h"
#include "engine/steps.h"
#include "engine/unsearched.h"
#include "engine/unwinder.h"
#include "remote/stack_scan.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::RemoteRange;

constexpr size_t hits_max = 65536;  // most are left over
constexpr std::array<uint64_t, 3> retry_after_us = {1'000, 5'000, 20'000};

uint64_t private_bytes(pid_t pid) {
  auto text = read_proc("/proc/" + std::to_string(pid) + "/status");
  size_t at = text.ok() ? text->find("RssAnon:") : std::string::npos;
  if (at == std::string::npos) return 0;
  return std::strtoull(text->c_str() + at + sizeof "RssAnon:", nullptr, 10) * 1024;
}

void add_range(std::vector<RemoteRange>& ranges, uint64_t from, uint64_t to) {
  if (to > from) ranges.push_back({RemoteAddress(from), to - from});
}

std::vector<RemoteRange> searched_ranges(const Control& image) {
  std::vector<RemoteRange> ranges;
  // A call that was left in a thread (remote/borrow.cc) returns to the stubs.
  add_range(ranges, stubs_of(image), stubs_of(image) + patchfmt::page_bytes);
  // With the byte behind the last: the return address of a call that never returns.
  add_range(ranges, image.text.address, image.text.end() + 1);
  uint64_t eh_frame = image.eh_frame != 0 ? image.eh_frame : image.rodata.end();
  add_range(ranges, image.rodata.address, std::min(eh_frame, image.rodata.end()));
  add_range(ranges, eh_frame + image.eh_frame_size, image.rodata.end());
  add_range(ranges, image.data.address, image.data.end());
  return ranges;
}

void drop_stale(std::vector<remote::PointerHit>& hits, const std::vector<Control>& images,
                StaleWords& stale) {
  std::erase_if(hits, [&](const remote::PointerHit& hit) {
    return std::any_of(images.begin(), images.end(),
                       [&](const Control& image) { return stale.is_stale(hit, image); });
  });
}

Result<std::vector<Control>> unreferenced(remote::Session& session, Target& target,
                                          const std::vector<Control>& images,
                                          const Limits& limits) {
  std::vector<RemoteRange> all;
  remote::PointerScanOptions scan;
  scan.hits_max = hits_max;
  for (const Control& image : images) {
    std::vector<RemoteRange> own = searched_ranges(image);
    all.insert(all.end(), own.begin(), own.end());
    scan.ignore.push_back({RemoteAddress(image.region.address), image.region.size});
  }
  remote::RangeSet set(all);
  std::vector<remote::PointerHit> hits;
  bool too_many = false;
  TRY(remote::Unwinder * unwinder, target.unwinder());
  remote::StopOptions options;
  options.stop_window_us_max = limits.stop_window_us_max;
  TRY(remote::Maps maps, remote::Maps::read(session.pid()));
  TRY(remote::StopReport report,
      session.stop(options, [&](remote::StoppedProcess& process) -> Status {
        for (const RemoteRange& range : unsearched_ranges(process, maps))
          scan.ignore.push_back(range);
        TRY(hits, remote::scan_pointers(process.memory(), process.tasks(), set, scan));
        too_many = hits.size() >= scan.hits_max;
        StaleWords stale(*unwinder, process, maps);
        drop_stale(hits, images, stale);
        return ok_status();
      }));
  log(LogLevel::debug, "searched for pointers: {} us in the stop", report.stop_us);
  std::vector<Control> free;
  if (too_many) return free;
  for (const Control& image : images) {
    auto hit = std::find_if(hits.begin(), hits.end(), [&](const remote::PointerHit& candidate) {
      return image.region.holds(candidate.target.address());
    });
    if (hit == hits.end()) {
      free.push_back(image);
    } else {
      log(LogLevel::debug, "image at {:#x} is kept: a word at {:#x} (thread {}) points to {:#x}",
          image.region.address, hit->at.address(), hit->tid, hit->target.address());
    }
  }
  return free;
}

Result<bool> free_one(remote::Session& session, Target& target, const Control& image,
                      const Limits& limits) {
  TRY(bool registered, is_registered(session.memory(), image));
  remote::BorrowOptions options;
  options.call_us_max = limits.remote_call_us_max;
  if (registered) TRY_STATUS(allow_calls(target, options));
  bool freed = false;
  TRY_STATUS(session.borrow(options, [&](remote::BorrowedThread& thread) -> Status {
    TRY(int signal, handler_inside(thread, image));
    if (signal != 0) return ok_status();
    Status removed = deregister_unwind_info(thread, image);
    if (removed.ok()) removed = unmap_image(thread, image);
    freed = removed.ok();
    step("freed");
    return removed;
  }));
  return freed;
}

}  // namespace

Result<size_t> release_images(remote::Session& session, Target& target,
                              const std::vector<Control>& images, const Limits& limits) {
  if (images.empty() || private_bytes(session.pid()) > searched_bytes_max) return size_t{0};
  std::vector<Control> left = images;
  size_t freed = 0;
  for (size_t round = 0; !left.empty(); ++round) {
    TRY(std::vector<Control> free, unreferenced(session, target, left, limits));
    for (const Control& image : free) {
      TRY(bool gone, free_one(session, target, image, limits));
      if (gone) ++freed;
      std::erase_if(left, [&](const Control& candidate) {
        return candidate.region.address == image.region.address;
      });
    }
    if (round == retry_after_us.size()) break;
    if (!left.empty()) TRY_STATUS(session.idle(retry_after_us[round]));
  }
  return freed;
}

}  // namespace livecare::engine
