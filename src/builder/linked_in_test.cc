#include "builder/linked_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

using testing::HasSubstr;

constexpr const char* message_c = R"(
  int messages;
  void message(const char *text) { messages += text[0] * 3 + text[1] * 5 + text[2]; }
  void message_twice(const char *text) { message(text); message(text + 1); }
)";

// A program, linked with libmessage.a, whose member is compiled again as the builder does.
class LinkedInTest : public testing::Test {
 protected:
  LinkedIn ask(const std::string& main_c, const std::string& after_ar = "true",
               const std::string& link_flags = "") {
    build.write("message.c", message_c);
    build.write("main.c", main_c);
    build.sh("gcc -O2 -c message.c && ar rc libmessage.a message.o && gcc -O2 -c main.c && " +
             after_ar + " && gcc -o program main.o " + link_flags + " libmessage.a");
    build.sh("gcc -O2 -g -ffunction-sections -fdata-sections -c message.c -o again.o");
    return linked_in(build.open("again.o"), build.open("program"));
  }
  match::TestBuild build;
};

constexpr const char* caller_c =
    "void message(const char *); int main(int n, char **v) { message(v[n - 1]); }";

TEST_F(LinkedInTest, AMemberThatWasTaken) {
  LinkedIn held = ask(caller_c);
  EXPECT_TRUE(held.is);
  EXPECT_EQ(held.doubt, "");
}

TEST_F(LinkedInTest, AMemberThatNobodyNeeds) {
  EXPECT_FALSE(ask("int main(void) { return 0; }").is);
}

// glibc's ldconfig has a stub of its own for a function that libc.a has as well.
TEST_F(LinkedInTest, AnotherFunctionOfThatNameInAnotherSource) {
  LinkedIn held = ask("void message(const char *text) {} int main(void) { message(\"\"); }");
  EXPECT_FALSE(held.is) << held.doubt;
}

TEST_F(LinkedInTest, AnotherFunctionThatMerelyHasTheSameSize) {
  build.write("message.c", "int message(int x) { return x * 3; }");
  build.write(
      "main.c",
      "int message(int x) { return x * 5; } int main(int n, char **v) { return message(n); }");
  build.sh("gcc -O2 -c message.c -o again.o && gcc -O2 main.c -o program");
  LinkedIn held = linked_in(build.open("again.o"), build.open("program"));
  EXPECT_TRUE(held.is);
  EXPECT_THAT(held.doubt, HasSubstr("no source file named message.c"));
}

TEST_F(LinkedInTest, AnotherSourceOfTheSameNameIsInDoubt) {
  build.sh("mkdir sub");
  build.write("sub/message.c", "void message(const char *text) { (void)text; }");
  LinkedIn held = ask(caller_c, "gcc -O2 -c sub/message.c -o other.o", "other.o");
  EXPECT_TRUE(held.is);
  EXPECT_THAT(held.doubt, HasSubstr("a source file named message.c, but message"));
}

TEST_F(LinkedInTest, AnArchiveThatLostItsFileNamesIsInDoubt) {
  LinkedIn held = ask(caller_c, "strip -g libmessage.a");
  EXPECT_TRUE(held.is);
  EXPECT_THAT(held.doubt, HasSubstr("no source file named message.c"));
}

TEST_F(LinkedInTest, ATargetWithoutFileNamesIsInDoubtWhenSizesDiffer) {
  LinkedIn held =
      ask("void message(const char *text) {} int main(void) { message(\"\"); }", "true", "-Wl,-x");
  EXPECT_TRUE(held.is);
  EXPECT_THAT(held.doubt, HasSubstr("does not name all its source files"));
}

TEST_F(LinkedInTest, UnusedPartsMayHaveBeenCollected) {
  build.write("message.c", std::string(message_c) +
                               "static int n; __attribute__((constructor)) "
                               "static void begin(void) { n = messages; }");
  build.write("main.c", caller_c);
  build.sh(
      "gcc -O2 -ffunction-sections -c message.c main.c && ar rc libmessage.a message.o &&"
      "gcc -Wl,--gc-sections -o program main.o libmessage.a");
  LinkedIn held = linked_in(build.open("message.o"), build.open("program"));
  EXPECT_TRUE(held.is);
  EXPECT_THAT(held.doubt, HasSubstr("message_twice is not there"));
}

TEST_F(LinkedInTest, ObjectsWithoutGlobalSymbolsCannotBeMembersOnDemand) {
  build.write("only.c", "static int x; __attribute__((constructor)) static void f(void) { ++x; }");
  build.write("main.c", "int main(void) { return 0; }");
  build.sh("gcc -O2 -c only.c && gcc main.c -o program");
  EXPECT_TRUE(linked_in(build.open("only.o"), build.open("program")).is);
}

TEST_F(LinkedInTest, VersionedNames) {
  build.write("message.c",
              "int message_1(int x) { return x * 31 + 7; }\n"
              "__asm__(\".symver message_1, message@@V1\");");
  build.write("map", "V1 { global: message; local: *; };");
  build.sh(
      "gcc -O2 -fPIC -c message.c && gcc -shared -Wl,--version-script=map message.o -o program");
  LinkedIn held = linked_in(build.open("message.o"), build.open("program"));
  EXPECT_TRUE(held.is);
  EXPECT_EQ(held.doubt, "");
}

}  // namespace
}  // namespace livecare::builder
