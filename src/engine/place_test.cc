#include "engine/place.h"

#include <gtest/gtest.h>

namespace livecare::engine {
namespace {

TEST(Place, PrefersTheFirstGapBelow) {
  std::vector<Span> taken = {{0x400000, 0x500000}, {0x800000, 0x900000}};
  auto at = find_place_near(taken, {0x800000, 0x900000}, 0x3000);
  ASSERT_TRUE(at);
  EXPECT_EQ(*at, 0x800000u - 4 * 4096 - 0x3000);
}

TEST(Place, GoesFurtherDownWhenTheGapIsTooSmall) {
  std::vector<Span> taken = {{0x400000, 0x7fc000}, {0x800000, 0x900000}};
  auto at = find_place_near(taken, {0x800000, 0x900000}, 0x3000);
  ASSERT_TRUE(at);
  EXPECT_LT(*at, 0x400000u);
}

TEST(Place, AboveLeavesTheHeapItsRoom) {
  std::vector<Span> taken = {{0x10000, 0x500000}};
  auto at = find_place_near(taken, {0x400000, 0x500000}, 0x3000);
  ASSERT_TRUE(at);
  EXPECT_GT(*at, 0x40000000u);
  EXPECT_LT(*at + 0x3000 - 0x400000, 0x80000000u);
}

TEST(Place, RefusesWhenNothingReaches) {
  std::vector<Span> taken = {{0x10000, 0x1'0000'0000}, {0x1'0000'1000, 0x3'0000'0000}};
  EXPECT_FALSE(find_place_near(taken, {0x1'0000'1000, 0x1'0001'0000}, 0x3000));
  EXPECT_FALSE(find_place_near({}, {0x400000, 0x1'0040'0000}, 0x1000));
}

}  // namespace
}  // namespace livecare::engine
