#include "match/matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::match {
namespace {

using testing::HasSubstr;

constexpr char library_source[] = R"(
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int calls;
static __thread int depth = 3;
extern int helper_in_other_file(int) __attribute__((visibility("hidden")));
int exported_table[4] = {1, 2, 3, 4};
static const char *const names[] = {"zero", "one", "two", "three"};
struct op { const char *name; int (*run)(int); };

static __attribute__((noinline)) int twice(int x) { static int count; count++; return x * 2 + count; }
static __attribute__((noinline)) int thrice(int x) { static int count; count += 2; return x * 3 + count; }
static const struct op ops[] = {{"twice", twice}, {"thrice", thrice}};
__attribute__((noinline)) int exported_helper(int x) { return helper_in_other_file(x) + errno; }

int parse(const char *text, int kind) {
  calls++;
  depth++;
  if (!text) { fprintf(stderr, "parse: no text\n"); abort(); }
  switch (kind) {
    case 0: return atoi(text);
    case 1: return twice(kind) + (int)strlen(text);
    case 2: return thrice(kind);
    case 3: puts("three"); return 3;
    case 4: return exported_helper(calls);
    case 5: return exported_table[calls & 3];
    case 6: return names[calls & 3][0];
    case 7: return ops[calls & 1].run(depth);
  }
  return -1;
}
static __attribute__((noinline)) int shift(int x) { return x << (calls & 7); }
int tail(int x) { return shift(x + 1); }
double half(double x) { return x * 0.5 + 0.25; }
)";
constexpr char other_source[] = R"(
__attribute__((visibility("hidden"))) int helper_in_other_file(int x) { return x ^ 0x5a5a; }
int unrelated(int x) { return x - 77; }
)";

struct Library {
  TestBuild build;
  std::string compiler;

  explicit Library(const std::string& options = "gcc -O2") : compiler(options + " -fPIC") {
    build.write("lib.c", library_source);
    build.write("other.c", other_source);
    build.sh(compiler + " -c lib.c -o plain.o && " + compiler + " -c other.c -o other.o");
    build.sh(compiler + " -ffunction-sections -fdata-sections -c lib.c -o lib.o");
    build.sh(compiler + " -shared -o rebuilt.so plain.o other.o -Wl,--build-id");
    build.sh("strip -o shipped.so rebuilt.so");
  }
};

// Addresses by name in a linked, unstripped file.
uint64_t address_of(const elf::Image& file, std::string_view name) {
  for (const auto& symbol : file.symbols())
    if (symbol.name == name && !symbol.is_undefined()) return symbol.value;
  ADD_FAILURE() << name << " is not in " << file.name();
  return 0;
}

void expect_placed(const Matcher::ObjectMap& map, const elf::Image& object, const elf::Image& truth,
                   const std::vector<std::string>& names) {
  for (const auto& name : names) {
    const uint32_t symbol = symbol_index(object, name);
    auto found = map.placements.find(symbol);
    if (found == map.placements.end()) {
      auto why = map.refusals.find(symbol);
      ADD_FAILURE() << name << ": " << (why == map.refusals.end() ? "no reason" : why->second);
      continue;
    }
    EXPECT_EQ(found->second.address, address_of(truth, name)) << name;
  }
}

class MatchCompilers : public testing::TestWithParam<const char*> {};

TEST_P(MatchCompilers, FirstProofPlacesEverything) {
  Library library(GetParam());
  auto shipped = library.build.open("shipped.so");
  auto rebuilt = library.build.open("rebuilt.so");
  auto object = library.build.open("lib.o");
  auto matcher = Matcher::create(shipped, &rebuilt);
  ASSERT_TRUE(matcher.ok()) << matcher.error().text();
  EXPECT_TRUE(matcher->rebuilt_is_identical()) << matcher->why();
  EXPECT_THAT(matcher->why(), HasSubstr("same build-ID"));
  auto map = matcher->match_object(object, "lib.c");
  ASSERT_TRUE(map.ok());
  for (const auto& symbol : object.symbols()) {
    if (symbol.type != 1 && symbol.type != 2 && symbol.type != 6) continue;
    if (symbol.is_undefined() || symbol.name.starts_with(".L")) continue;
    auto found = map->placements.find(symbol.index);
    ASSERT_NE(found, map->placements.end()) << symbol.name << ": " << map->refusals[symbol.index];
    EXPECT_EQ(found->second.address, address_of(rebuilt, symbol.name)) << symbol.name;
    EXPECT_EQ(found->second.proof, Proof::rebuilt_identical);
  }
  EXPECT_EQ(map->imports[symbol_index(object, "puts")].name, "puts");
  EXPECT_THAT(map->imports[symbol_index(object, "abort")].version, HasSubstr("GLIBC_"));
}

