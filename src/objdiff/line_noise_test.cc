#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class LineNoise : public CompiledPair {
 protected:
  // The same source with lines inserted before it.
  Diff moved_down(const std::string& source, int lines, Strings flags = {}) {
    return diff_texts(source,
                      "/* a comment */" + std::string(static_cast<size_t>(lines), '\n') + source,
                      ".c", std::move(flags), {}, {});
  }
};
INSTANTIATE_TEST_SUITE_P(Compilers, LineNoise, testing::ValuesIn(all_toolchains()), toolchain_name);

TEST_P(LineNoise, BlankLinesAndComments) {
  expect_nothing(moved_down(R"(
    int g(int); int f(int x) {
      return g(x); })",
                            7, {"-g"}));
}

TEST_P(LineNoise, Assert) {
  expect_nothing(moved_down(R"(
    #include <assert.h>
    int g(int);
    int f(int x) { assert(x > 0);
      int y = g(x);
      assert(y > x);
      return y; }
    void h(int* p) { assert(p); *p = 1; })",
                            3));
}

TEST_P(LineNoise, OpensslAllocations) {
  expect_nothing(moved_down(R"(
    void* CRYPTO_malloc(unsigned long, const char*, int); void CRYPTO_free(void*, const char*, int);
    void ERR_new(void); void ERR_set_debug(const char*, int, const char*); void ERR_set_error(int, int, const char*, ...);
    #define OPENSSL_malloc(n) CRYPTO_malloc(n, __FILE__, __LINE__)
    #define OPENSSL_free(p) CRYPTO_free(p, __FILE__, __LINE__)
    #define ERR_raise(l, r) (ERR_new(), ERR_set_debug(__FILE__, __LINE__, __func__), ERR_set_error(l, r, 0))
    int fill(char*, int);
    int f(int n) {
      char* p = OPENSSL_malloc(n);
      if (!p) { ERR_raise(2, 65); return 0; }
      if (!fill(p, n)) {
        ERR_raise(2, 66);
        OPENSSL_free(p);
        return 0; }
      OPENSSL_free(p);
      return 1; })",
                            130));
}

TEST_P(LineNoise, LogFunctions) {
  expect_nothing(moved_down(R"(
    void log_it(int level, const char* file, int line, const char* format, ...);
    int g(int);
    int f(int x) { if (x < 3) { log_it(3, __FILE__, __LINE__, "small %d", x); return -1; }
      int y = g(x);
      if (y) log_it(4, __FILE__, __LINE__, "result %d", y);
      return y; })",
                            40));
}

TEST_P(LineNoise, ThroughAFunctionPointer) {
  expect_nothing(moved_down(R"(
    struct sink { void (*report)(const char* file, int line, const char* what); };
    void f(struct sink* s, int x) {
      if (x > 4) s->report(__FILE__, __LINE__, "four");
      s->report(__FILE__, __LINE__, "done"); })",
                            5));
}

TEST_P(LineNoise, ARealChangeBesideLineNumbersStays) {
  std::string source = R"(
    #include <assert.h>
    int g(int, int);
    int f(int x) { assert(x > 0); return g(x, 20); }
    int h(int x) { assert(x > 0); return g(x, 30); })";
  std::string after = "\n\n" + source;
  after.replace(after.find("20"), 2, "21");
  expect_changed(diff_texts(source, after, ".c", {}, {}, {}), {"f"});
}

// --- what looks like a line number and is none ---

TEST_P(LineNoise, LevelBesideAFileName) {
  expect_changed(diff_c(R"(
    void log_it(int level, const char* file, int line, const char* format);
    #ifdef FIX
    #define LEVEL 4
    #else
    #define LEVEL 3
    #endif
    void f(void) { log_it(LEVEL, __FILE__, __LINE__, "text"); })"),
                 {"f"});
}

TEST_P(LineNoise, ArgumentOfTheCallerBesideAFileName) {
  expect_changed(diff_c(R"(
    void open_it(const char* file, int mode, int level);
    #ifdef FIX
    #define LEVEL 21
    #else
    #define LEVEL 20
    #endif
    void f(int mode) { open_it(__FILE__, mode, LEVEL); })"),
                 {"f"});
}

TEST_P(LineNoise, ResultOfACallBesideAFileName) {
  expect_changed(diff_c(R"(
    const char* get(const char* file); void put(const char* name, int level);
    #ifdef FIX
    #define LEVEL 21
    #else
    #define LEVEL 20
    #endif
    void f(void) { put(get(__FILE__), LEVEL); })"),
                 {"f"});
}

