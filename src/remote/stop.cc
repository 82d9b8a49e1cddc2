// The stop window: every task of the process held at once, for as short as can be.
//
// The problem. Between the first task stopped and the last one resumed the program stands still.
// What has to happen inside: stop n tasks, learn their registers, read their used stacks, decide,
// write a few bytes, resume n tasks.
//
// The idea.
// - Everything else is done before: the maps (where stacks end), buffers (touched, so that no page
//   fault of ours falls into the window), the vfork parents, the sleepers' deadlines.
// - PTRACE_INTERRUPT to all before the first wait, so that they stop in parallel. Sleepers first,
//   those that were seen running last: those lose time, sleepers do not. They are resumed first.
//   Sleepers whose call would show EINTR if we were killed come before all, in small groups.
// - Waiting by thread ID is O(1) in the kernel (5449162ac001); waiting for "any" walks all tracees.
// - All stacks in one process_vm_readv (up to 1024 at a time).
// - Nothing is read from /proc inside, but for one fstat and one pread that prove that no task is
//   missing (session.cc).
//
// - Waking a task may give it our CPU in the middle of the window, with others still stopped. So
//   the tracer runs under SCHED_FIFO during the window where that is permitted; it sleeps only in
//   waits, which are limited.
//
// The limit. Blocking waits are interrupted by a timer every 2 ms; a task in uninterruptible sleep
// thus cannot hold the window open longer than stop_window_us_max. A parent in vfork() sleeps
// uninterruptibly until its child executes or exits; when that child is held by us, the parent
// cannot run either, which is checked: the same system call, PC and SP as before the stop, with the
// context-switch counters unchanged around the look. It counts as stopped.
//
// What the program can see of it: nothing but the time. System calls that return EINTR are rewound
// (rewind.cc) as soon as the stop is seen; signals that come in are delivered on resume; a group
// stop lasts.
#include <sys/ptrace.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "remote/session_impl.h"
#include "remote/status.h"
#include "remote/urgent.h"

namespace livecare::remote {

namespace {

constexpr size_t stack_slot_bytes_min = 32 << 10;
constexpr int adopt_rounds_max = 100;
constexpr size_t exposed_at_once_max = 8;

struct Slot {
  size_t tracee = 0;
  size_t offset = 0;  // of its stack buffer in the arena
  size_t size = 0;
  Bytes overflow;  // when the slot was too small
  Bytes home;
};

}  // namespace

class Stop final : public StoppedProcess {
 public:
  Stop(SessionImpl& session, const StopOptions& options) : session_(session), options_(options) {}

  Result<StopReport> run(const std::function<Status(StoppedProcess&)>& work);

  std::span<const StoppedTask> tasks() const override { return tasks_; }
  const Memory& memory() const override { return session_.memory(); }
  Status write(RemoteAddress to, ByteView bytes) override {
    return session_.memory().write(to, bytes, tasks_.empty() ? 0 : tasks_.front().tid);
  }
  Status put(RemoteAddress to, ByteView bytes) override {
    return session_.memory().put(to, bytes, tasks_.empty() ? 0 : tasks_.front().tid);
  }
  void release_after() override { release_ = true; }

 private:
  Status prepare();
  void look_at_sleepers();
  Status gather();
  Status stop_exposed();
  bool waits(size_t index) const {  // is to be stopped, and has not been
    return session_.tracees()[index].state == TraceeState::running;
  }
  Status wait_for(size_t index);
  Status stop_newcomers();
  bool count_as_vfork_parent(size_t index);
  void collect(size_t index);
  void read_stacks();
  void read_stack_again(size_t i, const StackAreas& areas);
  void resume_all();
  Status check_deadline(const Tracee& tracee) const;