TEST_P(MatchCompilers, SecondProofFindsThemWithoutSymbols) {
  Library library(GetParam());
  auto shipped = library.build.open("shipped.so");
  auto rebuilt = library.build.open("rebuilt.so");
  auto object = library.build.open("lib.o");
  auto matcher = Matcher::create(shipped, nullptr);
  ASSERT_TRUE(matcher.ok());
  EXPECT_FALSE(matcher->rebuilt_is_identical());
  auto map = matcher->match_object(object, "lib.c");
  ASSERT_TRUE(map.ok());
  for (const auto& symbol : object.symbols()) {
    auto found = map->placements.find(symbol.index);
    if (symbol.type != 2 || symbol.is_undefined()) continue;
    ASSERT_NE(found, map->placements.end()) << symbol.name << ": " << map->refusals[symbol.index];
    EXPECT_EQ(found->second.address, address_of(rebuilt, symbol.name)) << symbol.name;
    EXPECT_EQ(found->second.proof, Proof::unique_match);
  }
  expect_placed(*map, object, rebuilt, {"calls", "depth", "ops", "helper_in_other_file"});
}

INSTANTIATE_TEST_SUITE_P(Compilers, MatchCompilers,
                         testing::Values("gcc -O2", "gcc -Os", "gcc -O3 -fno-plt", "clang-14 -O2",
                                         "clang-14 -Os",
                                         "gcc -O2 -fcf-protection -fvisibility=hidden"));

TEST(Matcher, RebuildThatDiffersIsNoProofButBytesAre) {
  Library library;
  // Another function in front and the objects in another order: all addresses differ.
  library.build.sh("(echo 'int surplus(int x) { return x * 12345; }'; cat other.c) > o2.c && " +
                   library.compiler + " -c o2.c && " + library.compiler +
                   " -shared -o differs.so o2.o plain.o");
  auto shipped = library.build.open("shipped.so");
  auto differs = library.build.open("differs.so");
  auto truth = library.build.open("rebuilt.so");
  auto object = library.build.open("lib.o");
  auto matcher = Matcher::create(shipped, &differs);
  ASSERT_TRUE(matcher.ok());
  EXPECT_FALSE(matcher->rebuilt_is_identical());
  EXPECT_THAT(matcher->why(), HasSubstr(".text"));
  auto map = matcher->match_object(object, "lib.c");
  ASSERT_TRUE(map.ok());
  expect_placed(*map, object, truth,
                {"parse", "twice", "thrice", "exported_helper", "shift", "tail", "half", "calls"});
}

TEST(Matcher, AnotherVersionIsRefused) {
  Library library;
  library.build.sh("sed 's/return atoi(text);/return atoi(text) + 1;/' lib.c > new.c && " +
                   library.compiler + " -ffunction-sections -fdata-sections -c new.c -o new.o");
  auto shipped = library.build.open("shipped.so");
  auto rebuilt = library.build.open("rebuilt.so");
  auto object = library.build.open("new.o");
  for (const elf::Image* proof : {&rebuilt, static_cast<elf::Image*>(nullptr)}) {
    auto matcher = Matcher::create(shipped, proof);
    ASSERT_TRUE(matcher.ok());
    auto map = matcher->match_object(object, "lib.c");
    ASSERT_TRUE(map.ok());
    const uint32_t parse = symbol_index(object, "parse");
    EXPECT_FALSE(map->placements.contains(parse));
    EXPECT_THAT(map->refusals[parse], HasSubstr("no function of the shipped file has these bytes"));
  }
}

TEST(Matcher, AmbiguousTwinsAreRefusedUnlessAReferenceTellsThemApart) {
  TestBuild build;
  build.write("twins.c", R"(
    extern int sink(int, int, int);
    static __attribute__((noinline, noipa)) int left(int a, int b) { return sink(a * 17, b ^ 1234567, a + b * 99); }
    static __attribute__((noinline, noipa)) int right(int a, int b) { return sink(a * 17, b ^ 1234567, a + b * 99); }
    static __attribute__((noinline, noipa, used)) int lost(int a, int b) { return sink(a * 18, b ^ 1234567, a + b * 99); }
    static __attribute__((noinline, noipa, used)) int gone(int a, int b) { return sink(a * 18, b ^ 1234567, a + b * 99); }
    int use(int x) { return left(x, 1) * 7 + right(x, 2) * 31 + 1000003; }
  )");
  build.sh(
      "gcc -O2 -fPIC -fno-ipa-icf -c twins.c -o plain.o && "
      "gcc -O2 -fPIC -fno-ipa-icf -ffunction-sections -fdata-sections -c twins.c && "
      "gcc -shared -o full.so plain.o && strip -o shipped.so full.so");
  auto shipped = build.open("shipped.so");
  auto truth = build.open("full.so");
  auto object = build.open("twins.o");
  auto matcher = Matcher::create(shipped, nullptr);
  ASSERT_TRUE(matcher.ok());
  auto map = matcher->match_object(object, "twins.c");
  ASSERT_TRUE(map.ok());
  expect_placed(*map, object, truth, {"use", "left", "right"});
  for (const char* name : {"lost", "gone"}) {
    EXPECT_FALSE(map->placements.contains(symbol_index(object, name)));
    EXPECT_THAT(map->refusals[symbol_index(object, name)], HasSubstr("2 places"));
  }
}

