#include "builder/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builder/link_test_case.h"
#include "builder/link_test_engine.h"

namespace livecare::builder {
namespace {

using testing::HasSubstr;

class LinkCompilers : public testing::TestWithParam<const char*> {
 protected:
  // Runs `int probe(int)` of the library before and after the fix.
  void expect_probe(const std::string& source, int argument, int before, int after,
                    const std::string& suffix = "c") {
    std::string compiler = GetParam();
    if (suffix == "cc")
      compiler = compiler.replace(0, compiler.find(' '),
                                  compiler.starts_with("gcc") ? "g++" : "clang++-14");
    for (bool with_rebuilt : {true, false}) {
      Case made(compiler, source, suffix, with_rebuilt);
      ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
      TestEngine engine(made.build.path("shipped.so"));
      auto* probe = engine.get<int(int)>("probe");
      ASSERT_TRUE(probe) << engine.error;
      ASSERT_EQ(probe(argument), before);
      ASSERT_TRUE(engine.apply(made.object())) << engine.error;
      EXPECT_EQ(probe(argument), after) << (with_rebuilt ? "first proof" : "second proof");
    }
  }
};

TEST_P(LinkCompilers, StringsAndExistingVariables) {
  expect_probe(R"(
    #include <stdio.h>
    #include <string.h>
    static int calls;
    int total = 100;
    static char text[64];
    int probe(int x) {
      calls++;
    #ifdef FIXED
      snprintf(text, sizeof text, "fixed %d of %d", x, total);
      return calls * 1000 + (int)strlen(text);
    #else
      snprintf(text, sizeof text, "old %d", x);
      return calls * 1000 + total + text[0];
    #endif
    })",
               7, 1000 + 100 + 'o', 2000 + 14);
}

TEST_P(LinkCompilers, JumpTablesAndStaticFunctions) {
  expect_probe(R"(
    #include <stdlib.h>
    static __attribute__((noinline)) int add(int a, int b) { return a * 31 + b * 7 + abs(a - b); }
    #ifdef FIXED
    static __attribute__((noinline)) int clamp(int x) { return x > 50 ? 50 : x; }
    #endif
    int probe(int x) {
      int y = x;
      switch (x) {
        case 0: y = add(1, 2); break;
        case 1: y = add(x, 9) ^ 4; break;
        case 2: y = 12 - add(3, x); break;
        case 3: abort();
    #ifdef FIXED
        case 4: y = clamp(x * 100) + add(0, 0); break;
    #else
        case 4: y = x * 100 + add(0, 0); break;
    #endif
        case 5: y = add(77, 11); break;
        case 6: y = rand() & 0; break;
      }
      return y;
    })",
               4, 400, 50);
}

TEST_P(LinkCompilers, StaticLocalsKeepTheirValueAndNewDataWorks) {
  expect_probe(R"(
    static int *volatile sink;
    int probe(int x) {
      static int seen = 40;
    #ifdef FIXED
      static int fresh = 5;
      static int zero[100];
      static const int *const pointers[] = {&fresh, &zero[3], &seen};
      zero[3] += fresh++;
      sink = &zero[x];
      return ++seen * 100 + zero[3] + *pointers[x & 1];
    #else
      sink = &seen;
      return ++seen * 100;
    #endif
    })",
               1, 4100, 4200 + 5 + 5);
}

TEST_P(LinkCompilers, ThreadLocalsExistingAndNew) {
  expect_probe(R"(
    static __thread int level = 3;
    __thread int shown = 8;
    static __thread int depth;
    // Puts the whole block into the static area, where those of libraries loaded at start are.
    __thread int pinned __attribute__((tls_model("initial-exec")));
    #ifdef FIXED
    static __thread int fresh = 600;
    static __thread char buffer[32];
    #endif
    int probe(int x) {
      level++; depth += 2; pinned++;
    #ifdef FIXED
      fresh += x; buffer[x] = 1;
      return level * 10000 + depth * 1000 + fresh + buffer[1] + shown;
    #else
      return level * 10000 + depth * 1000 + shown;
    #endif
    })",
               1, 4 * 10000 + 2000 + 8, 5 * 10000 + 4000 + 601 + 1 + 8);
}

