#include "base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Text, Lines) {
  EXPECT_THAT(split_lines("a\n\nb\r\n"), ElementsAre("a", "", "b\r"));
  EXPECT_THAT(split_lines("a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(split_lines("\n"), ElementsAre(""));
  EXPECT_THAT(split_lines(""), IsEmpty());
}

}  // namespace
TEST(Text, PercentEncodingLeavesOneSegment) {
  EXPECT_EQ(percent_encode("targets-1.2_~x"), "targets-1.2_~x");
  EXPECT_EQ(percent_encode("../a b?#%"), "..%2Fa%20b%3F%23%25");
  EXPECT_EQ(percent_encode("a/\xc3\xa9", "/"), "a/%C3%A9");
}

}  // namespace livecare
