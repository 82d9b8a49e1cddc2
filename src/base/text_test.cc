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
}  // namespace livecare
