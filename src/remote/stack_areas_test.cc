#include "remote/stack_areas.h"

#include <gtest/gtest.h>

namespace livecare::remote {
namespace {

// A mapping in which the stacks of a thread and of a coroutine lie side by side; the first
// thread's.
StackAreas areas() {
  auto maps = Maps::parse(
      "10000-90000 rw-p 00000000 00:00 0\n"
      "7ffd0000-7fff0000 rw-p 00000000 00:00 0 [stack]\n"
      "7fff8000-7fff9000 r--p 00000000 00:00 0 [vvar]\n");
  EXPECT_TRUE(maps.ok());
  return StackAreas(*maps);
}

constexpr RemoteAddress thread_pointer(0x4f000);

TEST(StackAreas, AThreadOnItsOwnStackUsesItUpToItsControlBlock) {
  auto used = areas().used(RemoteAddress(0x4e004), thread_pointer);
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->start, RemoteAddress(0x4e000));
  EXPECT_EQ(used->end(), RemoteAddress(0x50000));
  EXPECT_FALSE(areas().home(RemoteAddress(0x4e004), thread_pointer, false).has_value());
}

TEST(StackAreas, AboveItsControlBlockTheOwnStackIsAnotherOne) {
  auto home = areas().home(RemoteAddress(0x80000), thread_pointer, false);
  ASSERT_TRUE(home.has_value());
  EXPECT_EQ(home->start, RemoteAddress(0x10000));
  EXPECT_EQ(home->end(), RemoteAddress(0x50000));
}

TEST(StackAreas, TheFirstThreadIsAtHomeInItsStackOnly) {
  StackAreas all = areas();
  EXPECT_FALSE(all.home(RemoteAddress(0x7ffe0000), RemoteAddress(), true).has_value());
  EXPECT_FALSE(all.home(RemoteAddress(0x7ffcf000), RemoteAddress(), true).has_value());  // grown
  auto home = all.home(RemoteAddress(0x80000), RemoteAddress(), true);
  ASSERT_TRUE(home.has_value());
  EXPECT_EQ(home->start, RemoteAddress(0x7ffd0000));
}

}  // namespace
}  // namespace livecare::remote
