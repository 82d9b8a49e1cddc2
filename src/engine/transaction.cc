// The transaction over one process.
//
// The problem. Functions of a running process have to change to new ones, all of them or none, with
// the process stopped for as short as can be, without leaving anything in it that needs us, and so
// that we may be killed at any instruction.
//
// The idea. Everything that can be prepared is prepared while the process runs, in memory that
// nobody in it knows of:
//
//   plan    which objects, which bytes, which symbols; read only                        plan.cc
//   stage   map an image near each object, write a control header first, then code      stage.cc
//   calls   what only the process can do itself: unwinder, hooks, thread-local data     calls.cc
//   switch  the stop: check stacks, compare, write one jump for each function      transition.cc
//   release unmap what is undone or replaced and to which nothing points             release.cc
//
// An undo is the same way back. The truth is never kept outside of the process: the control header
// of each image (docs/formats/control.md) says what it is and in which state, and is enough for any
// later run, of any later version, to undo it or to mend what a killed run left (mend.cc):
//
//   killed while                  what is left                       the next patch or unpatch
//   planning                      nothing
//   mapping, before the header    an empty mapping, and a record     unmaps it (intent.cc)
//   staging                       an image in state `staged`         frees it
//   about and in the stop         `switching`, some jumps written    takes the jumps back, frees it
//   after the stop                `live`                             nothing to mend
//   undoing, the same             `undoing`, some jumps gone         finishes, frees it
//   releasing                     `kept`                             frees it
//
// The threads of a killed run resume by themselves (the kernel detaches a dead tracer's tracees,
// and remote calls return through a prepared signal frame: remote/borrow.cc), so in-between states
// are not only mended, they run: each function is wholly old or wholly new.
//
// A snapshot is taken before the process is attached to, because reading link maps and unwind
// tables takes milliseconds in which signals would have to wait for us. Two runs may therefore
// start from the same snapshot; the second one finds other headers once it has the process for
// itself and starts again.
//
// Rejected: loading the patch by dlopen (it needs a file that the process can open, takes the
// loader's locks, runs constructors, shows up in dl_iterate_phdr, and cannot be undone while any
// thread is in the loader); a state file (it lies after a crash, an exec or a fork); breakpoints to
// catch threads that leave a function (a killed tracer would leave one armed).
#include <algorithm>
#include <random>

#include "base/clock.h"
#include "base/log.h"
#include "engine/calls.h"
#include "engine/changes.h"
#include "engine/engine.h"
#include "engine/image_state.h"
#include "engine/mend.h"
#include "engine/plan.h"
#include "engine/release.h"
#include "engine/report.h"
#include "engine/stage.h"
#include "engine/steps.h"
#include "engine/tls_block.h"
#include "engine/unwinder.h"
#include "remote/session.h"
#include "remote/status.h"

namespace livecare::engine {
namespace {

using patchfmt::HookWhen;
using remote::BorrowedThread;
using remote::RemoteAddress;
using remote::Session;

constexpr uint32_t restarts_max = 5;  // when another run changed the process meanwhile

uint64_t new_transaction() {
  std::random_device source;
  return (uint64_t{source()} << 32 | source()) | 1;
}

class Transaction {
 public:
  Transaction(Target& target, const Limits& limits, ProcessReport& report)
      : target_(target), limits_(limits), report_(report) {}

  // nullptr: no patchset, undo `build_ids`.
  Status run(const patchfmt::Patchset* patchset, const std::vector<std::string>* build_ids) {
    leftovers_ = find_leftovers(target_);
    bool work = true;
    if (leftovers_.found.empty()) {
      TRY(work, prepare(patchset, build_ids));
      if (!work && late_.empty()) return ok_status();
    }
    TRY(remote::Unwinder * warm, target_.unwinder());
    (void)warm;
    return remote::with_session(target_.pid(), {}, [&](Session& session) -> Status {
      TRY_STATUS(check_snapshot());
      if (!leftovers_.found.empty()) {
        TRY_STATUS(mend_leftovers(session));
        TRY(work, prepare(patchset, build_ids));
      }
      if (work) TRY_STATUS(patchset != nullptr ? patch(session, *patchset) : undo(session));
      register_late(session);
      return ok_status();
    });
  }

