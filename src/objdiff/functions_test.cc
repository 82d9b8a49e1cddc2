#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class Functions : public CompiledPair {};
INSTANTIATE_TEST_SUITE_P(Compilers, Functions, testing::ValuesIn(all_toolchains()), toolchain_name);

TEST_P(Functions, NothingChanged) {
  Diff diff = diff_c(R"(
    #include <string.h>
    int g; static int s = 4; const char* name(void) { return "name"; }
    int f(const char* p) { g += s++; return strlen(p) + g; })");
  expect_nothing(diff);
  EXPECT_FALSE(diff.anything_changed());
}

TEST_P(Functions, ChangedConstantInCode) {
  expect_changed(diff_c(R"(
    int g(int); int h(int x) { return g(x) * 7; }
    #ifdef FIX
    #define N 11
    #else
    #define N 10
    #endif
    int f(int x) { return g(x + N); })"),
                 {"f"});
}

TEST_P(Functions, ConstantArgumentOfAnOrdinaryCallIsAChange) {
  expect_changed(diff_c(R"(
    void g(int, int);
    #ifdef FIX
    void f(int x) { g(x, 21); }
    #else
    void f(int x) { g(x, 20); }
    #endif
    )"),
                 {"f"});
}

TEST_P(Functions, OtherCalleeWithTheSameBytes) {
  expect_changed(diff_c(R"(
    void g(void); void h(void);
    #ifdef FIX
    #define g h
    #endif
    void f(void) { g(); g(); })"),
                 {"f"});
}

TEST_P(Functions, OtherVariableWithTheSameBytes) {
  expect_changed(diff_c(R"(
    static int a, b; int ra(void) { return a++; } int rb(void) { return b++; }
    #ifdef FIX
    #define a b
    #endif
    int f(void) { return a; })"),
                 {"f"});
}

TEST_P(Functions, OtherStringWithTheSameBytes) {
  expect_changed(diff_c(R"(
    void out(const char*); void g(void) { out("first"); out("second"); }
    #ifdef FIX
    void f(void) { out("thixd"); }
    #else
    void f(void) { out("third"); }
    #endif
    void h(void) { out("fourth"); })"),
                 {"f"});
}

TEST_P(Functions, RenumberedLabelsAndStrings) {
  Diff diff = diff_c(R"(
    void out(const char*); double half(double x) { return x * 0.5; }
    #ifdef FIX
    void added(double x) { out("zero"); out("another"); if (x > 3.25) out("more"); }
    #endif
    void f(double x) { out("first"); if (x > 7.75) out("second"); }
    void g(int x) { out("third"); out(x ? "fourth" : "first"); })");
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"added"});
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Functions, AnonymousConstantsByContent) {
  expect_changed(diff_c(R"(
    #ifdef FIX
    #define K 1.25
    #else
    #define K 1.75
    #endif
    double f(double x) { return x * K; } double g(double x) { return x * 2.5; })"),
                 {"f"});
}

TEST_P(Functions, JumpTables) {
  const char* source = R"(
    void a(int); void b(void);
    #ifdef FIX
    void added(int x) { switch (x) { case 0: a(9); break; case 1: b(); a(8); break;
      case 2: a(7); b(); break; case 3: a(16); break; case 4: b(); b(); break; case 5: a(4); } }
    #endif
    int f(int x) { switch (x) { case 0: a(1); break; case 1: b(); a(2); break;
      case 2: a(3); b(); break; case 3: a(6); break; case 4: b(); b(); break;
    #ifdef SWAP
      case 6: a(5); break; case 5: a(44); }
    #else
      case 5: a(5); break; case 6: a(44); }
    #endif
      return x; }
    int g(int x) { switch (x) { case 0: a(11); break; case 1: b(); a(12); break;
      case 2: a(13); b(); break; case 3: a(16); break; case 4: b(); b(); break; case 5: a(15); }
      return x; })";
  Diff diff = diff_c(source);
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"added"});
  EXPECT_EQ(refusals(diff), "");
  expect_changed(diff_texts(source, source, ".c", {}, {}, {"-DSWAP"}), {"f"});
}

TEST_P(Functions, SwitchLookupTables) {
  const char* source = R"(
    const char* name(int x) { switch (x) { case 0: return "zero"; case 1: return "one";
      case 2: return "two"; case 3: return "three"; case 4: return "four";
    #ifdef FIX
      case 5: return "fife"; } return "many"; }
    #else
      case 5: return "five"; } return "many"; }
    #endif
    int number(int x) { switch (x) { case 0: return 7; case 1: return 90; case 2: return 1999;
      case 3: return -4; case 4: return 12345; case 5: return 8; case 6: return 77; }
      return 0; })";
  expect_changed(diff_c(source), {"name"});
}

