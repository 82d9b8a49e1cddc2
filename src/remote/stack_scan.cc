#include "remote/stack_scan.h"

#include <algorithm>
#include <cstring>

namespace livecare::remote {

RangeSet::RangeSet(std::vector<RemoteRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const RemoteRange& a, const RemoteRange& b) { return a.start < b.start; });
  for (const RemoteRange& range : ranges) {
    if (range.size == 0) continue;
    if (!ranges_.empty() && range.start <= ranges_.back().end()) {
      RemoteRange& last = ranges_.back();
      uint64_t end = std::max(last.end().address(), range.end().address());
      last.size = end - last.start.address();
    } else {
      ranges_.push_back(range);
    }
  }
  if (ranges_.empty()) return;
  low_ = ranges_.front().start.address();
  span_ = ranges_.back().end().address() - low_;
}

const RemoteRange* RangeSet::find(RemoteAddress address) const {
  if (address.address() - low_ >= span_) return nullptr;
  auto next = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                               [](RemoteAddress at, const RemoteRange& r) { return at < r.start; });
  if (next == ranges_.begin()) return nullptr;
  const RemoteRange& range = *std::prev(next);
  return range.contains(address) ? &range : nullptr;
}

size_t RangeSet::first_hit(ByteView words, size_t offset) const {
  // Nearly every word fails the first comparison: eight at a time with one branch.
  constexpr size_t block_words = 8;
  const uint8_t* bytes = words.data();
  size_t end = words.size() & ~size_t{7};
  while (offset < end) {
    if (offset + block_words * 8 <= end) {
      bool any = false;
      for (size_t i = 0; i < block_words; ++i) {
        uint64_t word;
        std::memcpy(&word, bytes + offset + 8 * i, 8);
        any |= word - low_ <= span_;
      }
      if (!any) {
        offset += block_words * 8;
        continue;
      }
    }
    size_t block_end = std::min(end, offset + block_words * 8);
    for (; offset < block_end; offset += 8) {
      uint64_t word;
      std::memcpy(&word, bytes + offset, 8);
      // A call that is the last instruction of a function returns to the address after it.
      if (word - low_ <= span_ &&
          (contains(RemoteAddress(word)) || contains(RemoteAddress(word - 1))))
        return offset;
    }
  }
  return words.size();
}

bool proved_outside(const StoppedTask& task, const RangeSet& set) {
  return task.stack_complete && !set.contains(RemoteAddress(task.registers.rip)) &&
         set.first_hit(task.stack) == task.stack.size() &&
         set.first_hit(task.home_stack) == task.home_stack.size();
}

}  // namespace livecare::remote