  bool is_outdated() const { return outdated_; }

 private:
  // False: there is nothing to do, and report_ says why.
  Result<bool> prepare(const patchfmt::Patchset* patchset,
                       const std::vector<std::string>* build_ids) {
    late_.clear();
    for (const Control& image : target_.images().images)
      if (can_register_now(target_, image)) late_.push_back(image);
    if (patchset != nullptr) {
      TRY(plan_, make_plan(target_, *patchset));
      if (plan_.objects.empty()) note(plan_.nothing_to_do);
      return !plan_.objects.empty();
    }
    for (const Error& damaged : target_.images().damaged) return damaged;
    undone_.clear();
    bool any_kept = false;
    for (const Control& image : target_.images().images) {
      any_kept = any_kept || image.state == State::kept;
      bool chosen = build_ids->empty() || std::find(build_ids->begin(), build_ids->end(),
                                                    image.build_id) != build_ids->end();
      if (chosen && image.state == State::live) undone_.push_back(image);
    }
    if (!build_ids->empty()) add_siblings();
    if (undone_.empty()) note("nothing to undo");
    return any_kept || !undone_.empty();
  }

  // A patchset is one change, in whichever of its objects: all of them or none.
  void add_siblings() {
    for (size_t i = 0; i < undone_.size(); ++i) {
      for (const Control& image : target_.images().images) {
        bool same_patchset =
            image.patchset == undone_[i].patchset && image.level == undone_[i].level;
        bool known = std::any_of(undone_.begin(), undone_.end(), [&](const Control& other) {
          return other.region.address == image.region.address;
        });
        if (image.state != State::live || known) continue;
        if (!same_patchset && image.transaction != undone_[i].transaction) continue;
        note(fmt::format("{} was undone with {}: both are of {} level {}", image.soname,
                         undone_[i].soname, image.patchset, image.level));
        undone_.push_back(image);
      }
    }
  }

  void note(std::string_view text) {
    if (!report_.reason.empty()) report_.reason += "; ";
    report_.reason += text;
  }

  Status check_snapshot() {
    TRY(remote::Maps maps, remote::Maps::read(target_.pid()));
    TRY(FoundImages now, find_images(target_.memory(), maps));
    auto same = [](const Control& a, const Control& b) {
      return a.region.address == b.region.address && a.state == b.state &&
             a.transaction == b.transaction;
    };
    const auto& before = target_.images().images;
    if (!std::equal(before.begin(), before.end(), now.images.begin(), now.images.end(), same)) {
      outdated_ = true;
      return make_error(ErrorCode::busy, "", "another run changed the process meanwhile");
    }
    return ok_status();
  }

  Status mend_leftovers(Session& session) {
    TransitionReport mended;
    Status status = mend(session, target_, leftovers_, limits_, mended);
    take_report(mended);
    TRY_STATUS(std::move(status));
    for (const std::string& found : leftovers_.found) note(found);
    report_.outcome = Outcome::mended;
    return target_.refresh();
  }

  void take_report(const TransitionReport& report) {
    report_.stop_us = report.stop_us;
    report_.threads = report.threads;
    report_.attempts += report.attempts;
    report_.in_the_way = report.in_the_way;
  }

  Result<remote::BorrowOptions> call_options() {
    remote::BorrowOptions options;
    options.call_us_max = limits_.remote_call_us_max;
    TRY_STATUS(allow_calls(target_, options));
    return options;
  }

  Status patch(Session& session, const patchfmt::Patchset& patchset) {
    Status status = stage_all(session, patchset);
    if (status.ok()) status = switch_all(session);
    if (!status.ok()) {
      abandon(session);
      return status;
    }
    report_.outcome = Outcome::patched;
    hooks_after(session, released_, HookWhen::after_undo);
    hooks_after(session, staged_, HookWhen::after_switch);
    release_undone(session);
    return ok_status();
  }