TEST_P(Functions, InlinedFunctionSpreadsIntoCallers) {
  expect_changed(diff_c(R"(
    int g(int);
    #ifdef FIX
    static inline __attribute__((always_inline)) int check(int x) { return x < 100; }
    #else
    static inline __attribute__((always_inline)) int check(int x) { return x <= 100; }
    #endif
    int a(int x) { return check(x) ? g(x) : 0; } int b(int x) { return check(x) ? g(x + 1) : 2; }
    int c(int x) { return g(x) + 3; })"),
                 {"a", "b"});
}

TEST_P(Functions, FunctionPointers) {
  const char* source = R"(
    int g(int); static int one(int x) { return g(x) + 1; } static int two(int x) { return g(x) + 2; }
    typedef int (*fn)(int); fn table[] = {one, two};
    #ifdef FIX
    #define two one
    #endif
    fn pick(int x) { return x ? one : two; }
    fn other(void) { return one; })";
  expect_changed(diff_c(source), {"pick"});
}

TEST_P(Functions, TableOfPointersToAChangedFunctionIsNoChange) {
  expect_changed(diff_c(R"(
    int g(int);
    #ifdef FIX
    static int one(int x) { return g(x) + 10; }
    #else
    static int one(int x) { return g(x) + 1; }
    #endif
    static int two(int x) { return g(x) + 2; }
    typedef int (*fn)(int); static const fn table[] = {one, two}; fn hooks[] = {two, one};
    int call(int i, int x) { return table[i](x); })"),
                 {"one"});
}

TEST_P(Functions, NewFunctionInTheMiddleDisturbsNothing) {
  Diff diff = diff_c(R"(
    #include <stdio.h>
    static int hits; static const int weights[] = {1, 5, 9};
    static __attribute__((noinline)) int helper(int x) { return weights[x % 3] + hits++; }
    int a(int x) { return helper(x) * 3; }
    #ifdef FIX
    static int fresh; static const int bounds[] = {3, 2, 1};
    __attribute__((noinline)) int added(int x) { fresh += x; printf("added %d\n", x); return bounds[x % 3]; }
    #endif
    int b(int x) { printf("b %d\n", x); return helper(x) + 1; }
    #ifdef FIX
    int c(int x) { if (added(x)) return -1; printf("c %d\n", x); return a(x); }
    #else
    int c(int x) { printf("c %d\n", x); return a(x); }
    #endif
    int d(int x) { printf("d %d\n", x); return helper(x) + 2; })");
  EXPECT_EQ(names(diff.changed_functions), Strings{"c"}) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"added"});
  EXPECT_EQ(names(diff.new_data), (Strings{"bounds", "fresh"}));
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Functions, RemovedStaticFunction) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifndef FIX
    static __attribute__((noinline)) int old(int x) { return g(x) + g(x + 1); }
    int f(int x) { return old(x); }
    #else
    int f(int x) { return -1; }
    #endif
    )");
  EXPECT_EQ(names(diff.changed_functions), Strings{"f"});
  EXPECT_EQ(names(diff.removed_functions).size(), 1u);
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Functions, RemovedGlobalFunctionIsRefused) {
  expect_refused(diff_c(R"(
    int g(int);
    #ifndef FIX
    int old(int x) { return g(x) + g(x + 1); }
    #endif
    int f(int x) { return g(x); })"),
                 "old", "gone");
}

