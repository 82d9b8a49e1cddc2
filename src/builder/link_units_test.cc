// The linker with several source files, and what authors can say with livecare/patch.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builder/link_test_case.h"
#include "builder/link_test_engine.h"

namespace livecare::builder {
namespace {

using testing::HasSubstr;

int probe_after(Case& made, int argument) {
  EXPECT_TRUE(made.output->refused.empty()) << made.refusals();
  if (!made.output->refused.empty()) return -1;
  TestEngine engine(made.build.path("shipped.so"));
  EXPECT_TRUE(engine.apply(made.object())) << engine.error;
  auto* probe = engine.get<int(int)>("probe");
  return probe ? probe(argument) : -1;
}

TEST(LinkUnits, NewFunctionsAndDataOfOneFileServeAnother) {
  for (bool with_rebuilt : {true, false}) {
    Case made("gcc -O2",
              Sources{{"one.c", R"(
                #ifdef FIXED
                extern int added(int) __attribute__((visibility("hidden")));
                extern int limit __attribute__((visibility("hidden")));
                int probe(int x) { return added(x * 100) + limit; }
                #else
                int probe(int x) { return x * 1234567; }
                #endif
              )"},
                      {"two.c", R"(
                int counter = 5;
                int unrelated(int x) { return counter + x * 7654321; }
                #ifdef FIXED
                int limit __attribute__((visibility("hidden"))) = 7;
                __attribute__((visibility("hidden"))) int added(int x) { return unrelated(0) + x; }
                #endif
              )"}},
              with_rebuilt);
    EXPECT_EQ(probe_after(made, 3), 5 + 300 + 7);
  }
}

TEST(LinkUnits, HiddenFunctionsThatTheOldCodeDidNotUse) {
  Case made("gcc -O2", Sources{{"one.c", R"(
                extern int hidden_helper(int) __attribute__((visibility("hidden")));
                extern int hidden_value __attribute__((visibility("hidden")));
                int probe(int x) {
                #ifdef FIXED
                  return hidden_helper(x) + hidden_value;
                #else
                  return x * 1234567;
                #endif
                })"},
                               {"two.c", R"(
                int hidden_value __attribute__((visibility("hidden"))) = 50;
                __attribute__((visibility("hidden"))) int hidden_helper(int x) { return x + 1000; }
                int user(int x) { return hidden_helper(x) + hidden_value++; }
              )"}});
  EXPECT_EQ(probe_after(made, 3), 1053);
}

TEST(LinkUnits, InlineFunctionsAreTakenFromTheTargetOrBroughtAlong) {
  for (const char* compiler : {"g++ -O1 -fno-inline", "clang++-14 -O1 -fno-inline"}) {
    Case made(compiler, Sources{{"one.cc", R"(
      inline int shared(int x) { static int calls = 10; return x + ++calls; }
      #ifdef FIXED
      template <class T> T fresh(T x) { static T sum = 100; return sum += x; }
      #endif
      extern "C" int probe(int x) {
      #ifdef FIXED
        return shared(x) * 1000 + fresh(x);
      #else
        return shared(x) * 7;
      #endif
      })"}});
    EXPECT_EQ(probe_after(made, 4), 15000 + 104) << compiler;
  }
}

TEST(LinkUnits, StaticObjectsWithDestructors) {
  Case made("g++ -O2", Sources{{"one.cc", R"(
      #include <string>
      extern "C" int probe(int x) {
        static std::string old = "old";
      #ifdef FIXED
        static std::string fresh = "a string that is too long for the small buffer";
        fresh += std::to_string(x);
        return (int)(fresh.size() * 10 + old.size());
      #else
        return (int)old.size() + x;
      #endif
      })"}});
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  // Its destructor is registered for the end of the process, so this image has to stay.
  static TestEngine* const engine = new TestEngine(made.build.path("shipped.so"));
  ASSERT_TRUE(engine->apply(made.object())) << engine->error;
  EXPECT_EQ(engine->get<int(int)>("probe")(7), 473);
}

TEST(LinkUnits, ThreadLocalObjectsWithDestructors) {
  Case made("g++ -O2", Sources{{"one.cc", R"(
      #include <string>
      // Puts the whole block into the static area, where those of libraries loaded at start are.
      __thread int pinned __attribute__((tls_model("initial-exec")));
      extern "C" int probe(int x) {
        static thread_local std::string old = "old";
        pinned = x;
      #ifdef FIXED
        static thread_local std::string fresh = "a string that is too long for the small buffer";
        fresh += std::to_string(x);
        return (int)(fresh.size() * 10 + old.size());
      #else
        return (int)old.size() + x;
      #endif
      })"}});
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  static TestEngine* const engine = new TestEngine(made.build.path("shipped.so"));  // see above
  ASSERT_EQ(engine->get<int(int)>("probe")(7), 10);  // makes the thread's block
  ASSERT_TRUE(engine->apply(made.object())) << engine->error;
  EXPECT_EQ(engine->get<int(int)>("probe")(7), 473);
}

TEST(LinkUnits, ColdPartsAreRangesOfTheirFunction) {
  Case made("gcc -O2", R"(
    #include <stdio.h>
    #include <stdlib.h>
    __attribute__((cold, noinline, noreturn)) static void die(int x) { fprintf(stderr, "%d", x); abort(); }
    int probe(int x) {
      if (x > 1000) die(x);
    #ifdef FIXED
      return x * 1234567 + 1;
    #else
      return x * 1234567;
    #endif
    })");
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  ASSERT_EQ(made.object().functions.size(), 1u);
  EXPECT_EQ(made.object().functions[0].ranges.size(), 2u);
  EXPECT_EQ(probe_after(made, 1), 1234568);
}

TEST(LinkUnits, RefusesAFunctionThatSharesItsCodeWithAnother) {
  // What a linker with identical code folding makes: two names, one address.
  Case made("gcc -O2", Sources{{"one.c", R"(
              extern int twin(int);
              int probe(int x) {
              #ifdef FIXED
                return x * 1234567 + 1;
              #else
                return x * 1234567;
              #endif
              }
              int user(int x) { return twin(x) + 7; })"}},
            true, "-Wl,--defsym=twin=probe");
  EXPECT_THAT(made.refusals(), HasSubstr("shares its shipped code with twin"));
}

TEST(LinkUnits, WhatAuthorsSayInTheHeader) {
  Case made("gcc -O2", Sources{{"one.c", R"(
              #ifdef FIXED
              #include <livecare/patch.h>
              #endif
              struct connection { int id; };
              static struct connection connections[4];
              int limit = 10;
              int probe(int x) {
              #ifdef FIXED
                int *used = livecare_shadow_alloc(&connections[x], 1, sizeof *used);
                *used += limit;
                return *used * 100 + (livecare_shadow_get(&connections[0], 1) != 0);
              #else
                return connections[x].id + limit * 1234567;
              #endif
              }
              #ifdef FIXED
              static int lower(void) { limit = 3; return 0; }
              LIVECARE_PRE_SWITCH(lower);
              #endif
            )"},
                               {"two.c", R"(
              #ifdef FIXED
              #include <livecare/patch.h>
              #endif
              int other(int x) {
              #ifdef FIXED
                livecare_shadow_free((void *)8, 1);
                return x * 7654321 + 1;
              #else
                return x * 7654321;
              #endif
              }
            )"}});
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  ASSERT_EQ(made.object().kept_data.size(), 1u);
  EXPECT_EQ(made.object().kept_data[0].name, "livecare_shadow_head_");
  EXPECT_EQ(made.object().functions.size(), 2u);
  EXPECT_EQ(probe_after(made, 2), 300);
}

TEST(LinkUnits, ThreadLocalsInALibraryLoadedLaterByTheHeadersMacro) {
  Case made("gcc -O2", R"(
    #ifdef FIXED
    #include <livecare/patch.h>
    #endif
    static __thread int level = 3;
    static __thread int depth = 1;
    #ifdef FIXED
    static LIVECARE_THREAD_LOCAL int fresh = 50;
    #endif
    int probe(int x) {
      level += x; depth++;
    #ifdef FIXED
      fresh += x;
      return level * 10000 + depth * 1000 + fresh;
    #else
      return level * 10000 + depth * 1000;
    #endif
    })");
  EXPECT_EQ(probe_after(made, 1), 42051);
}

TEST(LinkUnits, RefusesKeptVariablesOfOneNameInTwoFiles) {
  const char* source = R"(
    #ifdef FIXED
    #include <livecare/patch.h>
    #endif
    int FUNCTION(int x) {
    #ifdef FIXED
      static int kept LIVECARE_KEEP = 3;
      return x * 1234567 + kept++;
    #else
      return x * 1234567;
    #endif
    })";
  const std::string one = std::string("#define FUNCTION probe\n") + source;
  const std::string two = std::string("#define FUNCTION other\n") + source;
  Case made("gcc -O2 -fno-toplevel-reorder", Sources{{"one.c", one}, {"two.c", two}});
  EXPECT_THAT(made.refusals(), HasSubstr("keep a variable of that name"));
}

}  // namespace
}  // namespace livecare::builder
