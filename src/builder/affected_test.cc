#include "builder/affected.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(AffectedRoles, ByName) {
  for (const char* name : {"lib/a.c", "a.cc", "a.h", "x/a.inc", "a.S", "a.def"})
    EXPECT_EQ(role_of(name), FileRole::source) << name;
  for (const char* name : {"Makefile", "lib/Makefile.am", "CMakeLists.txt", "x/lib.map", "a.m4",
                           "configure", "meson.build", "Makefile.inc", "libx.ver"})
    EXPECT_EQ(role_of(name), FileRole::build) << name;
  for (const char* name : {"config.h.in", "gen.pl", "a.y", "a.l", "x.py", "a.asm"})
    EXPECT_EQ(role_of(name), FileRole::generator) << name;
  EXPECT_EQ(role_of("debian/rules"), FileRole::packaging);
  for (const char* name : {"README", "NEWS.md", "x.png"})
    EXPECT_EQ(role_of(name), FileRole::other) << name;
  for (const char* name : {"tests/a.c", "lib/test/x/a.c", "docs/a.md"})
    EXPECT_TRUE(is_aside(name)) << name;
  for (const char* name : {"lib/test.c", "latest/a.c", "test"})
    EXPECT_FALSE(is_aside(name)) << name;
}

FilePatch patch_of(const std::vector<std::string>& lines) {
  FilePatch patch;
  patch.hunks.emplace_back();
  for (const std::string& line : lines)
    patch.hunks[0].lines.push_back({line[0], line.substr(1), false});
  return patch;
}

TEST(AffectedRoles, BuildFilesThatOnlyNameNewFiles) {
  EXPECT_TRUE(only_names_new_files(
      patch_of({" all:", "+tests += tst-new \\", "+# why", "+", "-a.c", "+a.c \\", "+  tst-new.c"}),
      {"tst-new"}));
  EXPECT_FALSE(only_names_new_files(patch_of({"+CFLAGS += -DX"}), {"tst-new"}));
  EXPECT_FALSE(only_names_new_files(patch_of({"-a.c"}), {}));
  // A short name is not found in the middle of words.
  EXPECT_FALSE(only_names_new_files(patch_of({"+CFLAGS += -fwrapv"}), {"rap", "a", "v"}));
}

// A tree whose record is written by hand; the compiler is asked for headers for real.
class AffectedTest : public testing::Test {
 protected:
  AffectedTest() {
    write("lib/a.c", "#include \"a.h\"\nint a;\n");
    write("lib/b.c",
          "#include \"config.h\"\n#ifndef CHOSEN\n#define CHOSEN \"config.h\"\n#endif\n"
          "#include CHOSEN\nint b;\n");
    write("lib/c.c", "#ifdef NEVER\n#include \"a.h\"\n#endif\nint c;\n");
    write("lib/a.h", "int x;\n");
    write("lib/config.h", "int config;\n");
    write("lib/chosen.h", "int y;\n");
    write("lib/hand.S", ".text\n");
    write("lib/Makefile", "all:\n");
    write("lib/gen.pl", "1\n");
    write("doc/Makefile", "all:\n");
    write("README", "1\n");
    write("tool/unused.c", "int u;\n");
    tree.root = fs::canonical(build.path("tree"));
    tree.root_seen = tree.root.native();
    tree.entry = build.path("");
    tree.source_package = "sample";
    for (const char* text :
         {"gcc -c lib/a.c -o a.o", "gcc -c lib/b.c -DCHOSEN=\"chosen.h\" -o b.o", "gcc -c lib/c.c",
          "gcc -c lib/hand.S", "ar rc b.a b.o", "gcc -shared -o liba.so a.o c.o hand.o b.a"}) {
      Call call;
      call.pid = tree.calls.size() + 1;
      call.directory = tree.root_seen;
      call.arguments = split_response(text);
      for (std::string& argument : call.arguments)
        if (argument.starts_with("-DCHOSEN")) argument = "-DCHOSEN=\"chosen.h\"";
      call.environment["PATH"] = std::getenv("PATH");
      tree.calls.push_back(std::move(call));
    }
    tree.graph = BuildGraph::replay(tree.calls, tree.root_seen);
    PreparedTarget target;
    target.rebuilt_seen = tree.root_seen + "/liba.so";
    target.name = "liba.so";
    tree.targets.push_back(target);
  }
  void write(const std::string& name, const std::string& text) {
    build.write("tree/" + name, text);
  }

