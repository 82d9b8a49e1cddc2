// The stop.
//
// Everything is computed beforehand; inside the stop only this happens, in this order:
//
//   1. every used stack is searched for words that point into code which must be empty
//      (conservative and quick; see remote/stack_scan.h);
//   2. only for threads where one was found, the stack is walked precisely: the word may have been
//      a stale value or a function pointer. A walk that does not end in a known root counts as
//      "inside", and so does such a word beyond that root: the walk may have been a coroutine's.
//      A thread at the very entry of such a function is inside too: an old caller may have jumped
//      there at its end, and has left nothing behind but arguments of its convention;
//   3. the bytes to be replaced are compared with what they must be;
//   4. bytes are written, then all of them read back at once.
//
// The states that say so are written around the stop, while the process runs: only other runs of
// ours read them, and they are what a run that is cut off has to leave behind.
//
// A thread in the way ends the attempt: everything resumes, and the next attempt comes after an
// interval that grows by a quarter from wait_us_first to wait_us_max, until leave_wait_us_max is
// over. The process runs meanwhile, so a thread that leaves the function now and then is caught
// outside.
//
// Return addresses point behind a call, so a call that never returns may leave one that is the
// address after the function's last byte: frames are judged by the address before (the search does
// the same).
//
// If a write fails half-way, what was written is taken back before the process resumes. If we are
// killed half-way, or it cannot be taken back, the threads resume and the headers say `switching`
// or `undoing`: the mix of old and new functions runs (each is whole, jumps are written by one
// write each, in an order in which no old caller meets a new callee: write_order.cc), and the next
// run mends it.
#include "engine/transition.h"

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/log.h"
#include "engine/image_state.h"
#include "engine/own_stack.h"
#include "engine/steps.h"
#include "engine/write_order.h"
#include "remote/stack_scan.h"
#include "remote/status.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::RemoteRange;

constexpr uint64_t wait_us_first = 200;
constexpr uint64_t wait_us_max = 50'000;
constexpr uint64_t pause_of_attempts_min = 5;  // the process runs at least five times as long
constexpr size_t threads_named_max = 16;
constexpr uint64_t page_bytes = 4096;
constexpr uint64_t above_bytes_max = 8 << 20;  // arguments, environment, thread-local variables

class Switch {
 public:
  Switch(Target& target, const Transition& transition, const Limits& limits,
         TransitionReport& report)
      : target_(target),
        transition_(transition),
        limits_(limits),
        report_(report),
        set_(searched_ranges(transition)),
        entries_(entries_of(transition)) {
    for (const ByteChange& change : transition.bytes) live_.emplace_back(change.after.size());
    ranges_.resize(live_.size());
  }

  // Before a stop: from here on a run that is cut off is seen to be.
  Status begin(remote::Session& session) {
    found_states_.clear();
    is_torn_ = false;
    for (const StateChange& change : transition_.begin) {
      TRY(State state, read_state(session.memory(), change.region));
      found_states_.push_back(state);
    }
    return write_states(session, transition_.begin);
  }

  // After a stop that failed. Where bytes could not be taken back, the states that tell the next
  // run so are left.
  void give_up(remote::Session& session) const {
    if (is_torn_) return;
    for (size_t i = found_states_.size(); i-- > 0;) {
      auto status = write_state(session, transition_.begin[i].region, found_states_[i]);
      if (!status.ok()) return log(LogLevel::error, "{}", status.error().text());
    }
  }

  // After one that did its work.
  Status finish(remote::Session& session) const { return write_states(session, transition_.end); }

  Status attempt(remote::StoppedProcess& process) {
    started_us_ = monotonic_us();
    report_.threads = static_cast<uint32_t>(process.tasks().size());
    report_.in_the_way.clear();
    TRY_STATUS(check_stacks(process));
    TRY_STATUS(compare(process));
    step("stopped");
    Status written = write_all(process);
    if (!written.ok()) take_back(process);
    return written;
  }

 private:
  static std::vector<RemoteRange> searched_ranges(const Transition& transition) {
    std::vector<RemoteRange> ranges;
    for (const OccupiedRange& occupied : transition.occupied) {
      // From behind the first byte: entry addresses are function pointers, not return addresses.
      uint64_t skip = occupied.has_entry ? 1 : 0;
      ranges.push_back(
          {occupied.range.start + static_cast<int64_t>(skip), occupied.range.size - skip});
    }
    return ranges;
  }

  static std::vector<uint64_t> entries_of(const Transition& transition) {
    std::vector<uint64_t> entries;
    for (const OccupiedRange& occupied : transition.occupied)
      if (occupied.has_entry) entries.push_back(occupied.range.start.address());
    std::sort(entries.begin(), entries.end());
    return entries;
  }

  // About to begin such a function: by a jump at the end of an old caller, perhaps, which has left
  // nothing on the stack but what it passes, in a way that the new function may not understand.
  bool is_at_entry(const remote::StoppedTask& task) const {
    return std::binary_search(entries_.begin(), entries_.end(), task.registers.rip);
  }

