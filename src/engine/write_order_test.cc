#include "engine/write_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace livecare::engine {
namespace {

size_t place(const WriteOrder& sorted, size_t node) {
  return static_cast<size_t>(std::find(sorted.order.begin(), sorted.order.end(), node) -
                             sorted.order.begin());
}

TEST(WriteOrder, PutsEachBehindWhatMustComeBefore) {
  // 3 before 0, 0 before 2, 2 before 1
  WriteOrder sorted = sort_by_constraints({{3}, {2}, {0}, {}});
  EXPECT_EQ(sorted.order, (std::vector<size_t>{3, 0, 2, 1}));
  EXPECT_EQ(std::set<uint32_t>(sorted.group.begin(), sorted.group.end()).size(), 4u);
}

TEST(WriteOrder, CyclesAreGroupsInTheOrderOfTheRest) {
  // 1 and 3 call each other; 4 before them, 0 after them; 2 on its own
  WriteOrder sorted = sort_by_constraints({{1}, {3}, {}, {1, 4}, {}});
  ASSERT_EQ(sorted.order.size(), 5u);
  EXPECT_EQ(sorted.group[1], sorted.group[3]);
  EXPECT_NE(sorted.group[0], sorted.group[1]);
  EXPECT_EQ(place(sorted, 3), place(sorted, 1) + 1);
  EXPECT_LT(place(sorted, 4), place(sorted, 1));
  EXPECT_GT(place(sorted, 0), place(sorted, 3));
}

TEST(WriteOrder, ManyInARowNeedNoDeepStack) {
  constexpr size_t count = 200'000;
  std::vector<std::vector<size_t>> before(count);
  for (size_t i = 0; i + 1 < count; ++i) before[i].push_back(i + 1);
  WriteOrder sorted = sort_by_constraints(before);
  EXPECT_EQ(sorted.order.front(), count - 1);
  EXPECT_EQ(sorted.order.back(), 0u);
}

}  // namespace
}  // namespace livecare::engine
