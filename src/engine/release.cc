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
// How long the stop may be is limited (Limits::search_us_max). Each search is rehearsed while the
// process runs, which tells how long it takes, and ends it early when a pointer is in plain sight.
// What would take longer is not made: the image is kept, and used again. So a database with
// gigabytes of heap is never stopped for longer, and keeps some kilobytes for each different patch
// that was undone or replaced in its life.
//
// Rejected: to believe a search that was made while the process ran, where a pointer can move from
// a place that is yet to be read to one that has been. To search only pages that were written since
// (soft-dirty bits): they have to be cleared first, and belong to whoever else uses them; a
// checkpoint of CRIU that is under way would lose pages. To search a copy-on-write snapshot (fork
// in the process): while it exists, connections that the program closes stay open.
#include "engine/release.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "engine/calls.h"
#include "engine/handlers.h"
#include "engine/layout.h"
#include "engine/stage.h"
#include "engine/stale.h"
#include "engine/steps.h"
#include "engine/unsearched.h"
#include "engine/unwinder.h"
#include "remote/cpu_time.h"
#include "remote/stack_scan.h"

namespace livecare::engine {
namespace {

using remote::PointerHit;
using remote::RemoteAddress;
using remote::RemoteRange;

constexpr size_t hits_max = 65536;  // most are left over
constexpr std::array<uint64_t, 3> retry_after_us = {1'000, 5'000, 20'000};

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

// One search for pointers into some images.
class Search {
 public:
  Search(remote::Session& session, const std::vector<Control>& images, uint64_t us_max)
      : session_(session),
        images_(images),
        us_max_(us_max),
        unsearched_(session.pid()),
        set_(ranges_of_all(images)) {
    options_.hits_max = hits_max;
    options_.us_max = us_max;
    for (const Control& image : images)
      options_.ignore.push_back({RemoteAddress(image.region.address), image.region.size});
  }

  // While the process runs: how long a stop for it would be (the same work; timed_out when it is
  // more than us_max), and whether there is a stop worth while. What is found in global variables
  // or on the heap will hardly be gone a moment later.
  Result<bool> rehearse() {
    TRY(maps_, remote::Maps::read(session_.pid()));
    TRY(std::vector<PointerHit> hits, run({}));
    return std::none_of(hits.begin(), hits.end(), [&](const PointerHit& hit) {
      const remote::Mapping* mapping = maps_.find(hit.at);
      return mapping != nullptr && (mapping->is_file() || mapping->path == "[heap]");
    });
  }

  // In a stop.
  Status search(remote::StoppedProcess& process, remote::Unwinder& unwinder) {
    TRY(maps_, remote::Maps::read(session_.pid()));
    TRY(hits_, run(process.tasks()));
    too_many_ = hits_.size() >= hits_max;
    StaleWords stale(unwinder, process, maps_);
    drop_stale(hits_, images_, stale);
    return ok_status();
  }

  // Afterwards: nothing points into these.
  std::vector<Control> unreferenced() const {
    std::vector<Control> free;
    if (too_many_) return free;
    for (const Control& image : images_) {
      auto hit = std::find_if(hits_.begin(), hits_.end(), [&](const PointerHit& candidate) {
        return image.region.holds(candidate.target.address());
      });
      if (hit == hits_.end()) {
        free.push_back(image);
      } else {
        log(LogLevel::debug, "image at {:#x} is kept: a word at {:#x} (thread {}) points to {:#x}",
            image.region.address, hit->at.address(), hit->tid, hit->target.address());
      }
    }
    return free;
  }

 private:
  static std::vector<RemoteRange> ranges_of_all(const std::vector<Control>& images) {
    std::vector<RemoteRange> all;
    for (const Control& image : images) {
      std::vector<RemoteRange> own = searched_ranges(image);
      all.insert(all.end(), own.begin(), own.end());
    }
    return all;
  }

  Result<std::vector<PointerHit>> run(std::span<const remote::StoppedTask> tasks) {
    remote::PointerScanOptions options = options_;
    uint64_t began = remote::cpu_time_us();
    bool in_time = unsearched_.add_untouched(maps_, us_max_, options.ignore);
    uint64_t spent = remote::cpu_time_us() - began;
    if (!in_time || spent >= us_max_)
      return make_error(ErrorCode::timed_out, fmt::format("process {}", session_.pid()),
                        "has more address space than can be searched in {} us", us_max_);
    options.us_max = us_max_ - spent;
    return scanner_.scan(session_.memory(), maps_, tasks, set_, options);
  }

  remote::Session& session_;
  const std::vector<Control>& images_;
  uint64_t us_max_;
  Unsearched unsearched_;
  remote::RangeSet set_;
  remote::PointerScanner scanner_;
  remote::PointerScanOptions options_;
  remote::Maps maps_;
  std::vector<PointerHit> hits_;
  bool too_many_ = false;
};

Result<std::vector<Control>> unreferenced(remote::Session& session, Target& target,
                                          const std::vector<Control>& images,
                                          const Limits& limits) {
  uint64_t us_max =
      images.size() < kept_images_many ? limits.search_us_max : limits.search_for_many_us_max;
  Search search(session, images, us_max);
  TRY(bool worth_while, search.rehearse());
  if (!worth_while) return std::vector<Control>();
  TRY(remote::Unwinder * unwinder, target.unwinder());
  remote::StopOptions options;
  options.stop_window_us_max = limits.stop_window_us_max;
  options.read_stacks = true;
  TRY(remote::StopReport report,
      session.stop(options, [&](remote::StoppedProcess& process) -> Status {
        return search.search(process, *unwinder);
      }));
  log(LogLevel::debug, "searched for pointers: {} us in the stop", report.stop_us);
  return search.unreferenced();
}

void drop_with_handlers(std::vector<Control>& images, const std::vector<uint64_t>& handlers) {
  std::erase_if(images, [&](const Control& image) {
    return std::any_of(handlers.begin(), handlers.end(),
                       [&](uint64_t handler) { return image.text.holds(handler); });
  });
}

Status deregister_all(remote::Session& session, Target& target, const std::vector<Control>& images,
                      const Limits& limits) {
  bool any = false;
  for (const Control& image : images) {
    TRY(bool registered, is_registered(session.memory(), image));
    any = any || registered;
  }
  if (!any) return ok_status();
  remote::BorrowOptions options;
  options.call_us_max = limits.remote_call_us_max;
  TRY_STATUS(allow_calls(target, options));
  return session.borrow(options, [&](remote::BorrowedThread& thread) -> Status {
    for (const Control& image : images) TRY_STATUS(deregister_unwind_info(thread, image));
    return ok_status();
  });
}

// Takes those that can be freed off `left`.
Result<size_t> free_some(remote::Session& session, Target& target, std::vector<Control>& left,
                         const Limits& limits) {
  // Asked before the search and after it: a program may take a handler out for a while, and has
  // its address in memory meanwhile.
  TRY(std::vector<uint64_t> handlers, signal_handlers(session, left));
  std::vector<Control> candidates = left;
  drop_with_handlers(candidates, handlers);
  if (candidates.empty()) return size_t{0};
  TRY(std::vector<Control> free, unreferenced(session, target, candidates, limits));
  if (free.empty()) return size_t{0};
  TRY(handlers, signal_handlers(session, free));
  drop_with_handlers(free, handlers);
  TRY_STATUS(deregister_all(session, target, free, limits));
  TRY_STATUS(unmap_images(session, free));
  step("freed");
  for (const Control& image : free)
    std::erase_if(left, [&](const Control& candidate) {
      return candidate.region.address == image.region.address;
    });
  return free.size();
}

}  // namespace

Result<size_t> release_images(remote::Session& session, Target& target,
                              const std::vector<Control>& images, const Limits& limits) {
  std::vector<Control> left = images;
  size_t freed = 0;
  for (size_t round = 0; !left.empty(); ++round) {
    TRY(size_t now, free_some(session, target, left, limits));
    freed += now;
    if (round == retry_after_us.size()) break;
    if (!left.empty()) TRY_STATUS(session.idle(retry_after_us[round]));
  }
  return freed;
}

}  // namespace livecare::engine