  // A thread of the process is held for what only it can do, and not for the rest.
  Status stage_all(Session& session, const patchfmt::Patchset& patchset) {
    uint64_t transaction = new_transaction();
    std::vector<StageRequest> requests;
    for (const PlannedObject& planned : plan_.objects)
      requests.push_back(
          {&planned, &patchset, transaction, static_cast<uint32_t>(plan_.objects.size())});
    // Remote calls need an image for their stubs: an old one will do.
    for (const StageRequest& request : requests)
      if (request.planned->kept.empty()) {
        TRY(Control control, map_one(session, request));
        staged_.push_back(std::move(control));
      }
    TRY_STATUS(resolve_ifuncs(session));
    std::vector<bool> reused(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      TRY(bool one, place_one(session, requests[i], i));
      reused[i] = one;
    }
    TRY_STATUS(provide_tls_blocks(session, requests, reused));
    for (size_t i = 0; i < requests.size(); ++i)
      if (!reused[i])
        TRY_STATUS(
            write_image(session, staged_[i], plan_.objects[i], plan_.objects[i].resolution.values));
    return calls_before_switch(session);
  }

  // Undone images that cannot be freed (release.cc) are as many as there were different patches.
  Result<Control> map_one(Session& session, const StageRequest& request) {
    uint64_t kept_bytes = 0;
    for (const Control& image : target_.images().images)
      if (image.state == State::kept) kept_bytes += image.region.size;
    if (kept_bytes > kept_bytes_max)
      return make_error(ErrorCode::refused, fmt::format("process {}", target_.pid()),
                        "holds {} MiB of undone patches that something may still point to; "
                        "restart it",
                        kept_bytes >> 20);
    return map_image(session, request);
  }

  // Where calls for this object find their stubs.
  const Control& host_of(const PlannedObject& planned) const {
    if (!planned.kept.empty()) return planned.kept.front();
    auto found = std::find_if(staged_.begin(), staged_.end(), [&](const Control& image) {
      return image.target_bias == planned.object.bias && image.build_id == planned.patch->build_id;
    });
    LIVECARE_ASSERT(found != staged_.end());
    return *found;
  }

  Status resolve_ifuncs(Session& session) {
    auto has_ifuncs = [](const PlannedObject& planned) {
      return !planned.resolution.ifuncs.empty();
    };
    if (std::none_of(plan_.objects.begin(), plan_.objects.end(), has_ifuncs)) return ok_status();
    TRY(remote::BorrowOptions options, call_options());
    return session.borrow(options, [&](BorrowedThread& thread) -> Status {
      for (PlannedObject& planned : plan_.objects)
        if (has_ifuncs(planned))
          TRY_STATUS(call_ifuncs(thread, host_of(planned), planned.resolution));
      return ok_status();
    });
  }

  // Afterwards staged_[index] is the image of plan_.objects[index]; true: it is an old one, which
  // holds all that it must.
  Result<bool> place_one(Session& session, const StageRequest& request, size_t index) {
    const PlannedObject& planned = *request.planned;
    if (planned.kept.empty()) return false;
    TRY(auto reused, reuse_image(session, target_, request, planned.resolution.values));
    bool is_reused = reused.has_value();
    if (!is_reused) {
      TRY(reused, map_one(session, request));
    }
    staged_.insert(staged_.begin() + static_cast<ptrdiff_t>(index), std::move(*reused));
    return is_reused;
  }

