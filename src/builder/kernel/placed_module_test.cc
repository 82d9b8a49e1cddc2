#include "builder/kernel/placed_module.h"

#include <gtest/gtest.h>

#include "builder/kernel/shipped_object.h"
#include "match/test_build.h"

namespace livecare::builder {
namespace {

constexpr const char* source = R"(
  int printk(const char*, ...);
  int kmalloc(int), kfree(int);
  static int count = 3;
  static int (*const table[])(int) = {kmalloc, kfree};
  static __attribute__((noinline)) int inner(int x) { count += x; return kmalloc(x); }
  int outer(int x) { printk("hello\n"); return inner(x) + table[x & 1](x); }
)";

class PlacedModule : public testing::Test {
 protected:
  PlacedModule() {
    const std::string compile =
        "gcc -O2 -fno-pie -mcmodel=kernel -fcf-protection=none "
        "-fno-asynchronous-unwind-tables -w -c ";
    build.write("m.c", source);
    build.sh(compile +
             "m.c -o plain.o && ld -r --build-id -o m.ko plain.o && "
             "strip --strip-debug m.ko");
    build.sh(compile + "-ffunction-sections -fdata-sections m.c -o m.o");
  }
  match::TestBuild build;
};

TEST_F(PlacedModule, EverySymbolIsProved) {
  auto module = ShippedObject::open("m", build.path("m.ko"));
  ASSERT_TRUE(module.ok()) << module.error().text();
  elf::Image object = build.open("m.o");
  auto map = (*module)->matcher().match_object(object, "m.c");
  ASSERT_TRUE(map.ok());
  for (const elf::Symbol& symbol : object.symbols()) {
    if (symbol.name.empty() || symbol.name == "m.c" || symbol.name.starts_with(".")) continue;
    auto found = map->placements.find(symbol.index);
    ASSERT_NE(found, map->placements.end()) << symbol.name << ": " << map->refusals[symbol.index];
    if (symbol.is_undefined())
      EXPECT_EQ((*module)->section_at(found->second.address), ".outside") << symbol.name;
    else
      EXPECT_TRUE(found->second.content_proved) << symbol.name;
  }
}

// The same bytes, but another function is called: only the relocations tell.
TEST_F(PlacedModule, AnotherCalleeIsSeen) {
  std::string other = source;
  other.replace(other.find("return kmalloc"), 14, "return kfree");
  build.write("m.c", other);
  build.sh(
      "gcc -O2 -fno-pie -mcmodel=kernel -fcf-protection=none "
      "-fno-asynchronous-unwind-tables -w -c -ffunction-sections -fdata-sections m.c -o m.o");
  auto module = ShippedObject::open("m", build.path("m.ko"));
  ASSERT_TRUE(module.ok());
  elf::Image object = build.open("m.o");
  auto map = (*module)->matcher().match_object(object, "m.c");
  ASSERT_TRUE(map.ok());
  bool refused = false;
  for (const elf::Symbol& symbol : object.symbols())
    refused |= symbol.name == "inner" && !map->placements.contains(symbol.index);
  EXPECT_TRUE(refused);
}

// Both are zero: only their names tell.
TEST_F(PlacedModule, AnotherVariableIsSeen) {
  const std::string compile =
      "gcc -O2 -fno-pie -mcmodel=kernel -fcf-protection=none -fno-asynchronous-unwind-tables -w "
      "-c ";
  const std::string text = R"(
    static int one, two;
    int counts(void) { return USED++; }
    int both(void) { return one++ + two++; })";
  build.write("m.c", "#define USED one\n" + text);
  build.sh(compile + "m.c -o plain.o && ld -r --build-id -o m.ko plain.o");
  build.write("m.c", "#define USED two\n" + text);
  build.sh(compile + "-ffunction-sections -fdata-sections m.c -o m.o");
  auto module = ShippedObject::open("m", build.path("m.ko"));
  ASSERT_TRUE(module.ok());
  elf::Image object = build.open("m.o");
  auto map = (*module)->matcher().match_object(object, "m.c");
  ASSERT_TRUE(map.ok());
  EXPECT_FALSE(map->placements.contains(match::symbol_index(object, "counts")));
  EXPECT_TRUE(map->placements.contains(match::symbol_index(object, "both")));
}

TEST_F(PlacedModule, SymbolsAreNamedByPosition) {
  auto module = ShippedObject::open("m", build.path("m.ko"));
  ASSERT_TRUE(module.ok());
  auto address = (*module)->global("outer");
  ASSERT_TRUE(address.has_value());
  auto symbol = (*module)->symbol_at(*address, "outer");
  ASSERT_TRUE(symbol.ok());
  EXPECT_EQ(symbol->name, "outer");
  EXPECT_EQ(symbol->position, 0u);
  EXPECT_EQ(symbol->offset, 0u);
  EXPECT_FALSE((*module)->global("printk").has_value());
  EXPECT_FALSE((*module)->symbol_at(*address + 1, "outer").ok());
}

}  // namespace
}  // namespace livecare::builder
