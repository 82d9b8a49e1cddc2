#include "engine/tls_carrier.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

namespace livecare::engine {
namespace {

void* load(const TlsCarrier& carrier) {
  int fd = memfd_create("carrier", 0);
  EXPECT_EQ(write(fd, carrier.file.data(), carrier.file.size()),
            static_cast<ssize_t>(carrier.file.size()));
  void* handle = dlopen(fmt::format("/proc/self/fd/{}", fd).c_str(), RTLD_NOW);
  EXPECT_NE(handle, nullptr) << dlerror();
  close(fd);
  return handle;
}

uint64_t word_at(void* handle, uint64_t offset) {
  link_map* map = nullptr;
  EXPECT_EQ(dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
  uint64_t value = 0;
  std::memcpy(&value, reinterpret_cast<const void*>(map->l_addr + offset), sizeof value);
  return value;
}

uint64_t at_thread_pointer(uint64_t offset) {
  uint64_t base = 0;
  asm("mov %%fs:0, %0" : "=r"(base));
  uint64_t value = 0;
  std::memcpy(&value, reinterpret_cast<const void*>(base + offset), sizeof value);
  return value;
}

TEST(TlsCarrier, TheLinkerGivesEveryThreadItsBlock) {
  Bytes initial = {1, 2, 3, 4, 5, 6, 7, 8};
  std::atomic<uint64_t> offset{0};
  std::atomic<uint64_t> seen{0};
  std::thread older([&] {  // runs before the carrier is loaded
    while (offset == 0) std::this_thread::yield();
    seen = at_thread_pointer(offset);
  });
  void* handle = load(make_tls_carrier("ab12", {initial, "", 24, 16, true}));
  ASSERT_NE(handle, nullptr);
  EXPECT_NE(word_at(handle, carrier_module_offset), 0u);
  offset = word_at(handle, carrier_tp_offset_offset);
  older.join();
  EXPECT_EQ(seen, 0x0807060504030201u);
  EXPECT_EQ(at_thread_pointer(offset), 0x0807060504030201u);
  EXPECT_EQ(offset % 16, 0u);
  dlclose(handle);
}

TEST(TlsCarrier, ADynamicBlockMayBeLarge) {
  TlsBlock block{{}, "", 1 << 20, 64, false};
  void* handle = load(make_tls_carrier("ab12", block));
  ASSERT_NE(handle, nullptr);
  EXPECT_NE(word_at(handle, carrier_module_offset), 0u);
  EXPECT_EQ(word_at(handle, carrier_tp_offset_offset), 0u);
  dlclose(handle);
}

TEST(TlsCarrier, NameTellsBlocksApart) {
  Bytes one = {1};
  Bytes two = {2};
  auto name = [](ByteView bytes, uint64_t size, std::string identity = "") {
    return make_tls_carrier("ab", {bytes, std::move(identity), size, 8, true}).soname;
  };
  EXPECT_NE(name(one, 8, "U1 level 1"), name(one, 8, "U1 level 2"));
  EXPECT_EQ(name(one, 8), name(one, 8));
  EXPECT_NE(name(one, 8), name(two, 8));
  EXPECT_NE(name(one, 8), name(one, 16));
}

}  // namespace
}  // namespace livecare::engine