  // Their initial values may point into the images, which therefore have their places by now.
  Status provide_tls_blocks(Session& session, const std::vector<StageRequest>& requests,
                            const std::vector<bool>& reused) {
    auto needs_block = [&](size_t i) {
      return !reused[i] && plan_.objects[i].patch->new_tls_size != 0;
    };
    bool any = false;
    for (size_t i = 0; i < requests.size(); ++i) any = any || needs_block(i);
    if (!any) return ok_status();
    TRY(remote::BorrowOptions options, call_options());
    return session.borrow(options, [&](BorrowedThread& thread) -> Status {
      for (size_t i = 0; i < requests.size(); ++i) {
        if (!needs_block(i)) continue;
        std::vector<SymbolValue>& values = plan_.objects[i].resolution.values;
        place_image_symbols(*plan_.objects[i].patch, staged_[i].image, values);
        TRY_STATUS(provide_tls_block(thread, target_, staged_[i], requests[i], values));
      }
      return ok_status();
    });
  }

  Status calls_before_switch(Session& session) {
    bool any =
        std::any_of(plan_.objects.begin(), plan_.objects.end(), [&](const PlannedObject& planned) {
          return needs_calls(target_, planned) ||
                 (planned.current && has_hooks(*planned.current, HookWhen::before_undo));
        });
    if (!any) return ok_status();
    TRY(remote::BorrowOptions options, call_options());
    return session.borrow(options, [&](BorrowedThread& thread) -> Status {
      for (Control& image : staged_) TRY_STATUS(register_unwind_info(thread, target_, image));
      // As if the old level were undone and then the new one applied.
      for (const PlannedObject& planned : plan_.objects)
        if (planned.current) TRY_STATUS(run_hooks(thread, *planned.current, HookWhen::before_undo));
      for (const Control& image : staged_)
        TRY_STATUS(run_hooks(thread, image, HookWhen::before_switch));
      return ok_status();
    });
  }

  // Makes private copies of the pages with jumps now, not in the stop, and finds out whether they
  // can be written.
  static Status touch_entries(Session& session, const std::vector<Control>& images) {
    for (const Control& image : images)
      for (const ControlFunction& function : image.functions) {
        TRY(Bytes first, session.memory().read(RemoteAddress(function.jump_address), 1));
        TRY_STATUS(session.write(RemoteAddress(function.jump_address), first));
      }
    return ok_status();
  }

  Status switch_all(Session& session) {
    TRY_STATUS(touch_entries(session, staged_));
    Transition transition;
    for (size_t i = 0; i < staged_.size(); ++i) {
      const auto& current = plan_.objects[i].current;
      add_switch(transition, staged_[i], current ? &*current : nullptr);
      if (current) released_.push_back(*current);
    }
    TransitionReport switched;
    Status status = run_transition(session, target_, transition, limits_, switched);
    take_report(switched);
    return status;
  }

  // The switch did not happen. Whatever was staged is taken away again, but for what some jump may
  // lead to: its state says so.
  void abandon(Session& session) {
    released_.clear();
    std::vector<Control> fresh;
    for (const Control& image : staged_) {
      auto state = read_state(session.memory(), RemoteAddress(image.region.address));
      if (image.state == State::staged && state.ok() && *state == State::staged)
        fresh.push_back(image);
    }
    auto freed = release_images(session, target_, fresh, limits_);
    if (freed.ok() && *freed == fresh.size()) return;
    if (!freed.ok() && freed.error().code == ErrorCode::process_died) return;
    log(LogLevel::warning, "process {}: staged memory is left and will be freed by the next run",
        target_.pid());
  }

  Status undo(Session& session) {
    if (!undone_.empty()) TRY_STATUS(undo_all(session));
    released_ = undone_;
    release_undone(session);
    return ok_status();
  }

  Status undo_all(Session& session) {
    bool before = std::any_of(undone_.begin(), undone_.end(), [](const Control& image) {
      return has_hooks(image, HookWhen::before_undo);
    });
    if (before) {
      TRY(remote::BorrowOptions options, call_options());
      Status ran = session.borrow(options, [&](BorrowedThread& thread) -> Status {
        for (const Control& image : undone_)
          TRY_STATUS(run_hooks(thread, image, HookWhen::before_undo));
        return ok_status();
      });
      TRY_STATUS(std::move(ran));
    }
    TRY_STATUS(touch_entries(session, undone_));
    Transition transition;
    for (const Control& image : undone_) add_undo(transition, image);
    TransitionReport switched;
    Status status = run_transition(session, target_, transition, limits_, switched);
    take_report(switched);
    TRY_STATUS(std::move(status));
    report_.outcome = Outcome::unpatched;
    hooks_after(session, undone_, HookWhen::after_undo);
    return ok_status();
  }

