#include <elf.h>

#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class StaticLocals : public CompiledPair {};
INSTANTIATE_TEST_SUITE_P(Compilers, StaticLocals, testing::ValuesIn(all_toolchains()),
                         toolchain_name);

TEST_P(StaticLocals, SameNameInTwoFunctions) {
  expect_changed(diff_c(R"(
    #ifdef FIX
    #define N 3
    #else
    #define N 2
    #endif
    int a(void) { static int count; return count += 1; }
    int b(void) { static int count; return count += N; }
    int c(void) { static int count = 5; return count += 4; })"),
                 {"b"});
}

TEST_P(StaticLocals, ANewOneShiftsTheNumbers) {
  Diff diff = diff_c(R"(
    int a(void) { static int count; return count += 1; }
    #ifdef FIX
    int added(void) { static int count; return count += 7; }
    #endif
    int b(void) { static int count; return count += 2; })");
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"added"});
  EXPECT_EQ(diff.new_data.size(), 1u);
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(StaticLocals, AChangedFunctionKeepsItsOwn) {
  std::string source = R"(
    int g(int);
    int a(void) { static int count; return count += 1; }
    #ifdef FIX
    int b(void) { static int count; count += 2; return g(count) > 4 ? -1 : count; }
    #else
    int b(void) { static int count; return count += 2; }
    #endif
    int c(void) { static int count; return count -= 1; })";
  expect_changed(diff_c(source), {"b"});
}

TEST_P(StaticLocals, InSeveralScopesOfAnUnchangedFunction) {
  expect_changed(diff_c(R"(
    int g(int);
    #ifdef FIX
    int early(int x) { static int n = 3; return n = g(x) + 1; }
    #else
    int early(int x) { static int n = 3; return n = g(x); }
    #endif
    int f(int x) { static int n; n += x; if (x > 3) { static int n; n -= g(x); return n; } return n; })"),
                 {"early"});
}

TEST_P(StaticLocals, AmbiguousInAChangedFunctionIsRefused) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    int f(int x) { static int n; n += x; if (x > 3) { static int n; n -= g(x); return n; }
                   { static int n; n ^= g(x); } return g(n); }
    #else
    int f(int x) { static int n; n += x; if (x > 3) { static int n; n -= g(x); return n; } return n; }
    #endif
    )");
  EXPECT_EQ(names(diff.changed_functions), Strings{"f"});
  expect_refused(diff, "f", "cannot tell which");
}

TEST_P(StaticLocals, OfAnotherFunctionIsNotTaken) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    int f(int x) { return g(x); }
    int h(int x) { static int state; return state += g(x); }
    #else
    int f(int x) { static int state; return state += g(x); }
    int h(int x) { return g(x); }
    #endif
    )");
  // clang names them f.state and h.state: no question. gcc: state.0 and state.0.
  EXPECT_EQ(names(diff.changed_functions), (Strings{"f", "h"})) << reasons(diff);
  if (GetParam().is_gcc())
    expect_refused(diff, "h", "cannot tell which");
  else
    EXPECT_EQ(names(diff.new_data), Strings{"h.state"});
}

TEST_P(StaticLocals, WithAnInlinedFunction) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    static __attribute__((noinline)) int next(int x) { static int last; last += g(x); return last; }
    #else
    static inline __attribute__((always_inline)) int next(int x) { static int last; last += g(x); return last; }
    #endif
    int other(int x) { static int last; return last -= x; }
    int user(int x) { return next(x) + 1; } int user2(int x) { return next(x) * 2; })");
  EXPECT_EQ(refusals(diff), "");
  EXPECT_EQ(names(diff.changed_functions), (Strings{"user", "user2"})) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"next"});
  EXPECT_EQ(names(diff.new_data), Strings{}) << "last must be the old one";
}

TEST_P(StaticLocals, BehindTablesOfTheSameName) {
  expect_changed(diff_c(R"(
    int g(int);
    int f(int i) { static int x, y; static int* const t[] = {&x, &y}; return (*t[i])++; }
    #ifdef FIX
    #define STEP 2
    #else
    #define STEP 1
    #endif
    int h(int i) { static int x, y; static int* const t[] = {&y, &x}; return g((*t[i])--) + i; }
    int k(int i) { return g(i) + STEP; })"),
                 {"k"});
}

TEST_P(StaticLocals, CorrelationNamesTheRightOne) {
  elf::Image original = compile(R"(
    int a(void) { static int n; return n += 1; } int b(void) { static int n; return n += 2; })",
                                ".c", {});
  elf::Image patched = compile(R"(
    int z(void) { static int n; return n += 9; }
    int a(void) { static int n; return n += 1; } int b(void) { static int n; return n += 2; })",
                               ".c", {});
  auto result = diff(original, patched);
  ASSERT_TRUE(result.ok());
  size_t old_ones = 0, new_ones = 0;
  for (const elf::Symbol& symbol : patched.symbols()) {
    bool variable =
        symbol.name == "n" || symbol.name.starts_with("n.") || symbol.name.ends_with(".n");
    if (!variable || symbol.type != STT_OBJECT) continue;
    (result->correlation.original_of_patched[symbol.index] ? old_ones : new_ones)++;
  }
  EXPECT_EQ(old_ones, 2u);
  EXPECT_EQ(new_ones, 1u);
}

TEST_P(StaticLocals, CxxDiscriminators) {
  Diff diff = diff_cxx(R"(
    int g(int);
    int f(int x) {
    #ifdef FIX
      if (x > 100) { static int n; n += 5; return n; }
    #endif
      if (x > 3) { static int n; n -= g(x); return n; }
      { static int n; n ^= g(x); } return g(x); })");
  EXPECT_EQ(names(diff.changed_functions), Strings{"_Z1fi"});
  EXPECT_NE(refusals(diff), "") << "which n is which cannot be known";
}

TEST_P(StaticLocals, CxxGuards) {
  expect_changed(diff_cxx(R"(
    int g(int); struct S { S(int); ~S(); int v; };
    int f(int x) { static S s(g(1)); return s.v + x; }
    #ifdef FIX
    int h(int x) { static S s(g(2)); return s.v - x - 1; }
    #else
    int h(int x) { static S s(g(2)); return s.v - x; }
    #endif
    )"),
                 {"_Z1hi"});
}

}  // namespace
}  // namespace livecare::objdiff