TEST_P(LineNoise, LevelBehindAFileNameBetweenLinesThatStay) {
  std::string source = R"(
    void log_it(const char* file, int number);
    void a(void) { log_it(__FILE__, __LINE__); }
    void f(void) { log_it(__FILE__, LEVEL); }
    void b(void) { log_it(__FILE__, __LINE__); })";
  expect_changed(diff_texts(source, source, ".c", {"-DLEVEL=3"}, {}, {"-ULEVEL", "-DLEVEL=4"}),
                 {"f"});
  // Lines do not change their order.
  expect_changed(diff_texts(source, source, ".c", {"-DLEVEL=500"}, {}, {"-ULEVEL", "-DLEVEL=1"}),
                 {"f"});
}

TEST_P(LineNoise, TwoWaysIntoOneCall) {
  // One way hands over a file name and a line, the other one something else and a number.
  std::string source = R"(
    .text
    .globl f
    .type f,@function
    f: test %edx,%edx
     jne 1f
     mov $7,%esi
     lea .Lname(%rip),%rdi
    2: jmp report
    1: mov $20,%esi
     mov %rcx,%rdi
     jmp 2b
     .size f,.-f
    .section .rodata.str1.1,"aMS",@progbits,1
    .Lname: .string "t.s"
    .file "t.s"
  )";
  std::string after = source;
  after.replace(after.find("$20"), 3, "$21");
  expect_changed(diff_texts(source, after, ".s", {}, {}, {}), {"f"});
}

TEST_P(LineNoise, ErrorCodeBehindTheLine) {
  expect_changed(diff_c(R"(
    void report(const char* file, int line, int code);
    #ifdef FIX
    #define CODE 121
    #else
    #define CODE 120
    #endif
    void f(void) { report(__FILE__, __LINE__, CODE); })"),
                 {"f"});
}

TEST_P(LineNoise, SizeOfAnAllocation) {
  expect_changed(diff_c(R"(
    void* CRYPTO_malloc(unsigned long, const char*, int);
    #ifdef FIX
    #define SIZE 65
    #else
    #define SIZE 64
    #endif
    void* f(void) { return CRYPTO_malloc(SIZE, __FILE__, __LINE__); })"),
                 {"f"});
}

TEST_P(LineNoise, NumberBehindAnotherFilesName) {
  expect_changed(diff_c(R"(
    void load(const char* name, int version);
    #ifdef FIX
    void f(void) { load("settings.h", 2); }
    #else
    void f(void) { load("settings.h", 1); }
    #endif
    )"),
                 {"f"});
}

TEST_P(LineNoise, NumberBehindOrdinaryText) {
  expect_changed(diff_c(R"(
    void say(const char* text, int times);
    #ifdef FIX
    void f(void) { say("hello", 12); }
    #else
    void f(void) { say("hello", 11); }
    #endif
    )"),
                 {"f"});
}

TEST_P(LineNoise, AssertWithAnotherExpression) {
  expect_changed(diff_c(R"(
    void __assert_fail(const char*, const char*, unsigned, const char*) __attribute__((noreturn));
    #ifdef FIX
    void f(int x) { if (x < 8) __assert_fail("x >= 8", "t.c", 10, "f"); }
    #else
    void f(int x) { if (x < 9) __assert_fail("x >= 9", "t.c", 10, "f"); }
    #endif
    )"),
                 {"f"});
}

TEST_P(LineNoise, TheNumberIsUsedElsewhereToo) {
  // The register goes to the reporting function in one branch and to another one in the other.
  std::string source = R"(
    .text
    .globl f
    .type f,@function
    f: mov $20,%esi
     lea .Lname(%rip),%rdi
     test %edx,%edx
     jne 1f
     call report
     ret
    1: call other
     ret
    .size f,.-f
    .section .rodata.str1.1,"aMS",@progbits,1
    .Lname: .string "t.s"
    .file "t.s"
  )";
  std::string after = source;
  after.replace(after.find("$20"), 3, "$21");
  // Both calls have the file name in the argument before: both take a line.
  expect_nothing(diff_texts(source, after, ".s", {}, {}, {}));
  for (std::string* text : {&source, &after})
    text->replace(text->find("1: call"), 7, "1: inc %rdi\n call");
  expect_changed(diff_texts(source, after, ".s", {}, {}, {}), {"f"});
}

TEST_P(LineNoise, ReturnedOrStoredNumbers) {
  expect_changed(diff_c(R"(
    extern int where; extern const char* file;
    #ifdef FIX
    #line 200
    #else
    #line 100
    #endif
    int f(void) { file = __FILE__; return __LINE__; }
    void h(void) { file = __FILE__; where = __LINE__; }
    )"),
                 {"f", "h"});
}

TEST_P(LineNoise, NotPlausibleAsALine) {
  expect_changed(diff_c(R"(
    void log_it(const char* file, int line);
    #ifdef FIX
    void f(void) { log_it(__FILE__, 0x7fffffff); }
    #else
    void f(void) { log_it(__FILE__, 0x7ffffffe); }
    #endif
    )"),
                 {"f"});
}

}  // namespace
}  // namespace livecare::objdiff
