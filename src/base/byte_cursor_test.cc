#include "base/byte_cursor.h"

#include <gtest/gtest.h>

namespace livecare {
namespace {

const Bytes sample = {1, 0, 2, 0, 0, 0, 'a', 'b', 0, 9, 9};

TEST(ByteCursor, ReadsFromFrontToBack) {
  ByteCursor cursor(sample);
  EXPECT_EQ(cursor.number<uint16_t>(), 1u);
  EXPECT_EQ(cursor.number<uint32_t>(), 2u);
  EXPECT_EQ(cursor.c_string(), "ab");
  EXPECT_FALSE(cursor.at_end());
  EXPECT_EQ(cursor.bytes(2), ByteView(Bytes{9, 9}));
  EXPECT_TRUE(cursor.ok());
  EXPECT_TRUE(cursor.at_end());
  EXPECT_TRUE(cursor.bytes(0).empty());
  EXPECT_TRUE(cursor.ok());
}

TEST(ByteCursor, StaysFailedWhereItFailed) {
  ByteCursor cursor(sample);
  cursor.bytes(6);
  EXPECT_EQ(cursor.number<uint64_t>(), 0u);
  EXPECT_FALSE(cursor.ok());
  EXPECT_EQ(cursor.position(), 6u);
  EXPECT_EQ(cursor.number<uint8_t>(), 0u);
  EXPECT_TRUE(cursor.bytes(1).empty());
  EXPECT_EQ(cursor.c_string(), "");
  EXPECT_EQ(cursor.position(), 6u);
}

TEST(ByteCursor, HostileSizesAndMissingEnds) {
  ByteCursor huge(sample);
  huge.bytes(1);
  EXPECT_TRUE(huge.bytes(UINT64_MAX).empty());
  EXPECT_FALSE(huge.ok());
  ByteCursor open(sample);
  open.bytes(9);
  EXPECT_EQ(open.c_string(), "");
  EXPECT_FALSE(open.ok());
  ByteCursor judged(sample);
  judged.fail();
  EXPECT_EQ(judged.number<uint8_t>(), 0u);
}

}  // namespace
}  // namespace livecare