  SessionImpl& session_;
  const StopOptions& options_;
  std::optional<StackAreas> areas_;
  std::vector<size_t> order_;       // of tracees: sleepers first
  std::vector<size_t> group_;       // of order_: being waited for
  std::vector<uint64_t> switches_;  // of vfork parents, by tracee
  std::vector<StoppedTask> tasks_;
  std::vector<Slot> slots_;  // parallel to tasks_
  std::vector<ReadRange> ranges_;
  Bytes arena_;
  size_t arena_used_ = 0;
  uint64_t deadline_us_ = 0;
  uint32_t rewound_ = 0;
  uint64_t group_began_ns_ = 0;  // when the threads now being waited for were interrupted
  uint64_t exposed_ns_ = 0;
  bool release_ = false;
};

// What a task was doing before the stop; clone3's flags lie in memory.
static bool is_vfork(const Memory& memory, const SleepPlace& place) {
  constexpr uint64_t clone_vfork = 0x4000;
  if (place.number == 58) return true;
  if (place.number == 56) return (place.arguments[0] & clone_vfork) != 0;
  if (place.number != 435) return false;
  auto flags = memory.read_value(RemotePtr<uint64_t>(place.arguments[0]));
  return flags.ok() && (*flags & clone_vfork) != 0;
}

void Stop::look_at_sleepers() {
  auto& tracees = session_.tracees();
  order_.clear();
  switches_.assign(tracees.size(), 0);
  std::vector<size_t> running;
  for (size_t i = 0; i < tracees.size(); ++i) {
    Tracee& tracee = tracees[i];
    if (tracee.state != TraceeState::running) continue;
    observe_sleep(session_.memory(), tracee.tgid, tracee.tid, tracee.sleep);
    if (!tracee.sleep.place.asleep) {
      running.push_back(i);
      continue;
    }
    order_.push_back(i);
    if (!is_vfork(session_.memory(), tracee.sleep.place)) continue;
    auto status = read_status(tracee.tid);
    if (status.ok()) switches_[i] = status->switches;
  }
  order_.insert(order_.end(), running.begin(), running.end());
}

Status Stop::prepare() {
  size_t found = 0;
  TRY_STATUS(session_.adopt_new(found));
  session_.pump();
  TRY_STATUS(session_.check_alive());
  TRY(Maps maps, Maps::read(session_.pid()));
  areas_.emplace(maps);
  look_at_sleepers();
  size_t count = session_.tracees().size();
  // Grown and emptied again, so that the memory is there and not only promised.
  constexpr size_t newcomers = 256;
  tasks_.resize(count + newcomers);
  slots_.resize(count + newcomers);
  ranges_.resize(count + newcomers);
  group_.reserve(exposed_at_once_max);
  tasks_.clear();
  slots_.clear();
  ranges_.clear();
  size_t bytes = 0;
  for (const Tracee& tracee : session_.tracees()) {
    size_t size = stack_slot_bytes_min;
    if (tracee.sleep.place.asleep) {
      // Slots of sleepers are as large as what they use now.
      RemoteAddress sp(tracee.sleep.place.sp);
      auto used = areas_->used(sp, RemoteAddress());
      if (used) size = std::min<size_t>(std::max<size_t>(used->size, 4096), stack_slot_bytes_min);
    }
    bytes += size;
  }
  arena_.resize(bytes + (1 << 20));
  // The first bulk read would fault on the tracer's own stack.
  ReadRange first{RemoteAddress(), arena_.data(), 1, 0};
  session_.memory().read_many({&first, 1});
  size_t more = 0;
  TRY_STATUS(session_.adopt_new_quick(more));
  for (size_t i = count; i < session_.tracees().size(); ++i) order_.push_back(i);
  switches_.resize(session_.tracees().size());
  session_.pump();
  return session_.check_alive();
}

Status Stop::check_deadline(const Tracee& tracee) const {
  if (monotonic_us() < deadline_us_) return ok_status();
  auto status = read_status(tracee.tid);
  return make_error(ErrorCode::timed_out, fmt::format("process {}", session_.pid()),
                    "thread {} ({}) did not stop within {} us (state {}); everything runs on as "
                    "before, try again later",
                    tracee.tid, status.ok() ? status->comm : "?", options_.stop_window_us_max,
                    status.ok() ? status->state : '?');
}

// Rewinds at once: were we killed now, the program would see the EINTR.
void Stop::collect(size_t index) {
  Tracee& tracee = session_.tracees()[index];
  session_.note_stop(tracee);
  StoppedTask& task = tasks_.emplace_back();
  slots_.emplace_back().tracee = index;
  task.tgid = tracee.tgid;
  task.tid = tracee.tid;
  if (!read_registers_if_alive(tracee, task.registers)) {
    tasks_.pop_back();
    slots_.pop_back();
    return;
  }
  if (tracee.kind == StopKind::group || !was_interrupted(task.registers)) return;
  Registers changed = task.registers;
  if (rewind_call(session_.memory(), tracee.tgid, tracee.tid, tracee.sleep, changed) &&
      write_registers_if_alive(tracee, changed)) {
    ++rewound_;
    exposed_ns_ = std::max(exposed_ns_, monotonic_ns() - group_began_ns_);
  }
}

bool Stop::count_as_vfork_parent(size_t index) {
  Tracee& tracee = session_.tracees()[index];
  if (index >= switches_.size() || switches_[index] == 0) return false;
  auto before = read_status(tracee.tid);
  auto place = read_sleep_place(tracee.tgid, tracee.tid);
  auto after = read_status(tracee.tid);
  if (!before.ok() || !place.ok() || !after.ok()) return false;
  if (before->switches != switches_[index] || after->switches != switches_[index]) return false;
  if (!(*place == tracee.sleep.place)) return false;
  bool child_held = false;
  for (const StoppedTask& task : tasks_) {
    if (task.tgid == tracee.tgid) continue;
    auto status = read_status(task.tid);
    child_held |= status.ok() && status->parent == tracee.tgid;
  }
  if (!child_held) return false;
  StoppedTask& task = tasks_.emplace_back();
  slots_.emplace_back().tracee = index;
  task.tgid = tracee.tgid;
  task.tid = tracee.tid;
  task.in_vfork = true;
  task.registers.rip = place->pc;
  task.registers.rsp = place->sp;
  return true;
}

Status Stop::wait_for(size_t index) {
  for (;;) {
    switch (wait_if_alive(session_.tracees()[index], true)) {
      case WaitOutcome::stopped:
        collect(index);
        return ok_status();
      case WaitOutcome::gone:
        return ok_status();
      case WaitOutcome::nothing_yet:
        break;
    }
    if (count_as_vfork_parent(index)) return ok_status();
    TRY_STATUS(check_deadline(session_.tracees()[index]));
  }
}

Status Stop::stop_newcomers() {
  for (int round = 0; round < adopt_rounds_max; ++round) {
    size_t first = session_.tracees().size();
    size_t found = 0;
    TRY_STATUS(session_.adopt_new_quick(found));
    if (found == 0) return ok_status();
    for (size_t i = first; i < session_.tracees().size(); ++i)
      if (session_.tracees()[i].state == TraceeState::running) interrupt(session_.tracees()[i]);
    for (size_t i = first; i < session_.tracees().size(); ++i)
      if (session_.tracees()[i].state == TraceeState::running) TRY_STATUS(wait_for(i));
    TRY_STATUS(check_deadline(session_.tracees()[first]));
  }
  return make_error(ErrorCode::busy, fmt::format("process {}", session_.pid()),
                    "new threads keep appearing while it is being stopped; try again");
}

// Calls that end with EINTR show it if we are killed before they are rewound. So their threads do
// not wait for all others: they are interrupted a few at a time and rewound at once.
Status Stop::stop_exposed() {
  std::vector<size_t>& group = group_;
  auto& tracees = session_.tracees();
  for (size_t next = 0; next < order_.size();) {
    group.clear();
    for (; next < order_.size() && group.size() < exposed_at_once_max; ++next)
      if (waits(order_[next]) && may_be_cut_off(tracees[order_[next]].sleep.place))
        group.push_back(order_[next]);
    group_began_ns_ = monotonic_ns();
    for (size_t index : group) interrupt(tracees[index]);
    for (size_t index : group) TRY_STATUS(wait_for(index));
  }
  return ok_status();
}

Status Stop::gather() {
  auto& tracees = session_.tracees();
  TRY_STATUS(stop_exposed());
  group_began_ns_ = monotonic_ns();
  for (size_t index : order_)
    if (waits(index)) interrupt(tracees[index]);
  // Parents in vfork last: whether they count as stopped depends on their children.
  for (size_t index : order_)
    if (waits(index) && switches_[index] == 0) TRY_STATUS(wait_for(index));
  for (size_t index : order_)
    if (waits(index) && switches_[index] != 0 && !count_as_vfork_parent(index))
      TRY_STATUS(wait_for(index));
  TRY_STATUS(stop_newcomers());
  TRY_STATUS(session_.check_alive());
  if (options_.read_stacks) read_stacks();
  return ok_status();
}

void Stop::read_stacks() {
  for (size_t i = 0; i < tasks_.size(); ++i) {
    StoppedTask& task = tasks_[i];
    RemoteAddress sp(task.registers.rsp);
    auto used = areas_->used(sp, RemoteAddress(task.registers.fs_base));
    ReadRange& range = ranges_.emplace_back();
    if (used) task.stack_range = *used;
    if (!used || used->size > options_.stack_bytes_max) continue;
    Slot& slot = slots_[i];
    range.from = task.stack_start = used->start;
    range.size = slot.size = used->size;
    if (arena_used_ + used->size <= arena_.size()) {
      range.to = arena_.data() + arena_used_;
      arena_used_ += used->size;
    } else {
      slot.overflow.resize(used->size);
      range.to = slot.overflow.data();
    }
  }
  session_.memory().read_many(ranges_);
  bool some_missing = false;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const ReadRange& range = ranges_[i];
    tasks_[i].stack = ByteView(static_cast<const uint8_t*>(range.to), range.done);
    tasks_[i].stack_complete = range.size != 0 && range.done == range.size;
    some_missing |= !tasks_[i].stack_complete;
  }
  // A stack in a mapping that was made or changed after the maps were read; and the stack that a
  // thread on a signal stack or in a coroutine will come back to.
  std::optional<StackAreas> fresh;
  if (some_missing) {
    auto maps = Maps::read(session_.pid());
    if (maps.ok()) fresh.emplace(*maps);
  }
  for (size_t i = 0; i < tasks_.size(); ++i) {
    if (!tasks_[i].stack_complete && fresh) read_stack_again(i, *fresh);
    const Registers& registers = tasks_[i].registers;
    auto home = areas_->home(RemoteAddress(registers.rsp), RemoteAddress(registers.fs_base),
                             tasks_[i].tid == session_.pid());
    if (!home || tasks_[i].in_vfork || tasks_[i].tgid != session_.pid()) continue;
    if (home->size > options_.stack_bytes_max) {
      home->start = home->end() - static_cast<int64_t>(options_.stack_bytes_max);
      home->size = options_.stack_bytes_max;
      tasks_[i].stack_complete = false;
    }
    slots_[i].home = session_.memory().read_prefix(home->start, home->size);
    tasks_[i].home_start = home->start;
    tasks_[i].home_stack = slots_[i].home;
  }
}