  // An unwinder was loaded since these were patched.
  void register_late(Session& session) {
    for (Control& image : late_) {
      bool gone = std::any_of(released_.begin(), released_.end(), [&](const Control& other) {
        return other.region.address == image.region.address;
      });
      if (gone) continue;
      auto options = call_options();
      Status status = options.ok()
                          ? session.borrow(*options,
                                           [&](BorrowedThread& thread) {
                                             return register_unwind_info(thread, target_, image);
                                           })
                          : options.take_error();
      if (!status.ok()) note(status.error().text());
    }
  }

  // The switch is done: what goes wrong from here on is told, but undoes nothing.
  void hooks_after(Session& session, const std::vector<Control>& images, HookWhen when) {
    bool any = std::any_of(images.begin(), images.end(),
                           [&](const Control& image) { return has_hooks(image, when); });
    if (!any) return;
    auto options = call_options();
    Status status = options.ok() ? session.borrow(*options,
                                                  [&](BorrowedThread& thread) -> Status {
                                                    for (const Control& image : images)
                                                      TRY_STATUS(run_hooks(thread, image, when));
                                                    return ok_status();
                                                  })
                                 : options.take_error();
    if (!status.ok()) note(status.error().text());
  }

  void release_undone(Session& session) {
    for (const Control& image : target_.images().images) {
      bool reused = std::any_of(staged_.begin(), staged_.end(), [&](const Control& staged) {
        return staged.region.address == image.region.address;
      });
      if (image.state == State::kept && !reused) released_.push_back(image);
    }
    auto freed = release_images(session, target_, released_, limits_);
    if (!freed.ok())
      log(LogLevel::info, "process {}: undone memory is kept: {}", target_.pid(),
          freed.error().text());
  }

  Target& target_;
  const Limits& limits_;
  ProcessReport& report_;
  bool outdated_ = false;  // the snapshot
  Leftovers leftovers_;
  Plan plan_;
  std::vector<Control> staged_;  // as plan_.objects
  std::vector<Control> undone_;
  std::vector<Control> released_;  // nobody is let into these any more
  std::vector<Control> late_;      // live, and not known to the unwinder yet
};

// Starts again when another run was quicker, up to restarts_max times.
Status run_once(pid_t pid, const patchfmt::Patchset* patchset,
                const std::vector<std::string>* build_ids, const Limits& limits,
                ProcessReport& report, bool& again) {
  TRY_STATUS(remote::check_patchable(pid));
  TRY(Target target, Target::open(pid));
  Transaction transaction(target, limits, report);
  Status status = transaction.run(patchset, build_ids);
  again = transaction.is_outdated();
  return status;
}

ProcessReport run(pid_t pid, const patchfmt::Patchset* patchset,
                  const std::vector<std::string>* build_ids, const Limits& limits) {
  uint64_t started = monotonic_us();
  ProcessReport report;
  Status status = ok_status();
  for (uint32_t i = 0; i < restarts_max; ++i) {
    report = ProcessReport();
    bool again = false;
    status = run_once(pid, patchset, build_ids, limits, report, again);
    if (!again) break;
  }
  complete_report(pid, report, status);
  report.total_us = monotonic_us() - started;
  return report;
}

}  // namespace

ProcessReport patch(pid_t pid, const patchfmt::Patchset& patchset, const Limits& limits) {
  return run(pid, &patchset, nullptr, limits);
}

ProcessReport unpatch(pid_t pid, const std::vector<std::string>& build_ids, const Limits& limits) {
  return run(pid, nullptr, &build_ids, limits);
}

}  // namespace livecare::engine
