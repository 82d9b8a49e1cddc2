// Stacks are full of words that calls left there which are over: return addresses among them, some
// into an image that was undone. Below the stack pointer they stay until a deeper call writes over
// them; between the variables of a function that goes to sleep often, for as long as the thread
// sleeps in that loop, which is always. Such a word is stale when it lies in a stack that its
// thread is proved to run on (own_stack.cc), and
//
//   - below the stack pointer and its red zone: nothing there is used; or
//   - in the frames, no frame is in the image, and the word has the shape of a return address:
//     behind a call instruction, and not where a function begins, so it is no function pointer.
//     The return pad is such an address too.
//
// What else could have that shape? A context that swapcontext or a coroutine library saved while
// code of the image was on another stack. That stack holds the same return address where the call
// pushed it, which is not in this one, so that word is not stale and the image is kept. Unless that
// stack is an array in one of these frames: so words in frames with room for a stack count.
#include "engine/stale.h"

#include <algorithm>

#include "base/clock.h"
#include "engine/layout.h"

namespace livecare::engine {
namespace {

constexpr uint64_t red_zone_bytes = 128;
constexpr int64_t frame_bytes_max = 2048;   // MINSIGSTKSZ: no stack is smaller
constexpr uint64_t proofs_us_max = 50'000;  // in a stop; afterwards nothing more is stale
constexpr uint64_t call_relative_bytes = 5;
constexpr uint8_t call_relative = 0xe8;
constexpr uint8_t group5 = 0xff;  // with reg = 2: call r/m64
constexpr uint64_t call_indirect_bytes_min = 2, call_indirect_bytes_max = 7;

bool begins_function(const Control& image, uint64_t address) {
  bool replaced = std::any_of(image.functions.begin(), image.functions.end(),
                              [&](const auto& f) { return f.new_address == address; });
  return replaced || std::any_of(image.code.begin(), image.code.end(),
                                 [&](const auto& f) { return image.image + f.offset == address; });
}

}  // namespace

bool follows_call(ByteView code, uint64_t offset) {
  if (offset >= call_relative_bytes && code.read<uint8_t>(offset - 5) == call_relative) return true;
  for (uint64_t length = call_indirect_bytes_min; length <= call_indirect_bytes_max; ++length) {
    if (offset < length || code.read<uint8_t>(offset - length) != group5) continue;
    uint8_t modrm = code.read<uint8_t>(offset - length + 1).value_or(0);
    if (((modrm >> 3) & 7) == 2) return true;
  }
  return false;
}

StaleWords::StaleWords(remote::Unwinder& unwinder, const remote::StoppedProcess& process,
                       const remote::Maps& maps)
    : unwinder_(unwinder),
      process_(process),
      maps_(maps),
      deadline_us_(monotonic_us() + proofs_us_max) {
  for (const remote::StoppedTask& task : process.tasks())
    if (const auto* mapping = maps.find(remote::RemoteAddress(task.registers.rsp)))
      tasks_.emplace(mapping->range.start.address(), Known{&task, false, std::nullopt});
}

const OwnStack* StaleWords::stack_with(uint64_t address) {
  const auto* mapping = maps_.find(remote::RemoteAddress(address));
  if (mapping == nullptr) return nullptr;
  auto [begin, end] = tasks_.equal_range(mapping->range.start.address());
  for (auto found = begin; found != end; ++found) {
    Known& known = found->second;
    if (!known.asked && monotonic_us() < deadline_us_)
      known.stack = prove_own_stack(unwinder_, process_, maps_, *known.task);
    known.asked = true;
    if (known.stack && address - known.stack->bottom < known.stack->top() - known.stack->bottom)
      return &*known.stack;
  }
  return nullptr;
}

bool StaleWords::is_stale(const remote::PointerHit& hit, const Control& image) {
  if (hit.at.is_null() || !image.region.holds(hit.target.address())) return false;
  uint64_t at = hit.at.address();
  const OwnStack* stack = stack_with(at);
  if (stack == nullptr) return false;
  const auto& frames = stack->frames;
  if (at + sizeof(uint64_t) + red_zone_bytes <= frames.front().sp.address()) return true;
  bool inside = std::any_of(frames.begin(), frames.end(), [&](const remote::Frame& frame) {
    return image.region.holds(frame.pc.address());
  });
  if (hit.mangled || inside) return false;
  auto caller = std::find_if(frames.begin() + 1, frames.end(),
                             [&](const remote::Frame& frame) { return at < frame.sp.address(); });
  if (caller == frames.end() || caller->sp.bytes_from(std::prev(caller)->sp) > frame_bytes_max)
    return false;
  if (hit.target.address() == stubs_of(image)) return true;
  if (!image.text.holds(hit.target.address()) || begins_function(image, hit.target.address()))
    return false;
  uint64_t offset = hit.target.address() - image.text.address;
  uint64_t looked_at = std::min(offset, call_indirect_bytes_max);
  auto code = process_.memory().read(hit.target - static_cast<int64_t>(looked_at), looked_at);
  return code.ok() && follows_call(*code, looked_at);
}

}  // namespace livecare::engine
