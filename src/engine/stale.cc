// A function that goes to sleep often has, between its own variables, words that earlier calls left
// there: return addresses among them, some into an image that was undone. They may stay for as long
// as the thread sleeps in that loop, which is always. Such a word is stale when
//
//   - it lies in the used part of the stack that a thread runs on now,
//   - that thread's stack was walked to its root and no frame is in the image, so the word is
//   nobody's
//     return address, and
//   - it has the shape of a return address: behind a call instruction, and not where a function
//     begins, so it is no function pointer either.
//
// What else could have that shape? A context that swapcontext or a coroutine library saved while
// code of the image was on another stack. That stack holds the same return address where the call
// pushed it; it is not the one that the thread runs on now, so that word is not stale, and the
// image is kept.
#include "engine/stale.h"

#include <algorithm>

namespace livecare::engine {
namespace {

constexpr uint64_t red_zone_bytes = 128;
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

const remote::StoppedTask* StaleWords::task_of(const remote::PointerHit& hit) const {
  for (const remote::StoppedTask& task : process_.tasks()) {
    uint64_t from = task.stack_start.address() - red_zone_bytes;
    if (hit.at.address() - from < task.stack.size() + red_zone_bytes) return &task;
  }
  return nullptr;
}

const remote::StackWalk& StaleWords::walk_of(const remote::StoppedTask& task) {
  auto known = walks_.find(task.tid);
  if (known == walks_.end()) known = walks_.emplace(task.tid, unwinder_.walk(task)).first;
  return known->second;
}

bool StaleWords::is_stale(const remote::PointerHit& hit, const Control& image) {
  if (hit.mangled || hit.at.is_null() || !image.text.holds(hit.target.address())) return false;
  const remote::StoppedTask* task = task_of(hit);
  if (task == nullptr || begins_function(image, hit.target.address())) return false;
  const remote::StackWalk& walk = walk_of(*task);
  if (!walk.complete) return false;
  for (const remote::Frame& frame : walk.frames)
    if (image.region.holds(frame.pc.address())) return false;
  uint64_t offset = hit.target.address() - image.text.address;
  uint64_t looked_at = std::min(offset, call_indirect_bytes_max);
  auto code = process_.memory().read(hit.target - static_cast<int64_t>(looked_at), looked_at);
  return code.ok() && follows_call(*code, looked_at);
}

}  // namespace livecare::engine