void Stop::read_stack_again(size_t i, const StackAreas& areas) {
  StoppedTask& task = tasks_[i];
  auto used = areas.used(RemoteAddress(task.registers.rsp), RemoteAddress(task.registers.fs_base));
  if (used) task.stack_range = *used;
  if (!used || used->size > options_.stack_bytes_max) return;
  slots_[i].overflow = session_.memory().read_prefix(used->start, used->size);
  task.stack_start = used->start;
  task.stack = slots_[i].overflow;
  task.stack_complete = task.stack.size() == used->size;
}

void Stop::resume_all() {
  auto& tracees = session_.tracees();
  auto let_go = [&](size_t index) { release_ ? detach(tracees[index]) : resume(tracees[index]); };
  // Newcomers, then backwards through the order: those that were running come first.
  for (size_t i = tracees.size(); i-- > 0;)
    if (tracees[i].state == TraceeState::stopped && !tracees[i].sleep.place.asleep) let_go(i);
  for (size_t i = 0; i < tracees.size(); ++i) let_go(i);
}

Result<StopReport> Stop::run(const std::function<Status(StoppedProcess&)>& work) {
  TRY_STATUS(prepare());
  std::optional<Urgent> urgent(std::in_place);
  session_.timer().start();  // setting a timer costs as much as a stop of one thread
  uint64_t start = monotonic_ns();
  deadline_us_ = start / 1000 + options_.stop_window_us_max;
  Status outcome = gather();
  uint64_t gathered = monotonic_ns();
  if (outcome.ok()) outcome = work(*this);
  uint64_t worked = monotonic_ns();
  resume_all();
  uint64_t end = monotonic_ns();
  session_.timer().stop();
  urgent.reset();
  session_.pump();
  if (options_.stopped_us != nullptr) *options_.stopped_us += (end - start) / 1000;
  if (!outcome.ok()) return outcome.take_error();
  StopReport report;
  report.stop_us = (end - start) / 1000;
  report.gather_us = (gathered - start) / 1000;
  report.work_us = (worked - gathered) / 1000;
  report.tasks = static_cast<uint32_t>(tasks_.size());
  report.rewound = rewound_;
  report.exposed_us = exposed_ns_ / 1000;
  return report;
}

Result<StopReport> SessionImpl::stop(const StopOptions& options,
                                     const std::function<Status(StoppedProcess&)>& work) {
  Stop stop(*this, options);
  return stop.run(work);
}

}  // namespace livecare::remote