  Affected find(const std::string& fix) {
    build.write("f.patch", fix);
    auto made = plan_fixes(tree, {build.path("f.patch")}, 0);
    EXPECT_TRUE(made.ok()) << made.error().text();
    if (!made.ok()) return {};
    plan = std::move(*made);
    auto found = find_affected(tree, plan, 1);
    EXPECT_TRUE(found.ok()) << found.error().text();
    return found.ok() ? *found : Affected{};
  }
  static std::string change(const std::string& name, const std::string& from) {
    return "--- a/" + name + "\n+++ b/" + name + "\n@@ -1 +1 @@\n-" + from + "\n+fixed\n";
  }
  static std::string add(const std::string& name) {
    return "--- /dev/null\n+++ b/" + name + "\n@@ -0,0 +1 @@\n+int fresh;\n";
  }
  static std::vector<std::string> names(const Affected& found) {
    std::vector<std::string> all;
    for (const AffectedUnit& unit : found.units) all.push_back(unit.name);
    return all;
  }
  static std::string refusal(const Affected& found) {
    return found.refused.empty() ? "none" : found.refused[0].reason;
  }
  match::TestBuild build;
  PreparedTree tree;
  FixPlan plan;
};

TEST_F(AffectedTest, ASourceAndItsCertainty) {
  Affected found = find(change("lib/a.c", "#include \"a.h\""));
  ASSERT_THAT(names(found), ElementsAre("lib/a.c"));
  EXPECT_THAT(found.units[0].targets, ElementsAre(0u));
  EXPECT_TRUE(found.units[0].certain[0]);
  EXPECT_THAT(found.refused, IsEmpty());
  found = find(change("lib/b.c", "#include \"config.h\""));
  ASSERT_THAT(names(found), ElementsAre("lib/b.c"));
  EXPECT_FALSE(found.units[0].certain[0]);
}

TEST_F(AffectedTest, HeadersReachThoseThatTheCompilerSaysReadThem) {
  EXPECT_THAT(names(find(change("lib/a.h", "int x;"))), ElementsAre("lib/a.c"));
  EXPECT_THAT(names(find(change("lib/chosen.h", "int y;"))), ElementsAre("lib/b.c"));
}

TEST_F(AffectedTest, WhatNothingIsCompiledFromIsIgnoredByName) {
  Affected found = find(change("README", "1") + change("tool/unused.c", "int u;") +
                        change("doc/Makefile", "all:") + change("lib/a.h", "int x;"));
  EXPECT_THAT(found.refused, IsEmpty());
  EXPECT_THAT(found.ignored, UnorderedElementsAre(HasSubstr("README"), HasSubstr("tool/unused.c"),
                                                  HasSubstr("doc/Makefile")));
}

TEST_F(AffectedTest, WhatSteersTheBuildIsRefusedByName) {
  EXPECT_THAT(refusal(find(change("lib/Makefile", "all:"))), HasSubstr("lib/Makefile: steers"));
  EXPECT_THAT(refusal(find(change("lib/gen.pl", "1"))), HasSubstr("lib/gen.pl: sources are gen"));
  EXPECT_THAT(refusal(find(change("lib/hand.S", ".text"))), HasSubstr("lib/hand.S: is assembler"));
}

TEST_F(AffectedTest, NewSourcesAreCompiledIfABuildFileNamesThem) {
  std::string named =
      "--- a/lib/Makefile\n+++ b/lib/Makefile\n@@ -1 +1,2 @@\n all:\n+S += fresh.c\n";
  Affected found = find(add("lib/fresh.c") + named);
  EXPECT_THAT(found.refused, IsEmpty());
  ASSERT_EQ(found.units.size(), 1u);
  EXPECT_THAT(found.units[0].new_source, HasSubstr("lib/fresh.c"));
  EXPECT_TRUE(found.units[0].certain[0]);
  found = find(add("lib/fresh.c"));
  EXPECT_THAT(found.units, IsEmpty());
  EXPECT_THAT(found.ignored, Contains(HasSubstr("no build file of the fix names it")));
}

TEST_F(AffectedTest, ACompilerThatFailsIsAnError) {
  write("lib/a.c", "#include \"a.h\"\n#include \"gone.h\"\n");
  build.write("f.patch", change("lib/a.h", "int x;"));
  auto made = plan_fixes(tree, {build.path("f.patch")}, 0);
  ASSERT_TRUE(made.ok());
  auto found = find_affected(tree, *made, 1);
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().text(), HasSubstr("lib/a.c: the compiler cannot list the files"));
  EXPECT_THAT(found.error().text(), HasSubstr("gone.h"));
}

}  // namespace
}  // namespace livecare::builder
