// `.cold` parts and clones. gcc makes them at -O2; where a compiler makes none, the same
// expectation must hold all the same. A test that needs the part to exist writes it in assembly.
#include <cstring>

#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class Parts : public CompiledPair {};
INSTANTIATE_TEST_SUITE_P(Compilers, Parts, testing::ValuesIn(all_toolchains()), toolchain_name);

constexpr const char* cold_source = R"(
  void fatal(const char*, int) __attribute__((cold)); int g(int);
  int f(int x) {
    int y = g(x);
    #if defined(COLD)
    if (__builtin_expect(y < 0, 0)) { fatal("negative", y); g(COLD); }
    #endif
    return y + 1;
  }
  int h(int x) { int y = g(x); if (__builtin_expect(y > 9, 0)) { fatal("big", y); g(7); } return y * 3; })";

TEST_P(Parts, ColdPartAdded) {
  Diff diff = diff_texts(cold_source, cold_source, ".c", {}, {}, {"-DCOLD=3"});
  expect_changed(diff, {"f"});
  if (GetParam().is_gcc() && GetParam().level == "-O2") {
    EXPECT_EQ(diff.changed_functions.at(0).original_parts.size(), 0u);
    EXPECT_EQ(diff.changed_functions.at(0).patched_parts.size(), 1u);
  }
}

TEST_P(Parts, ColdPartRemoved) {
  expect_changed(diff_texts(cold_source, cold_source, ".c", {"-DCOLD=3"}, {}, {"-UCOLD"}), {"f"});
}

TEST_P(Parts, ColdPartChanged) {
  Diff diff = diff_texts(cold_source, cold_source, ".c", {"-DCOLD=3"}, {}, {"-UCOLD", "-DCOLD=4"});
  expect_changed(diff, {"f"});
  if (GetParam().is_gcc() && GetParam().level == "-O2") {
    EXPECT_THAT(diff.changed_functions.at(0).why, testing::HasSubstr("part f.cold"));
    EXPECT_EQ(diff.changed_functions.at(0).patched_parts.size(), 1u);
  }
}

TEST_P(Parts, ColdPartMoved) {
  std::string source = R"(
    void fatal(const char*, int) __attribute__((cold)); int g(int);
    #ifdef FIX
    int added(int x) { int y = g(x); if (__builtin_expect(y > 99, 0)) { fatal("huge", y); g(70); } return y * 5; }
    #endif
    int h(int x) { int y = g(x); if (__builtin_expect(y > 9, 0)) { fatal("big", y); g(7); } return y * 3; })";
  Diff diff = diff_c(source);
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"added"});
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Parts, ColdPartWithItsSectionMoved) {
  std::string before = R"(
    .section .text.unlikely,"ax",@progbits
    .type f.cold,@function
    f.cold: call out
     jmp .Lback
    .size f.cold,.-f.cold
    .text
    .globl f
    .type f,@function
    f: test %edi,%edi
     js f.cold
    .Lback: ret
    .size f,.-f
  )";
  std::string after = before;
  after.replace(after.find(".text.unlikely"), 14, ".text.frozen");
  expect_nothing(diff_texts(before, after, ".s", {}, {}, {}));
  after.replace(after.find("call out"), 8, "call alt");
  expect_changed(diff_texts(before, after, ".s", {}, {}, {}), {"f"});
}

TEST_P(Parts, ConstantPropagatedClones) {
  // Two clones of one function; the fix changes the function and adds a third caller.
  Diff diff = diff_c(R"(
    int g(int); int many(int, int, int);
    #ifdef FIX
    #define LIMIT 90
    #else
    #define LIMIT 80
    #endif
    static __attribute__((noinline)) int work(int x, int mode) {
      int sum = 0;
      for (int i = 0; i < x; i++) sum += many(i, mode, g(i)) > LIMIT ? mode * 7 + g(sum) : g(mode);
      return sum;
    }
    int a(int x) { return work(x, 3); } int b(int x) { return work(x + 1, 3); }
    int unrelated(int x) { return g(x) * 2; })");
  EXPECT_EQ(refusals(diff), "");
  EXPECT_THAT(names(diff.changed_functions), testing::Not(testing::Contains("unrelated")));
  ASSERT_EQ(diff.changed_functions.size() + diff.new_functions.size(), 1u) << reasons(diff);
  std::string name =
      diff.changed_functions.empty() ? diff.new_functions[0].name : diff.changed_functions[0].name;
  EXPECT_THAT(name, testing::StartsWith("work"));
}