  const OccupiedRange* occupied_at(const remote::Frame& frame) const {
    for (const OccupiedRange& occupied : transition_.occupied) {
      uint64_t offset = frame.pc.address() - occupied.range.start.address();
      if (frame.exact) {
        if (offset < occupied.range.size) return &occupied;
      } else if (offset - 1 < occupied.range.size) {
        return &occupied;
      }
    }
    return nullptr;
  }

  Status check_stacks(remote::StoppedProcess& process) {
    for (const remote::StoppedTask& task : process.tasks()) {
      if (task.stack_complete && !is_at_entry(task) && remote::proved_outside(task, set_)) continue;
      TRY_STATUS(walk(process, task));
      if (monotonic_us() - started_us_ > limits_.stop_window_us_max)
        return make_error(ErrorCode::timed_out, "",
                          "checking the stacks took longer than {} us; raise the limit",
                          limits_.stop_window_us_max);
    }
    if (report_.in_the_way.empty()) return ok_status();
    const ThreadInTheWay& first = report_.in_the_way.front();
    return make_error(ErrorCode::busy, first.function, "thread {} ({}) is inside", first.tid,
                      first.comm);
  }

  // A walk speaks for the stack up to the first frame. A thread's own ends there (above it are only
  // thread-local variables, which may hold any pointer); a coroutine's has other stacks above it in
  // the same mapping, perhaps the one that it will come back to.
  bool nothing_above(const remote::StoppedProcess& process, const remote::StoppedTask& task,
                     const remote::StackWalk& walk) const {
    if (!task.home_stack.empty()) return true;  // a complete walk has come there
    if (begins_thread(process.memory(), task, walk.frames.back())) return true;
    RemoteAddress root = walk.frames.back().sp;
    if (!task.stack_range.contains(root)) return false;
    auto size = static_cast<uint64_t>(task.stack_range.end().bytes_from(root));
    // Its control block is no stack.
    size = std::min<uint64_t>(size, task.registers.fs_base - root.address());
    if (size > above_bytes_max) return false;
    Bytes words = process.memory().read_prefix(root, size);
    return words.size() == size && set_.first_hit(words) == words.size();
  }

  Status walk(const remote::StoppedProcess& process, const remote::StoppedTask& task) {
    TRY(remote::Unwinder * unwinder, target_.unwinder());
    remote::StackWalk walk = unwinder->walk(task);
    const OccupiedRange* inside = nullptr;
    for (const remote::Frame& frame : walk.frames)
      if (inside == nullptr) inside = occupied_at(frame);
    if (inside == nullptr && walk.complete) {
      if (nothing_above(process, task, walk)) return ok_status();
      walk.why = "in a coroutine, with such code in another stack above it";
    }
    if (report_.in_the_way.size() >= threads_named_max) return ok_status();
    ThreadInTheWay thread;
    thread.tid = task.tid;
    if (auto status = remote::read_status(task.tid); status.ok()) thread.comm = status->comm;
    thread.function = inside != nullptr ? inside->function : "(unknown: " + walk.why + ")";
    for (const remote::Frame& frame : walk.frames) thread.frames.push_back(frame.text());
    report_.in_the_way.push_back(std::move(thread));
    return ok_status();
  }

  // Everything that is going to change, and after the change, in one read.
  Status read_all(remote::StoppedProcess& process) {
    for (size_t i = 0; i < live_.size(); ++i)
      ranges_[i] = {transition_.bytes[i].at, live_[i].data(), live_[i].size(), 0};
    process.memory().read_many(ranges_);
    for (const remote::ReadRange& range : ranges_)
      if (range.done != range.size)  // unreadable, or execute-only: the slow way tells which
        TRY_STATUS(
            process.memory().read_into(range.from, {static_cast<uint8_t*>(range.to), range.size}));
    return ok_status();
  }

  Status compare(remote::StoppedProcess& process) {
    TRY_STATUS(read_all(process));
    for (size_t i = 0; i < transition_.bytes.size(); ++i) {
      const ByteChange& change = transition_.bytes[i];
      if (std::find(change.before.begin(), change.before.end(), live_[i]) == change.before.end())
        return make_error(ErrorCode::conflict, change.object,
                          "function {} at {:#x} holds {} instead of {}: somebody else changed it",
                          change.function, change.at.address(), to_hex(live_[i]),
                          to_hex(change.before.front()));
    }
    found_ = live_;
    return ok_status();
  }

  Status read_back(remote::StoppedProcess& process) {
    TRY_STATUS(read_all(process));
    for (size_t i = 0; i < transition_.bytes.size(); ++i) {
      const ByteChange& change = transition_.bytes[i];
      if (live_[i] != change.after)
        return make_error(ErrorCode::io, change.object,
                          "function {} at {:#x}: what was written reads back as {}",
                          change.function, change.at.address(), to_hex(live_[i]));
    }
    return ok_status();
  }