TEST_P(LinkCompilers, ThreadLocalsOfALibraryThatWasLoadedLater) {
  expect_probe(R"(
    static __thread int level = 3;
    static __thread int depth;
    #ifdef FIXED
    static __thread int fresh = 600;
    static __thread char buffer[32];
    static __attribute__((noinline)) int count(int x) { buffer[x]++; fresh += x; return fresh * 10 + buffer[1]; }
    #endif
    int probe(int x) {
      level++; depth += 2;
    #ifdef FIXED
      return level * 10000 + depth * 1000 + count(x);
    #else
      return level * 10000 + depth * 1000;
    #endif
    })",
               1, 4 * 10000 + 2000, 5 * 10000 + 4000 + 6010 + 1);
}

// By value, by address, in arrays of each size, through a constant, by a call, in floating point,
// and in the part of the function that is seldom used.
TEST_P(LinkCompilers, ThreadLocalsExistingAndNewOfALibraryThatWasLoadedLater) {
  expect_probe(R"(
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    static __thread int level = 3;
    static __thread long depths[4] = {1, 2, 3, 4};
    static __attribute__((noinline)) int twice(int x) { return x > 1000 ? x / 7 : 2 * x; }
    extern int seldom(int) __attribute__((cold));
    #ifdef FIXED
    static __thread int fresh = 600;
    static __thread char room[64];
    static __thread long longs[4] = {10, 20, 30, 40};
    static __thread double numbers[4] = {0.5, 1.5, 2.5, 3.5};
    static __thread int (*function)(int);
    #endif
    __attribute__((cold, noinline)) int seldom(int x) { return x + 77; }
    int probe(int x) {
      level++;
    #ifdef FIXED
      char *text = room + (x & 31);
      fresh += level;
      longs[x & 3] += depths[x & 3];
      numbers[x & 3] *= level;
      function = twice;
      if (__builtin_expect(x == 12345, 0)) { fresh = seldom(level); memset(room, x, sizeof room); }
      snprintf(text, 16, "%d", fresh);
      for (int i = 0; i < 32; i++) room[32 + i] = room[i] ^ 'x';
      return (int)longs[x & 3] * 1000000 + (int)(numbers[x & 3] * 100) * 1000 + function(level) +
             atoi(text) + (room[x + 33] == ('0' ^ 'x')) * 100;
    #else
      return level * 10000 + (int)depths[x & 3] + twice(x);
    #endif
    })",
               1, 40004, 22750000 + 10 + 605 + 100);
}

TEST_P(LinkCompilers, NewThreadLocalsWithAddressesInThem) {
  expect_probe(R"(
    #include <string.h>
    static int total = 40;
    __attribute__((noinline)) int twice(int x) { return 2 * x; }
    #ifdef FIXED
    static __thread const char *text = "four";
    static __thread int *place = &total;
    static __thread int (*function)(int) = twice;
    static __thread struct { int number; const char *names[2]; } table = {5, {"a", "bcd"}};
    #endif
    int probe(int x) {
    #ifdef FIXED
      int result = strlen(text) * 10000 + *place * 100 + function(x) + strlen(table.names[x]);
      text = "";
      return result + table.number * 1000000;
    #else
      return total + x + twice(x);
    #endif
    })",
               1, 43, 5044005);
}

