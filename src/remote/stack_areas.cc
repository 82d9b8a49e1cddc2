#include "remote/stack_areas.h"

#include <algorithm>

namespace livecare::remote {

namespace {

// glibc's struct pthread begins at the thread pointer and is 2 to 3 KiB long.
constexpr uint64_t control_block_bytes_max = 4096;
constexpr uint64_t page_bytes = 4096;
constexpr uint64_t guard_bytes_max = 16 << 20;
constexpr int64_t growth_bytes_max = int64_t{64} << 20;  // of [stack] since the maps were read

}  // namespace

StackAreas::StackAreas(const Maps& maps) {
  areas_.reserve(maps.all().size());
  for (const Mapping& mapping : maps.all()) {
    if (!mapping.writable) continue;
    areas_.push_back(mapping.range);
    if (mapping.path == "[stack]") main_stack_ = mapping.range;
  }
}

const RemoteRange* StackAreas::area(RemoteAddress address) const {
  auto next = std::upper_bound(areas_.begin(), areas_.end(), address,
                               [](RemoteAddress at, const RemoteRange& r) { return at < r.start; });
  if (next == areas_.begin()) return nullptr;
  const RemoteRange& range = *std::prev(next);
  return range.contains(address) ? &range : nullptr;
}

std::optional<RemoteRange> StackAreas::used(RemoteAddress sp, RemoteAddress thread_pointer) const {
  sp = RemoteAddress(sp.address() & ~uint64_t{7});
  uint64_t end = 0;
  if (const RemoteRange* range = area(sp)) {
    end = range->end().address();
    if (thread_pointer > sp && range->contains(thread_pointer))
      end = std::min(end, thread_pointer.address() + control_block_bytes_max);
  } else if (sp < main_stack_.start && main_stack_.start.bytes_from(sp) < growth_bytes_max) {
    end = main_stack_.end().address();  // has grown since the maps were read
  }
  if (end == 0) return std::nullopt;
  return RemoteRange{sp, end - sp.address()};
}

std::optional<RemoteRange> StackAreas::home(RemoteAddress sp, RemoteAddress thread_pointer,
                                            bool first_thread) const {
  if (first_thread) {
    bool grown = area(sp) == nullptr && sp < main_stack_.start &&
                 main_stack_.start.bytes_from(sp) < growth_bytes_max;
    if (main_stack_.size == 0 || main_stack_.contains(sp) || grown) return std::nullopt;
    return main_stack_;
  }
  const RemoteRange* range = area(thread_pointer);
  if (range == nullptr || (range->contains(sp) && sp <= thread_pointer)) return std::nullopt;
  return RemoteRange{range->start,
                     std::min(range->size, thread_pointer.address() - range->start.address() +
                                               control_block_bytes_max)};
}

// The C library wrote it down: the thread's descriptor, at the thread pointer, holds address and
// size of the block that the stack and the descriptor lie in (glibc: stackblock, stackblock_size;
// musl: map_base, map_size). The offset of the two words differs between versions; that two
// neighbouring words are a block around both the stack pointer and the thread pointer, which begins
// in the mapping or at its guard pages and ends right behind the descriptor, is not met by chance.
// (A thread ID beside a pointer into the descriptor would be, were any beginning allowed.)
std::optional<RemoteAddress> stack_bottom(const Memory& memory, const Mapping& mapping,
                                          RemoteAddress sp, RemoteAddress thread_pointer) {
  if (!mapping.range.contains(thread_pointer) || thread_pointer <= sp) return std::nullopt;
  uint64_t start = mapping.range.start.address(), end = mapping.range.end().address();
  uint64_t descriptor = thread_pointer.address();
  Bytes words =
      memory.read_prefix(thread_pointer, std::min(control_block_bytes_max, end - descriptor));
  ByteView view(words);
  for (uint64_t at = 0; at + 2 * sizeof(uint64_t) <= words.size(); at += sizeof(uint64_t)) {
    uint64_t block = *view.read<uint64_t>(at), size = *view.read<uint64_t>(at + sizeof(uint64_t));
    uint64_t block_end = block + size;
    bool begins_here =
        block >= start || (block % page_bytes == 0 && start - block <= guard_bytes_max);
    if (begins_here && block <= sp.address() && block_end > descriptor && block_end <= end &&
        block_end - descriptor <= 2 * control_block_bytes_max)
      return std::max(RemoteAddress(block), mapping.range.start);
  }
  return std::nullopt;
}

}  // namespace livecare::remote
