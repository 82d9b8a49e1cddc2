// Since when has this thread been asleep?
//
// A rewound call must not wait longer in all than its caller asked for, so the time already slept
// is to be subtracted. The kernel does not tell it directly. It does keep, for every task, the time
// at which it last ran (se.exec_start in /proc/TID/sched), on the scheduler's clock of the CPU
// where that was. That clock is not CLOCK_MONOTONIC and differs between CPUs (it leaves out time
// spent in interrupts), so it is compared with itself: we go to the same CPU, give way once so that
// our own exec_start becomes "now", and read ours. The difference of the two is the time slept.
//
// The scheduler may move a sleeping thread to another CPU as long as it has not left its queue, and
// then sets exec_start to zero.
//
// Without all this (or without /proc/TID/sched, CONFIG_SCHED_DEBUG) the time at which we first saw
// the thread asleep in that call must do: the wait is then prolonged by what came before.
//
// When the thread is stopped later, the record counts only if it is still the same sleep. Being
// woken for the stop and stopping is exactly one voluntary context switch; any more, and it was
// awake in between: then it has slept for less time than passed since the look, which is some
// milliseconds, and nothing is subtracted.
#include "remote/sleep_time.h"

#include <sched.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/clock.h"
#include "base/file_system.h"
#include "remote/rewind.h"

namespace livecare::remote {

namespace {

// The number after `key` and its colon; NaN without one.
double field(std::string_view text, std::string_view key) {
  size_t at = text.find(key);
  if (at == std::string_view::npos) return NAN;
  at = text.find(':', at);
  if (at == std::string_view::npos) return NAN;
  return std::strtod(text.data() + at + 1, nullptr);
}

double exec_start_ms(const std::string& path) {
  auto text = read_proc(path);
  return text.ok() ? field(*text, "se.exec_start") : NAN;
}

uint64_t voluntary_switches(pid_t pid, pid_t tid) {
  auto text = read_proc(fmt::format("/proc/{}/task/{}/status", pid, tid));
  if (!text.ok()) return 0;
  double count = field(*text, "\nvoluntary_ctxt_switches");
  return std::isnan(count) ? 0 : static_cast<uint64_t>(count);
}

// The CPU that the thread last ran on: field 39 of /proc/TID/stat.
int last_cpu(pid_t pid, pid_t tid) {
  auto stat = read_proc(fmt::format("/proc/{}/task/{}/stat", pid, tid));
  if (!stat.ok()) return -1;
  std::string_view text(*stat);
  text.remove_prefix(std::min(text.rfind(')'), text.size()));
  constexpr int fields_between = 37;  // from the ')' of field 2
  for (int i = 0; i < fields_between; ++i)
    text.remove_prefix(std::min(text.find(' '), text.size() - 1) + 1);
  int cpu = -1;
  std::from_chars(text.data(), text.data() + text.size(), cpu);
  return cpu;
}

// The calling thread on one CPU, where it may be.
class OnCpu {
 public:
  explicit OnCpu(int cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE || ::sched_getaffinity(0, sizeof(before_), &before_) != 0)
      return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(cpu), &one);
    moved_ = ::sched_setaffinity(0, sizeof(one), &one) == 0;
  }
  ~OnCpu() {
    if (moved_) ::sched_setaffinity(0, sizeof(before_), &before_);
  }
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;

 private:
  cpu_set_t before_{};
  bool moved_ = false;
};

// CLOCK_MONOTONIC at which the sleeping thread last ran; 0: not known.
uint64_t fell_asleep_ns(pid_t pid, pid_t tid) {
  double theirs = exec_start_ms(fmt::format("/proc/{}/task/{}/sched", pid, tid));
  if (std::isnan(theirs) || theirs == 0) return 0;
  OnCpu there(last_cpu(pid, tid));
  ::sched_yield();
  double ours = exec_start_ms("/proc/thread-self/sched");
  uint64_t now = monotonic_ns();  // after it: were it before, a wait could end too early
  if (std::isnan(ours) || ours < theirs) return now;
  constexpr double ns_per_ms = 1e6;
  auto slept = static_cast<uint64_t>((ours - theirs) * ns_per_ms);
  return slept < now ? now - slept : 0;
}

}  // namespace

void observe_sleep(const Memory& memory, pid_t pid, pid_t tid, Sleep& sleep) {
  auto place = read_sleep_place(pid, tid);
  if (!place.ok() || !place->asleep) {
    sleep = Sleep();
    return;
  }
  SocketWait socket = socket_wait(pid, *place);
  if (!has_time_limit(*place) && socket.limit_ns == 0) {
    sleep = Sleep();
    sleep.place = *place;
    return;
  }
  uint64_t voluntary = voluntary_switches(pid, tid);
  if (sleep.place == *place && sleep.voluntary == voluntary && voluntary != 0) return;
  uint64_t seen = monotonic_ns();
  uint64_t since = fell_asleep_ns(pid, tid);
  auto again = read_sleep_place(pid, tid);
  sleep = Sleep();
  if (!again.ok() || !(*again == *place) || voluntary_switches(pid, tid) != voluntary) return;
  sleep.place = *place;
  sleep.voluntary = voluntary;
  sleep.since_ns = since != 0 ? since : seen;
  if (socket.limit_ns == 0) return;
  sleep.socket = socket;
  sleep.socket.begun_ns = read_begin(memory, *place, voluntary).value_or(sleep.since_ns);
}

uint64_t slept_ns(pid_t pid, pid_t tid, const Sleep& before) {
  if (before.since_ns == 0 || voluntary_switches(pid, tid) != before.voluntary + 1) return 0;
  uint64_t now = monotonic_ns();
  return now > before.since_ns ? now - before.since_ns : 0;
}

}  // namespace livecare::remote
