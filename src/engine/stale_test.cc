#include "engine/stale.h"

#include <gtest/gtest.h>

namespace livecare::engine {
namespace {

TEST(Stale, KnowsCallsByTheirLastBytes) {
  Bytes relative = {0x90, 0xe8, 1, 2, 3, 4, 0x90};
  EXPECT_TRUE(follows_call(relative, 6));
  EXPECT_FALSE(follows_call(relative, 5));
  EXPECT_TRUE(follows_call(Bytes{0xff, 0xd0}, 2));                    // call *%rax
  EXPECT_TRUE(follows_call(Bytes{0xff, 0x15, 1, 2, 3, 4}, 6));        // call *x(%rip)
  EXPECT_TRUE(follows_call(Bytes{0x41, 0xff, 0x54, 0x24, 0x08}, 5));  // call *8(%r12)
  EXPECT_FALSE(follows_call(Bytes{0xff, 0x25, 1, 2, 3, 4}, 6));       // jmp *x(%rip)
  EXPECT_FALSE(follows_call(Bytes{0x90, 0x90, 0x90}, 3));
  EXPECT_FALSE(follows_call({}, 0));
}

}  // namespace
}  // namespace livecare::engine