TEST_P(Parts, UnchangedClonesOfAnotherNumber) {
  std::string source = R"(
    .text
    .macro fn name, what
    .type \name,@function
    \name: mov $\what,%edi
     call g
     ret
    .size \name,.-\name
    .endm
    fn f.constprop.0, 1
    fn f.constprop.1, 2
    .globl user
    .type user,@function
    user: call f.constprop.0
     call f.constprop.1
     ret
    .size user,.-user
  )";
  std::string renumbered = source;
  for (auto [from, to] : {std::pair{"constprop.0", "constprop.7"},
                          {"constprop.1", "constprop.0"},
                          {"constprop.7", "constprop.1"}})
    for (size_t at; (at = renumbered.find(from)) != std::string::npos;)
      renumbered.replace(at, strlen(from), to);
  expect_nothing(diff_texts(source, renumbered, ".s", {}, {}, {}));
  // The same names with the callers crossed are another program.
  std::string crossed = source;
  size_t first = crossed.find("call f.constprop.0"), second = crossed.find("call f.constprop.1");
  crossed[first + 17] = '1';
  crossed[second + 17] = '0';
  expect_changed(diff_texts(source, crossed, ".s", {}, {}, {}), {"user"});
}

TEST_P(Parts, SplitFunctions) {
  // gcc may make g.part.0 and f.isra.0; whatever it makes, nothing but users of check changes.
  Diff diff = diff_c(R"(
    struct s { int a, b, c; }; int ext(int, int);
    #ifdef FIX
    #define K 5
    #else
    #define K 4
    #endif
    static __attribute__((noinline)) int sum(struct s* p) { return ext(p->a, K) + ext(p->b, 2) + ext(p->a, p->b); }
    static int check(struct s* p) {
      if (p->a == 0) return 0;
      int r = 0; for (int i = 0; i < p->b; i++) r += ext(i, p->c) * ext(r, K); return r;
    }
    int one(int x, int y) { struct s v = {x, y, 3}; return sum(&v) + check(&v); }
    int two(struct s* p) { return check(p) * 2; } int three(struct s* p) { return check(p + 1) - sum(p); }
    int other(int x) { return ext(x, 1); })");
  EXPECT_EQ(refusals(diff), "");
  EXPECT_TRUE(diff.anything_changed());
  EXPECT_THAT(names(diff.changed_functions), testing::Not(testing::Contains("other")));
  for (const Function& function : diff.new_functions)
    EXPECT_THAT(function.name, testing::HasSubstr(".")) << reasons(diff);
}

TEST_P(Parts, PartWhoseParentIsMissingStandsForItself) {
  std::string before = R"(
    .text
    .globl f.cold
    .type f.cold,@function
    f.cold: mov $1,%eax
     ret
    .size f.cold,.-f.cold
  )";
  std::string after = before;
  after.replace(after.find("$1"), 2, "$2");
  expect_changed(diff_texts(before, after, ".s", {}, {}, {}), {"f.cold"});
}

TEST_P(Parts, SecondEntryInsideIsRefused) {
  std::string before = R"(
    .text
    .globl f
    .type f,@function
    f: mov $1,%eax
    .globl inner
    .type inner,@function
    inner: add %edi,%eax
     ret
    .size inner,.-inner
    .size f,.-f
  )";
  std::string after = before;
  after.replace(after.find("$1"), 2, "$2");
  expect_refused(diff_texts(before, after, ".s", {}, {}, {}), "f", "another entry");
}

TEST_P(Parts, UnchangedCodeThatJumpsInsideIsRefused) {
  std::string before = R"(
    .text
    .globl f
    .type f,@function
    f: mov $1,%eax
    .Linside: add %edi,%eax
     ret
    .size f,.-f
    .section .text.other,"ax",@progbits
    .globl other
    .type other,@function
    other: xor %eax,%eax
     jmp .Linside
    .size other,.-other
  )";
  std::string after = before;
  after.replace(after.find("$1"), 2, "$2");
  expect_refused(diff_texts(before, after, ".s", {}, {}, {}), "f", "place inside it");
}

TEST_P(Parts, CodeWithoutASymbolIsRefused) {
  std::string before = R"(
    .text
    .globl f
    .type f,@function
    f: ret
    .size f,.-f
    .section .text.startup,"ax",@progbits
    mov $1,%eax
    ret
  )";
  std::string after = before;
  expect_nothing(diff_texts(before, after, ".s", {}, {}, {}));
  after.replace(after.find("$1"), 2, "$2");
  expect_refused(diff_texts(before, after, ".s", {}, {}, {}), ".text.startup", "without a symbol");
}

}  // namespace
}  // namespace livecare::objdiff
