#include "engine/handlers.h"

#include <sys/syscall.h>

#include "base/file_system.h"
#include "engine/layout.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::RemotePtr;

constexpr uint64_t kernel_sigset_bytes = 8;
constexpr int signals = 64;

// The mask of signals that have a handler, from /proc/PID/status.
Result<uint64_t> caught_signals(pid_t pid) {
  TRY(std::string text, read_proc("/proc/" + std::to_string(pid) + "/status"));
  constexpr std::string_view key = "SigCgt:";
  size_t at = text.find(key);
  if (at == std::string::npos) return ~uint64_t{0};
  return std::strtoull(text.c_str() + at + key.size(), nullptr, 16);
}

}  // namespace

Result<int> handler_inside(remote::BorrowedThread& thread, const Control& control) {
  TRY(uint64_t caught, caught_signals(thread.memory().pid()));
  RemotePtr<uint64_t> handler(scratch_of(control));  // first field of struct sigaction
  for (int signal = 1; signal <= signals; ++signal) {
    if ((caught >> (signal - 1) & 1) == 0) continue;
    auto asked = thread.syscall(SYS_rt_sigaction, {static_cast<uint64_t>(signal), 0,
                                                   handler.address(), kernel_sigset_bytes});
    // An image whose staging was cut off may have no own page yet; nothing of it has run.
    if (!asked.ok() && control.state == State::staged) return 0;
    if (!asked.ok()) return asked.take_error();
    TRY(uint64_t address, thread.memory().read_value(handler));
    if (control.text.holds(address)) return signal;
  }
  return 0;
}

}  // namespace livecare::engine