TEST_P(Functions, SectionOfAFunctionAloneIsNoChange) {
  expect_nothing(diff_c(R"(
    int g(int);
    #ifdef FIX
    __attribute__((section(".text.unlikely.f")))
    #endif
    int f(int x) { return g(x) + 1; }
    int h(int x) { return g(x) * 2; })"));
}

TEST_P(Functions, WeakAndHidden) {
  expect_changed(diff_c(R"(
    int g(int);
    #ifdef FIX
    #define N 2
    #else
    #define N 3
    #endif
    __attribute__((weak)) int w(int x) { return g(x) * N; }
    __attribute__((visibility("hidden"))) int h(int x) { return g(x) - N; }
    int f(int x) { return w(x) + 1; })"),
                 {"h", "w"});
}

TEST_P(Functions, Aliases) {
  const char* source = R"(
    int g(int);
    #ifdef FIX
    __attribute__((noinline)) int f(int x) { return g(x) + 2; }
    #else
    __attribute__((noinline)) int f(int x) { return g(x) + 1; }
    #endif
    int other(int x) { return g(x) * 9; }
    #ifdef MOVE
    int also(int) __attribute__((alias("other")));
    #else
    int also(int) __attribute__((alias("f")));
    #endif
    int user(int x) { return also(x); })";
  Diff diff = diff_c(source);
  ASSERT_EQ(diff.changed_functions.size(), 1u) << reasons(diff);
  EXPECT_THAT(diff.changed_functions[0].name, testing::AnyOf("f", "also"));
  EXPECT_EQ(refusals(diff), "");
  expect_refused(diff_texts(source, source, ".c", {}, {}, {"-DMOVE"}), "also", "another name");
}

TEST_P(Functions, VersionedSymbols) {
  const char* source = R"(
    int g(int);
    #ifdef FIX
    int f_new(int x) { return g(x) + 2; }
    #else
    int f_new(int x) { return g(x) + 1; }
    #endif
    int f_old(int x) { return g(x) - 9; }
    #ifdef MOVE
    __asm__(".symver f_new, f@V1\n.symver f_old, f@@V2");
    #else
    __asm__(".symver f_old, f@V1\n.symver f_new, f@@V2");
    #endif
    )";
  Diff diff = diff_c(source);
  ASSERT_EQ(diff.changed_functions.size(), 1u) << reasons(diff);
  EXPECT_EQ(refusals(diff), "");
  Diff moved = diff_texts(source, source, ".c", {}, {}, {"-DMOVE"});
  EXPECT_NE(refusals(moved), "");
}

TEST_P(Functions, Ifunc) {
  const char* source = R"(
    int g(int);
    #ifdef FIX
    static int fast(int x) { return g(x) + 2; }
    #else
    static int fast(int x) { return g(x) + 1; }
    #endif
    static int slow(int x) { return g(x) - 9; }
    typedef int (*fn)(int); extern int has_feature;
    #ifdef TURN
    static fn choose(void) { return has_feature ? slow : fast; }
    #else
    static fn choose(void) { return has_feature ? fast : slow; }
    #endif
    int f(int) __attribute__((ifunc("choose")));
    int user(int x) { return f(x) * 2; })";
  expect_changed(diff_c(source), {"fast"});
  Diff turned = diff_texts(source, source, ".c", {}, {}, {"-DTURN"});
  EXPECT_THAT(refusals(turned), testing::HasSubstr("resolver of an ifunc"));
}

TEST_P(Functions, NewIfuncIsRefused) {
  Diff diff = diff_c(R"(
    static int fast(int x) { return x + 2; } typedef int (*fn)(int);
    static fn choose(void) { return fast; }
    #ifdef FIX
    int f(int) __attribute__((ifunc("choose")));
    #endif
    fn keep(void) { return choose(); })");
  EXPECT_THAT(refusals(diff), testing::HasSubstr("new ifunc"));
}

TEST_P(Functions, ObjectsOfTwoCompilersAreRefused) {
  const char* source = "int g(int); int f(int x) { static int n; return g(n++) + x; }";
  elf::Image original = compile(source, ".c", {});
  std::string file = std::string(original.name());
  Command other;
  other.arguments = {GetParam().is_gcc() ? "clang-14" : "gcc", "-O2", "-c", "t.c", "-o", "t.o"};
  other.directory = std::filesystem::path(file).parent_path();
  ASSERT_TRUE(run_checked(other).ok());
  auto patched = elf::Image::open(file);
  ASSERT_TRUE(patched.ok());
  auto result = diff(original, *patched);
  ASSERT_TRUE(result.ok());
  expect_refused(*result, ".comment", "two compilers");
}

TEST_P(Functions, UnusedStackFrameAndNopsDoNotMatterBetweenFunctions) {
  // The same functions in another order.
  Diff diff = diff_c(R"(
    int g(int); static int n;
    #ifdef FIX
    int b(int x) { n += 2; return g(x) * 5; }
    int a(int x) { n++; return g(x) + 1; }
    #else
    int a(int x) { n++; return g(x) + 1; }
    int b(int x) { n += 2; return g(x) * 5; }
    #endif
    )");
  expect_nothing(diff);
}

}  // namespace
}  // namespace livecare::objdiff