TEST_P(LinkCompilers, PointersToFunctionsKeepTheirIdentity) {
  expect_probe(R"(
    typedef int (*op)(int);
    static __attribute__((noinline)) int twice(int x) {
    #ifdef FIXED
      return x * 2 + 1000000;
    #else
      return x * 2 + 100;
    #endif
    }
    op volatile stored = twice;
    int probe(int x) {
      op volatile mine = twice;
    #ifdef FIXED
      return mine(x) + (mine == stored) + twice(0) - 1000000;
    #else
      return mine(x) + (mine == stored) * 5 + twice(0) - 100;
    #endif
    })",
               4, 108 + 5, 1000008 + 1);
}

TEST_P(LinkCompilers, NewImportsAndErrno) {
  expect_probe(R"(
    #include <errno.h>
    #include <stdlib.h>
    #include <string.h>
    #include <strings.h>
    int probe(int x) {
      errno = x;
    #ifdef FIXED
      char *copy = strdup("Case"); 
      int same = strcasecmp(copy, "cASE") == 0;
      free(copy);
      return errno + (same ? 1000 : 0) + (getenv("PATH") != 0);
    #else
      return errno;
    #endif
    })",
               9, 9, 1010);
}

TEST_P(LinkCompilers, IndirectFunctionsOfTheTarget) {
  expect_probe(R"(
    static int fast(int x) { return x * 3 + 17; }
    static int (*choose(void))(int) { return fast; }
    __attribute__((visibility("hidden"))) int work(int) __attribute__((ifunc("choose")));
    int probe(int x) {
    #ifdef FIXED
      int (*volatile pointer)(int) = work;
      return work(x) + pointer(x) + 1000;
    #else
      return work(x) ^ 0x1234;
    #endif
    })",
               5, 32 ^ 0x1234, 1064);
}

TEST_P(LinkCompilers, ExceptionsAndRunTimeTypes) {
  expect_probe(R"(
    #include <stdexcept>
    #include <string>
    struct Base { virtual ~Base() = default; virtual int id() { return 1; } };
    struct Derived : Base { int id() override { return 2; } };
    #ifdef FIXED
    struct Fresh : Derived { int id() override { return 30; } };
    struct Trouble : std::runtime_error { using std::runtime_error::runtime_error; };
    #endif
    static __attribute__((noinline)) int risky(int x) {
    #ifdef FIXED
      if (x == 3) throw Trouble("fresh");
    #endif
      if (x > 2) throw std::runtime_error("too big: " + std::to_string(x));
      return x;
    }
    struct Guard { int &n; ~Guard() { n += 7; } };
    static int unwound;
    extern "C" int probe(int x) {
      try {
        Guard guard{unwound};
        return risky(x);
    #ifdef FIXED
      } catch (const Trouble &e) {
        Base *base = new Fresh;
        int value = dynamic_cast<Derived *>(base) ? base->id() : -1;
        delete base;
        return value * 1000 + unwound + (int)std::string(e.what()).size();
    #endif
      } catch (const std::exception &e) {
        return unwound + (int)std::string(e.what()).size();
      }
    })",
               3, 7 + 10, 30000 + 14 + 5, "cc");
}

TEST_P(LinkCompilers, ColdPartsAndFloatingConstants) {
  expect_probe(R"(
    #include <stdio.h>
    #include <stdlib.h>
    extern int unlikely_thing(int) __attribute__((cold));
    static double state = 2.0;
    int probe(int x) {
      if (__builtin_expect(x > 1000, 0)) { fprintf(stderr, "%d is too big\n", x); abort(); }
    #ifdef FIXED
      if (__builtin_expect(x < -1000, 0)) { fprintf(stderr, "%d is too small\n", x); abort(); }
      state = state * 1.5 + 0.25;
    #else
      state = state * 0.5;
    #endif
      return (int)(state * 100.0);
    })",
               1, 100, 175);
}

INSTANTIATE_TEST_SUITE_P(Compilers, LinkCompilers,
                         testing::Values("gcc -O2", "gcc -Os", "clang-14 -O2", "clang-14 -Os",
                                         "gcc -O2 -fcf-protection -fno-plt"));

