#include "remote/maps.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "remote/memory.h"

namespace livecare::remote {
namespace {

TEST(Maps, ParsesNamesAsTheKernelWritesThem) {
  auto maps = Maps::parse(
      "00400000-00401000 r-xp 00001000 fe:02 1234       /tmp/a b\\012c (deleted)\n"
      "7f0000000000-7f0000001000 rw-p 00000000 00:00 0  [anon:stack of x]\n"
      "7f0000002000-7f0000003000 ---s 00000000 00:00 0\n");
  ASSERT_TRUE(maps.ok()) << maps.error().text();
  const auto& all = maps->all();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].path, "/tmp/a b\nc");
  EXPECT_TRUE(all[0].deleted && all[0].executable && all[0].is_file());
  EXPECT_EQ(all[0].offset, 0x1000u);
  EXPECT_EQ(all[1].path, "[anon:stack of x]");
  EXPECT_TRUE(all[1].writable && all[1].is_anonymous() && !all[1].shared);
  EXPECT_TRUE(all[2].shared && !all[2].readable);
  EXPECT_EQ(maps->find(RemoteAddress(0x400fff)), &all[0]);
  EXPECT_EQ(maps->find(RemoteAddress(0x401000)), nullptr);
  EXPECT_FALSE(Maps::parse("rubbish\n").ok());
}

TEST(Maps, FindsTheNearestGapThatIsLargeEnough) {
  auto maps = Maps::parse(
      "100000000-100010000 r-xp 00000000 00:00 0\n"
      "100011000-100020000 r-xp 00000000 00:00 0\n"
      "100022000-100030000 r-xp 00000000 00:00 0\n");
  ASSERT_TRUE(maps.ok());
  RemoteRange near{RemoteAddress(0x100000000), 0x10000};
  EXPECT_EQ(maps->find_gap(near, 0x1000)->address(), 0xfffff000u);
  EXPECT_EQ(maps->find_gap(near, 0x2000)->address(), 0xffffe000u);
  EXPECT_EQ(maps->find_gap(near, 0x2000, 0x12000)->address(), 0xffffe000u);
  EXPECT_FALSE(maps->find_gap(near, 0x2000, 0x11fff));
}

TEST(Maps, ReadsOurOwn) {
  auto maps = Maps::read(::getpid());
  ASSERT_TRUE(maps.ok());
  int local = 0;
  const Mapping* stack = maps->find(RemoteAddress(reinterpret_cast<uint64_t>(&local)));
  ASSERT_NE(stack, nullptr);
  EXPECT_EQ(stack->path, "[stack]");
}

TEST(Memory, ReadsManyRangesAndSaysWhichAreNotThere) {
  auto memory = Memory::open(::getpid());
  ASSERT_TRUE(memory.ok());
  auto* pages = static_cast<uint8_t*>(
      ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ::mprotect(pages + 4096, 4096, PROT_NONE);
  pages[0] = 1;
  pages[4095] = 2;
  auto there = [&](size_t offset) {
    return RemoteAddress(reinterpret_cast<uint64_t>(pages + offset));
  };
  uint8_t a[16] = {}, b[16] = {}, c[16] = {};
  ReadRange ranges[] = {{there(0), a, 16}, {there(4088), b, 16}, {there(4080), c, 16}};
  ASSERT_TRUE(memory->read_many(ranges));
  EXPECT_EQ(ranges[0].done, 16u);
  EXPECT_EQ(ranges[1].done, 8u);
  EXPECT_EQ(ranges[2].done, 16u);
  EXPECT_EQ(a[0], 1);
  EXPECT_EQ(b[7], 2);
  EXPECT_EQ(c[15], 2);
  EXPECT_EQ(memory->read_prefix(there(4000), 500).size(), 96u);
  ::munmap(pages, 8192);
}

TEST(Memory, WritesReadOnlyPrivatePages) {
  auto memory = Memory::open(::getpid());
  ASSERT_TRUE(memory.ok());
  auto* page = static_cast<uint8_t*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  RemoteAddress at(reinterpret_cast<uint64_t>(page));
  ASSERT_TRUE(memory->probe_write(at).ok());
  Bytes bytes{1, 2, 3};
  auto written = memory->write(at + 5, bytes);
  ASSERT_TRUE(written.ok()) << written.error().text();
  EXPECT_EQ(page[7], 3);
  EXPECT_FALSE(memory->write(RemoteAddress(8), bytes).ok());
  ::munmap(page, 4096);
}

}  // namespace
}  // namespace livecare::remote
