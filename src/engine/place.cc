#include "engine/place.h"

#include <algorithm>

namespace livecare::engine {
namespace {

constexpr uint64_t reach_bytes = 0x7ff0'0000;  // 2 GiB less a margin for addends
constexpr uint64_t page = 4096;
constexpr uint64_t guard_bytes = 4 * page;  // stays free on both sides
constexpr uint64_t user_end = 0x7fff'ffff'0000;

// Gaps between the mappings that leave a guard on both sides and hold `bytes`.
std::vector<Span> gaps_for(const std::vector<Span>& taken, uint64_t bytes, uint64_t lowest) {
  std::vector<Span> gaps;
  uint64_t from = lowest;
  auto add = [&](uint64_t start, uint64_t end) {
    start += guard_bytes;
    if (end > guard_bytes && end - guard_bytes > start && end - guard_bytes - start >= bytes)
      gaps.push_back({start, end - guard_bytes});
  };
  for (const Span& span : taken) {
    if (span.start > from) add(from, span.start);
    from = std::max(from, span.end);
  }
  if (from < user_end) add(from, user_end);
  return gaps;
}

}  // namespace

std::optional<uint64_t> find_place_near(const std::vector<Span>& taken, Span target, uint64_t bytes,
                                        uint64_t lowest) {
  if (target.size() >= reach_bytes || bytes >= reach_bytes) return std::nullopt;
  std::vector<Span> gaps = gaps_for(taken, bytes, lowest);
  for (auto gap = gaps.rbegin(); gap != gaps.rend(); ++gap) {  // below, the nearest first
    if (gap->end > target.start) continue;
    uint64_t at = (gap->end - bytes) & ~(page - 1);
    if (target.end - at < reach_bytes) return at;
  }
  // Above: as far up as reaches, so that a heap which begins behind the object keeps its room.
  for (const Span& gap : gaps) {
    if (gap.start < target.end) continue;
    uint64_t highest = std::min(gap.end, target.start + reach_bytes);
    if (highest < gap.start + bytes) break;
    return (highest - bytes) & ~(page - 1);
  }
  return std::nullopt;
}

}  // namespace livecare::engine