TEST(Link, HooksAndKeptData) {
  Case made("gcc -O2", R"(
    int ready;
    int probe(int x) {
    #ifdef FIXED
      return ready * 1000 + x;
    #else
      return ready * 777 + x * 2;
    #endif
    }
    #ifdef FIXED
    static int rounds __attribute__((section(".livecare.keep"))) = 11;
    static int prepare(void) { ready = rounds++; return 0; }
    static int (*const hook)(void) __attribute__((section(".livecare.hook.pre_switch"), used)) = prepare;
    #endif
  )");
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  ASSERT_EQ(made.object().hooks.size(), 1u);
  EXPECT_EQ(made.object().hooks[0].name, "prepare");
  ASSERT_EQ(made.object().kept_data.size(), 1u);
  EXPECT_EQ(made.object().kept_data[0].name, "rounds");
  EXPECT_EQ(made.object().kept_data[0].size, 4u);
  TestEngine engine(made.build.path("shipped.so"));
  ASSERT_TRUE(engine.apply(made.object())) << engine.error;
  EXPECT_EQ(engine.get<int(int)>("probe")(3), 11003);
}

TEST(Link, DescribesWhatItReplaces) {
  Case made("gcc -O2", R"(
    int probe(int x) {
    #ifdef FIXED
      return x * 12345 + 1;
    #else
      return x * 12345;
    #endif
    })");
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  const auto& object = made.object();
  EXPECT_EQ(object.soname, "libcase.so.1");
  ASSERT_EQ(object.functions.size(), 1u);
  EXPECT_EQ(object.functions[0].name, "probe");
  EXPECT_EQ(object.functions[0].ranges.size(), 1u);
  EXPECT_EQ(object.functions[0].entry_bytes.size(), object.functions[0].size);
  EXPECT_THAT(object.functions[0].proof, HasSubstr("same build-ID"));
  EXPECT_EQ(object.rodata.offset % patchfmt::page_bytes, 0u);
  EXPECT_GT(object.eh_frame_size, 0u);
  EXPECT_EQ(object.image_symbols.front().name, "probe");
}

TEST(Link, RefusesAFunctionTooShortForTheJump) {
  Case made("gcc -O2", R"(
    int probe(int x) {
    #ifdef FIXED
      return x + 1;
    #else
      return x;
    #endif
    })");
  EXPECT_THAT(made.refusals(), HasSubstr("no room for the jump"));
}

TEST(Link, RefusesANewConstructor) {
  Case made("gcc -O2", R"(
    int value = 3;
    int probe(int x) { return x * value * 1234567; }
    #ifdef FIXED
    __attribute__((constructor)) static void start(void) { value = 4; }
    #endif
  )");
  EXPECT_THAT(made.refusals(), HasSubstr("constructor"));
}

TEST(Link, RefusesWhatNoLoadedLibraryHas) {
  Case made("gcc -O2", R"(
    #ifdef FIXED
    extern int nowhere_to_be_found(int);
    int probe(int x) { return nowhere_to_be_found(x) * 3 + 77777; }
    #else
    int probe(int x) { return x * 3 + 77777; }
    #endif
  )");
  EXPECT_THAT(made.refusals(), HasSubstr("nowhere_to_be_found"));
}

TEST(Link, RefusesALoopOntoTheOverwrittenBytes) {
  Case made("gcc -O1", R"(
    __asm__(".text\n.globl probe\n.type probe,@function\nprobe:\n"
    #ifdef FIXED
      "xor %eax,%eax\n1: inc %eax\ninc %eax\ndec %edi\njnz 1b\nret\n"
    #else
      "xor %eax,%eax\n1: inc %eax\ndec %edi\njnz 1b\nret\n"
    #endif
      ".size probe,.-probe\n");
  )");
  EXPECT_THAT(made.refusals(), HasSubstr("jumps to"));
}

}  // namespace
}  // namespace livecare::builder
