#include "remote/loaded.h"

#include <dlfcn.h>
#include <elf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "remote/target_test.h"

namespace livecare::remote {
namespace {

struct Snapshot {
  explicit Snapshot(pid_t pid)
      : memory(std::move(Memory::open(pid).value())),
        loaded(std::move(Loaded::read(memory, Maps::read(pid).value()).value())) {}
  Memory memory;
  Loaded loaded;
};

thread_local int own_tls = 5;

TEST(Loaded, KnowsOurOwnObjects) {
  Snapshot self(::getpid());
  const LoadedObject* libc = self.loaded.by_name("libc.so.6");
  ASSERT_NE(libc, nullptr);
  EXPECT_TRUE(libc->in_link_map);
  EXPECT_EQ(libc->build_id.size(), 40u);
  EXPECT_EQ(self.loaded.by_build_id(libc->build_id), libc);
  EXPECT_TRUE(self.loaded.main()->is_main);
  EXPECT_NE(self.loaded.by_name("linux-vdso.so.1"), nullptr);

  auto found = self.loaded.resolve(*self.loaded.main(), "getpid");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->object, libc);
  EXPECT_EQ(found->address.address(), reinterpret_cast<uint64_t>(::dlsym(RTLD_DEFAULT, "getpid")));
  EXPECT_EQ(self.loaded.find(found->address), libc);
  EXPECT_TRUE(self.loaded.resolve(*self.loaded.main(), "nftw", "GLIBC_2.3.3"));
  auto old = self.loaded.resolve(*self.loaded.main(), "nftw", "GLIBC_2.2.5");
  ASSERT_TRUE(old);
  EXPECT_TRUE(old->symbol.version_hidden);
  EXPECT_FALSE(self.loaded.resolve(*self.loaded.main(), "nftw", "GLIBC_9.9"));
  EXPECT_FALSE(self.loaded.resolve(*self.loaded.main(), "no_such_symbol"));
}

TEST(Loaded, FindsThreadLocalStorage) {
  Snapshot self(::getpid());
  auto place = self.loaded.tls(*self.loaded.main());
  ASSERT_TRUE(place.ok()) << place.error().text();
  EXPECT_EQ(place->module, 1u);
  ASSERT_TRUE(place->static_offset);
  // The block holds own_tls somewhere before the thread pointer.
  uint64_t pointer = 0;
  asm("mov %%fs:0, %0" : "=r"(pointer));
  auto at = static_cast<int64_t>(reinterpret_cast<uint64_t>(&own_tls) - pointer);
  EXPECT_LT(at, 0);
  EXPECT_GE(at, *place->static_offset);
  EXPECT_EQ(own_tls, 5);
}

TEST(Loaded, ReadsRelocationsFromMemory) {
  Snapshot self(::getpid());
  auto tables = self.loaded.tables(*self.loaded.by_name("libc.so.6"));
  ASSERT_TRUE(tables.ok());
  EXPECT_GT(tables->symbols.size(), 2000u);
  bool jump_slot = false;
  for (const LoadedRelocation& relocation : tables->relocations)
    jump_slot |= relocation.type == R_X86_64_JUMP_SLOT || relocation.type == R_X86_64_IRELATIVE;
  EXPECT_TRUE(jump_slot);
}

TEST(Loaded, ReadsAStaticProgramWhoseFileIsGone) {
  Target target = Target::start(
      "#include <stdio.h>\n#include <unistd.h>\n"
      "int main(void) { printf(\"ready\\n\"); fflush(stdout); for (;;) pause(); }",
      {"-static", "-Wl,--build-id"});
  Snapshot there(target.pid());
  EXPECT_FALSE(there.loaded.has_dynamic_linker());
  ASSERT_NE(there.loaded.main(), nullptr);
  EXPECT_TRUE(there.loaded.main()->deleted);  // the test removes its directory
  EXPECT_EQ(there.loaded.main()->build_id.size(), 40u);
  auto image = there.loaded.image(*there.loaded.main());
  ASSERT_TRUE(image.ok()) << image.error().text();
  EXPECT_EQ(image->build_id(), there.loaded.main()->build_id);
}

}  // namespace
}  // namespace livecare::remote
