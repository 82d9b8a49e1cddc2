#include "engine/handlers.h"

#include <sys/syscall.h>

#include "base/file_system.h"
#include "engine/layout.h"
#include "remote/maps.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::RemotePtr;

constexpr uint64_t kernel_sigset_bytes = 8;
constexpr int signals = 64;
constexpr uint64_t action_bytes = 32;  // the kernel's struct sigaction; the handler comes first
constexpr uint64_t unset = ~uint64_t{0};

// The mask of signals that have a handler, from /proc/PID/status.
Result<uint64_t> caught_signals(pid_t pid) {
  TRY(std::string text, read_proc("/proc/" + std::to_string(pid) + "/status"));
  constexpr std::string_view key = "SigCgt:";
  size_t at = text.find(key);
  if (at == std::string::npos) return ~uint64_t{0};
  return std::strtoull(text.c_str() + at + key.size(), nullptr, 16);
}

const Control* with_own_page(const remote::Maps& maps, std::span<const Control> images) {
  for (const Control& image : images) {
    const remote::Mapping* own = maps.find(RemoteAddress(own_page_of(image)));
    if (own != nullptr && own->writable) return &image;
  }
  return nullptr;
}

}  // namespace

Result<std::vector<uint64_t>> signal_handlers(remote::Session& session,
                                              std::span<const Control> images) {
  TRY(uint64_t caught, caught_signals(session.pid()));
  TRY(remote::Maps maps, remote::Maps::read(session.pid()));
  const Control* image = with_own_page(maps, images);
  if (caught == 0 || image == nullptr) return std::vector<uint64_t>();
  // Each call fills one slot; as long as the last one says `unset`, they are not done.
  RemoteAddress slots(scratch_of(*image));
  std::vector<remote::RemoteSyscall> calls;
  for (int signal = 1; signal <= signals; ++signal) {
    if ((caught >> (signal - 1) & 1) == 0) continue;
    RemoteAddress slot = slots + static_cast<int64_t>(calls.size() * action_bytes);
    calls.push_back({SYS_rt_sigaction,
                     {static_cast<uint64_t>(signal), 0, slot.address(), kernel_sigset_bytes}});
  }
  size_t bytes = calls.size() * action_bytes;
  LIVECARE_ASSERT(bytes <= scratch_bytes);
  TRY_STATUS(session.write(slots, Bytes(bytes, 0xff)));
  auto handler_at = [&](size_t index) {
    return session.memory().read_value(RemotePtr<uint64_t>(slots.address() + index * action_bytes));
  };
  TRY_STATUS(session.make_calls(calls, [&] {
    auto last = handler_at(calls.size() - 1);
    return !last.ok() || *last != unset;
  }));
  std::vector<uint64_t> handlers;
  for (size_t i = 0; i < calls.size(); ++i) {
    TRY(uint64_t handler, handler_at(i));
    handlers.push_back(handler);
  }
  return handlers;
}

}  // namespace livecare::engine