TEST(Matcher, ShortJumpsBetweenFunctionsOfOneSection) {
  TestBuild build;
  build.write("jumps.c", R"(
    extern int a(int), b(int);
    static __attribute__((noinline, noipa)) int near_by(int x) { return a(x * 1103515245) + b(x + 12345); }
    int first(int x) { if (x > 100) return near_by(x - 100); b(x); if (x < 50) return near_by(x + 77); return a(x) * 3; }
    int second(int x) { int s = 0; while (x-- > 0) { s += a(x); if (s > 77777) return near_by(s); } return s; }
  )");
  build.sh(
      "gcc -O2 -fPIC -c jumps.c -o plain.o && "
      "gcc -O2 -fPIC -ffunction-sections -fdata-sections -c jumps.c && "
      "gcc -shared -o full.so plain.o && strip -o shipped.so full.so");
  auto shipped = build.open("shipped.so");
  auto truth = build.open("full.so");
  auto object = build.open("jumps.o");
  auto matcher = Matcher::create(shipped, nullptr);
  ASSERT_TRUE(matcher.ok());
  auto map = matcher->match_object(object, "jumps.c");
  ASSERT_TRUE(map.ok());
  expect_placed(*map, object, truth, {"first", "second", "near_by"});
  // The point of the test: the shipped function really is shorter.
  const uint32_t first = symbol_index(object, "first");
  EXPECT_LT(map->placements[first].size, object.symbols()[first].size);
}

TEST(Matcher, ExecutableWithRelaxedThreadLocalsAndGot) {
  TestBuild build;
  build.write("main.c", R"(
    #include <stdio.h>
    extern __thread int elsewhere;
    __thread int here = 5;
    extern int counter;
    int step(int x) { elsewhere += x; here++; counter += here; fprintf(stderr, "%d\n", counter); return elsewhere; }
    int main(void) { return step(2); }
  )");
  build.write("more.c", "__thread int elsewhere; int counter = 9;");
  build.sh(
      "gcc -O2 -fPIC -c main.c -o plain.o && gcc -O2 -fPIC -c more.c && "
      "gcc -O2 -fPIC -ffunction-sections -fdata-sections -c main.c && "
      "gcc -o full plain.o more.o && strip -o shipped full");
  auto shipped = build.open("shipped");
  auto truth = build.open("full");
  auto object = build.open("main.o");
  for (const elf::Image* rebuilt : {&truth, static_cast<elf::Image*>(nullptr)}) {
    auto matcher = Matcher::create(shipped, rebuilt);
    ASSERT_TRUE(matcher.ok());
    auto map = matcher->match_object(object, "main.c");
    ASSERT_TRUE(map.ok());
    expect_placed(*map, object, truth, {"step", "main", "elsewhere", "here", "counter"});
    EXPECT_EQ(map->placements[symbol_index(object, "here")].kind, Placement::Kind::tls);
  }
}

TEST(Matcher, DataWithOtherContentIsRefused) {
  TestBuild build;
  build.write("data.c", R"(
    static int limits[3] = {10, 20, 30};
    extern int sink(int *, int);
    int check(int x) { limits[0]++; return sink(limits, x * 48271 + 11); }
  )");
  build.sh(
      "gcc -O2 -fPIC -c data.c -o plain.o && gcc -shared -o full.so plain.o && "
      "strip -o shipped.so full.so && sed 's/20/21/' data.c > other.c && "
      "gcc -O2 -fPIC -ffunction-sections -fdata-sections -c other.c");
  auto shipped = build.open("shipped.so");
  auto object = build.open("other.o");
  auto matcher = Matcher::create(shipped, nullptr);
  ASSERT_TRUE(matcher.ok());
  auto map = matcher->match_object(object, "data.c");
  ASSERT_TRUE(map.ok());
  EXPECT_TRUE(map->placements.contains(symbol_index(object, "check")));
  EXPECT_THAT(map->refusals[symbol_index(object, "limits")], HasSubstr("data differs"));
}

}  // namespace
}  // namespace livecare::match
