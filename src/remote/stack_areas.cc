#include "remote/stack_areas.h"

#include <algorithm>

namespace livecare::remote {

namespace {

// glibc's struct pthread begins at the thread pointer and is 2 to 3 KiB long.
constexpr uint64_t control_block_bytes_max = 4096;
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

}  // namespace livecare::remote