  static Status write_states(remote::Session& session, const std::vector<StateChange>& changes) {
    for (const StateChange& change : changes) {
      TRY_STATUS(write_state(session, change.region, change.state));
      step("state");
    }
    return ok_status();
  }

  Status write_all(remote::StoppedProcess& process) {
    written_ = 0;
    for (const DataCopy& copy : transition_.copies) {
      TRY(Bytes data, process.memory().read(copy.from, copy.size));
      TRY_STATUS(process.write(copy.to, data));
    }
    while (written_ < transition_.bytes.size()) {
      size_t first = written_;
      written_ = end_of_run(first);
      TRY_STATUS(write_run(process, first, written_));
      step("bytes");
    }
    return read_back(process);
  }

  // Changes of one group in one page go into one write, which no kill can cut.
  size_t end_of_run(size_t first) const {
    const auto& bytes = transition_.bytes;
    auto last_byte = [](const ByteChange& change) {
      return change.at.address() + change.after.size() - 1;
    };
    size_t end = first + 1;
    while (end < bytes.size() && bytes[end].group == bytes[first].group &&
           last_byte(bytes[end]) / page_bytes == bytes[first].at.address() / page_bytes)
      ++end;
    return end;
  }

  Status write_run(remote::StoppedProcess& process, size_t first, size_t end) {
    const auto& bytes = transition_.bytes;
    RemoteAddress from = bytes[first].at;
    if (end == first + 1) return process.put(from, bytes[first].after);
    const ByteChange& last = bytes[end - 1];
    auto size = static_cast<size_t>(last.at.bytes_from(from)) + last.after.size();
    TRY(Bytes run, process.memory().read(from, size));
    for (size_t i = first; i < end; ++i)
      std::copy(bytes[i].after.begin(), bytes[i].after.end(),
                run.begin() + bytes[i].at.bytes_from(from));
    return process.put(from, run);
  }

  void take_back(remote::StoppedProcess& process) {
    for (size_t i = written_; i-- > 0;) {
      auto status = process.write(transition_.bytes[i].at, found_[i]);
      if (status.ok()) continue;
      is_torn_ = true;
      return log(LogLevel::error, "{}", status.error().text());
    }
  }

  Target& target_;
  const Transition& transition_;
  const Limits& limits_;
  TransitionReport& report_;
  remote::RangeSet set_;
  std::vector<uint64_t> entries_;  // sorted
  uint64_t started_us_ = 0;
  std::vector<remote::ReadRange> ranges_;  // of the bytes
  std::vector<Bytes> live_;
  std::vector<Bytes> found_;         // to be put back when a write fails
  std::vector<State> found_states_;  // as transition_.begin
  size_t written_ = 0;
  bool is_torn_ = false;  // neither as before nor as it should be
};

// Lets the process run for wait_us, and on for as long as the first thread in the way sleeps where
// it did: a stop would only find it there again.
Status wait_for_change(remote::Session& session, const TransitionReport& report, uint64_t wait_us,
                       uint64_t deadline) {
  pid_t tid = report.in_the_way.empty() ? 0 : report.in_the_way.front().tid;
  auto place = [&] { return remote::read_sleep_place(session.pid(), tid); };
  auto before = place();
  for (;;) {
    uint64_t now = monotonic_us();
    if (now >= deadline) return ok_status();
    TRY_STATUS(session.idle(std::min(wait_us, deadline - now)));
    if (tid == 0 || !before.ok() || !before->asleep) return ok_status();
    auto after = place();
    if (!after.ok() || !(*after == *before)) return ok_status();
  }
}

}  // namespace

Status run_transition(remote::Session& session, Target& target, const Transition& transition,
                      const Limits& limits, TransitionReport& report) {
  Transition ordered = transition;
  TRY_STATUS(order_writes(session.memory(), ordered));
  Switch change(target, ordered, limits, report);
  remote::StopOptions options;
  options.stop_window_us_max = limits.stop_window_us_max;
  options.stopped_us = &report.stop_us;
  uint64_t deadline = monotonic_us() + limits.leave_wait_us_max;
  uint64_t wait_us = wait_us_first;
  for (;;) {
    ++report.attempts;
    uint64_t began = monotonic_us();
    Status begun = change.begin(session);
    if (!begun.ok()) {
      change.give_up(session);
      return begun;
    }
    auto stopped = session.stop(
        options, [&](remote::StoppedProcess& process) { return change.attempt(process); });
    if (stopped.ok()) {
      report.stop_us = stopped->stop_us;
      step("resumed");
      return change.finish(session);
    }
    change.give_up(session);
    bool may_pass =
        stopped.error().code == ErrorCode::busy || stopped.error().code == ErrorCode::timed_out;
    uint64_t now = monotonic_us();
    if (!may_pass || now >= deadline) return stopped.take_error();
    uint64_t pause_us = std::max(wait_us, (now - began) * pause_of_attempts_min);
    TRY_STATUS(wait_for_change(session, report, pause_us, deadline));
    wait_us = std::min(wait_us + wait_us / 4, wait_us_max);
  }
}

}  // namespace livecare::engine
