// Thread-local variables that need more than a place: constructors and destructors of C++.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builder/link_test_case.h"

namespace livecare::builder {
namespace {

using testing::HasSubstr;

class LinkThreadLocals : public testing::TestWithParam<const char*> {
 protected:
  // A word of the new thread-local block that points into the image.
  static bool keeps_its_image(const patchfmt::Object& object) {
    return std::any_of(object.relocations.begin(), object.relocations.end(), [&](const auto& word) {
      return word.offset >= object.image_size &&
             object.symbols[word.symbol].kind == patchfmt::SymbolKind::image;
    });
  }
};

TEST_P(LinkThreadLocals, ANewDestructorKeepsItsImage) {
  const char* source = R"(
    int made, gone;
    struct Old { Old() { made++; } ~Old() { gone++; } int v; };
    #ifdef FIXED
    struct New { New() { made += 2; } ~New() { gone += 2; } int v = 5; };
    #endif
    extern "C" int probe(int x) {
      static thread_local Old old;
      old.v = x;
    #ifdef FIXED
      static thread_local New fresh;
      return old.v + fresh.v;
    #else
      return old.v;
    #endif
    })";
  Case made(GetParam(), source, "cc");
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  EXPECT_TRUE(keeps_its_image(made.object()));
}

TEST_P(LinkThreadLocals, OnesWithoutDestructorsDoNot) {
  Case made(GetParam(), R"(
    static thread_local int level = 3;
    #ifdef FIXED
    static thread_local int fresh = 5;
    #endif
    extern "C" int probe(int x) {
      level += x;
    #ifdef FIXED
      fresh += level;
      return level + fresh;
    #else
      return level * 77 + x;
    #endif
    })",
            "cc");
  ASSERT_TRUE(made.output->refused.empty()) << made.refusals();
  EXPECT_FALSE(keeps_its_image(made.object()));
}

TEST_P(LinkThreadLocals, RefusesANewConstructorBesideOthers) {
  Case made(GetParam(), R"(
    extern "C" int now();
    int now() { return 4; }
    thread_local int level = now();
    #ifdef FIXED
    thread_local int fresh = now() + 1;
    #endif
    extern "C" int probe(int x) {
      level += x;
    #ifdef FIXED
      return level + fresh;
    #else
      return level * 77 + x;
    #endif
    })",
            "cc");
  EXPECT_THAT(made.refusals(), HasSubstr("fresh"));
  EXPECT_THAT(made.refusals(), HasSubstr("threads that have run those never run its own"));
}

INSTANTIATE_TEST_SUITE_P(Compilers, LinkThreadLocals, testing::Values("g++ -O1", "clang++-14 -O1"));

}  // namespace
}  // namespace livecare::builder
