// Real builds of small trees with --source, from the command to the published patch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "builder/make_patch.h"
#include "builder/prepare.h"
#include "builder/tree_edit.h"
#include "match/test_build.h"
#include "trust/keys.h"

namespace livecare::builder {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SourceTest : public testing::Test {
 protected:
  SourceTest() {
    set_log_level(LogLevel::warning);
    auto key = trust::generate_key();
    EXPECT_TRUE(key.ok() && trust::save_private_key(build.path("maker.key"), *key).ok());
  }
  void write(const std::string& name, const std::string& text) { build.write("src/" + name, text); }

  // Builds the tree as a distribution would and strips what it shipped.
  void ship(const std::string& command, const std::vector<std::string>& files) {
    build.sh("cp -a src dist && cd dist && (" + command +
             ") >../ship.log 2>&1 && mkdir ../shipped");
    for (const std::string& file : files) {
      std::string name = fs::path(file).filename();
      build.sh("strip -o shipped/" + name + " dist/" + file);
      source.targets.emplace_back(build.path("shipped/" + name));
    }
    source.source = build.path("src");
    source.command = command;
  }

  Result<Workspace> prepare() { return prepare_source(source, {build.path("cache"), 1}); }

  std::string prepare_error() {
    auto made = prepare();
    return made.ok() ? "none" : made.error().text();
  }

  PatchResult patch(const std::string& fix) {
    auto workspace = prepare();
    EXPECT_TRUE(workspace.ok()) << workspace.error().text();
    if (!workspace.ok()) return {};
    was_cached = workspace->was_cached;
    build.write("CVE-2026-0001.patch", fix);
    PatchOptions options;
    options.fixes = {build.path("CVE-2026-0001.patch")};
    options.out = build.path("out");
    options.key = build.path("maker.key");
    options.headers = build.path("cache/tools/include");
    options.jobs = 1;
    auto made = make_patch(workspace->tree, options);
    EXPECT_TRUE(made.ok()) << made.error().text();
    tree = workspace->tree;
    return made.ok() ? std::move(*made) : PatchResult{};
  }

  static std::vector<std::string> functions(const PatchResult& result) {
    std::vector<std::string> names;
    for (const auto& object : result.patchset.objects)
      for (const auto& function : object.functions)
        names.push_back(object.soname + ":" + function.name);
    return names;
  }
  static std::string refusals(const PatchResult& result) {
    std::string text;
    for (const auto& refusal : result.refused)
      text += refusal.function + ": " + refusal.reason + "\n";
    return text;
  }

  match::TestBuild build;
  SourceBuild source;
  PreparedTree tree;
  bool was_cached = false;
};

std::string replace_line(const std::string& file, int line, const std::string& from,
                         const std::string& to) {
  return fmt::format("--- a/{0}\n+++ b/{0}\n@@ -{1} +{1} @@\n-{2}\n+{3}\n", file, line, from, to);
}

constexpr const char* checked_c =
    "#include <stdio.h>\n"
    "#include \"limit.h\"\n"
    "int checked(int x) {\n"
    "  if (x > LIMIT) { printf(\"%d is too big\\n\", x); return -1; }\n"
    "  return x * 3 + puts(\"fine\");\n"
    "}\n";

// A library of two members of the same name, one of them in an archive, and a program.
class MakeTest : public SourceTest {
 protected:
  MakeTest() {
    write("lib/limit.h", "#define LIMIT 100\n");
    write("lib/check.c", checked_c);
    write("lib/x/check.c", "int other(int x) { return x * 31 + 7; }\n");
    write("main.c",
          "int checked(int); int other(int);\n"
          "int main(int n, char **v) { return checked(n) + other(n); }\n");
    write("Makefile",
          "CFLAGS = -O2 -g -Wall -Werror\n"
          "all: libchk.so.1 tool\n"
          "lib/check.o: lib/check.c\n\t$(CC) $(CFLAGS) -fPIC -MMD -c -o $@ $<\n"
          "lib/x/check.o: lib/x/check.c\n\t$(CC) $(CFLAGS) -fPIC -c -o $@ $<\n"
          "libchk.a: lib/check.o lib/x/check.o\n\tar qc $@ $^\n"
          "libchk.so.1: libchk.a\n\t$(CC) -shared -Wl,-soname,$@ -Wl,--build-id -o $@ "
          "-Wl,--whole-archive $< -Wl,--no-whole-archive\n"
          "tool: main.c libchk.so.1\n\t$(CC) $(CFLAGS) -Wl,--build-id -o $@ $^\n");
    ship("make", {"libchk.so.1", "tool"});
  }
};

TEST_F(MakeTest, AFixOfASource) {
  PatchResult made = patch(replace_line(
      "lib/check.c", 4, "  if (x > LIMIT) { printf(\"%d is too big\\n\", x); return -1; }",
      "  if (x > LIMIT || x < 0) return -2;"));
  EXPECT_EQ(refusals(made), "");
  EXPECT_THAT(functions(made), ElementsAre("libchk.so.1:checked"));
  EXPECT_FALSE(was_cached);
  EXPECT_TRUE(fs::exists(made.file));
  ASSERT_EQ(made.patchset.fixes.size(), 1u);
  EXPECT_THAT(made.patchset.fixes[0].cves, ElementsAre("CVE-2026-0001"));
  EXPECT_EQ(made.patchset.level, 1u);
  ASSERT_EQ(tree.targets.size(), 2u);
  EXPECT_THAT(tree.targets[0].comparison, HasSubstr("identical"));
}

TEST_F(MakeTest, TheSecondFixFindsThePreparedTreeAsItWas) {
  patch(replace_line("lib/limit.h", 1, "#define LIMIT 100", "#define LIMIT 50"));
  PatchResult made =
      patch(replace_line("lib/x/check.c", 1, "int other(int x) { return x * 31 + 7; }",
                         "int other(int x) { return x < 9 ? x * 31 : 7; }"));
  EXPECT_TRUE(was_cached);
  EXPECT_THAT(functions(made), ElementsAre("libchk.so.1:other")) << refusals(made);
  EXPECT_EQ(made.patchset.level, 2u);
  auto header = read_text(tree.root / "lib/limit.h");
  EXPECT_EQ(*header, "#define LIMIT 100\n");
}

TEST_F(MakeTest, AFixOfTwoTargetsIsOnePatchset) {
  PatchResult made =
      patch(replace_line("lib/limit.h", 1, "#define LIMIT 100", "#define LIMIT 50") +
            replace_line("main.c", 2, "int main(int n, char **v) { return checked(n) + other(n); }",
                         "int main(int n, char **v) { return n > 5 ? other(n) : checked(n); }"));
  EXPECT_EQ(refusals(made), "");
  EXPECT_THAT(functions(made), UnorderedElementsAre("libchk.so.1:checked", "tool:main"));
}

TEST_F(MakeTest, AnInterruptedFixIsTakenBackByTheNextRun) {
  {
    auto workspace = prepare();
    ASSERT_TRUE(workspace.ok()) << workspace.error().text();
    auto edit = TreeEdit::begin(workspace->tree.entry,
                                {{workspace->tree.root / "lib/limit.h", "#error killed\n"}});
    ASSERT_TRUE(edit.ok());
    fs::copy(workspace->tree.entry / "journal.json", build.path("journal.json"));
    fs::copy(workspace->tree.entry / "saved", build.path("saved"));
    ASSERT_TRUE(edit->restore().ok());
    build.sh("cp journal.json " + workspace->tree.entry.native() + " && cp -a saved " +
             workspace->tree.entry.native() + " && echo '#error' > " +
             (workspace->tree.root / "lib/limit.h").native());
  }
  PatchResult made = patch(replace_line("lib/limit.h", 1, "#define LIMIT 100", "#define LIMIT 50"));
  EXPECT_TRUE(was_cached);
  EXPECT_THAT(functions(made), ElementsAre("libchk.so.1:checked")) << refusals(made);
}

TEST_F(MakeTest, ATreeThatWasBuiltBeforeIsBuiltFromScratch) {
  build.sh("cd src && make >/dev/null 2>&1");
  PatchResult made = patch(replace_line("lib/limit.h", 1, "#define LIMIT 100", "#define LIMIT 50"));
  EXPECT_THAT(functions(made), ElementsAre("libchk.so.1:checked")) << refusals(made);
  EXPECT_TRUE(fs::exists(build.path("src/tool")));
}

TEST_F(MakeTest, AnEditedTreeIsAnotherEntry) {
  ASSERT_TRUE(prepare().ok());
  write("lib/limit.h", "#define LIMIT 10\n");
  auto again = prepare();
  ASSERT_TRUE(again.ok()) << again.error().text();
  EXPECT_FALSE(again->was_cached);
}

TEST_F(MakeTest, FixesThatChangeNothingOrDoNotCompileAreRefused) {
  EXPECT_THAT(refusals(patch(
                  replace_line("lib/limit.h", 1, "#define LIMIT 100", "#define LIMIT (50 * 2)"))),
              HasSubstr("compiles to the same code"));
  EXPECT_THAT(refusals(patch(
                  replace_line("lib/limit.h", 1, "#define LIMIT 100", "#define LIMIT undeclared"))),
              HasSubstr("lib/check.c: does not compile"));
  EXPECT_THAT(
      refusals(patch(replace_line("Makefile", 1, "CFLAGS = -O2 -g -Wall -Werror", "CFLAGS = -O3"))),
      HasSubstr("Makefile: steers the build"));
  EXPECT_FALSE(fs::exists(build.path("out")) && !fs::is_empty(build.path("out")));
}

TEST_F(MakeTest, BadInputIsNamedBeforeTheBuild) {
  auto targets = std::exchange(source.targets, {build.path("src/Makefile")});
  EXPECT_THAT(prepare_error(), HasSubstr("Makefile: is no 64-bit ELF file; --target names"));
  source.targets = {build.path("nowhere.so")};
  EXPECT_THAT(prepare_error(), HasSubstr("nowhere.so: is no file"));
  source.targets = targets;
  source.source = build.path("no-directory");
  EXPECT_THAT(prepare_error(), HasSubstr("no-directory: is no directory with sources"));
  EXPECT_FALSE(fs::exists(build.path("cache")));
}

TEST_F(MakeTest, BuildsThatFailAreNamedWithARemedy) {
  source.command = "make no-such-target";
  EXPECT_THAT(prepare_error(), HasSubstr("failed with exit code 2"));
  EXPECT_THAT(prepare_error(), HasSubstr("No rule to make target"));
  source.command = "true";
  EXPECT_THAT(prepare_error(), HasSubstr("ran no compiler that links anything"));
  source.command = "make libchk.so.1";
  EXPECT_THAT(prepare_error(), HasSubstr("tool: the build command makes no file of this name"));
}

// configure, objects in .libs under a name of their own, mv, libtool's way of linking.
TEST_F(SourceTest, LikeAutotools) {
  write("configure",
        "#!/bin/sh\nset -e\necho '#define LIMIT 100' > limit.h\n"
        "echo 'int main(void){return 0;}' > conftest.c && gcc -o conftest conftest.c\n"
        "rm -f conftest conftest.c\nsed s/@CC@/gcc/ Makefile.in > Makefile\n");
  write(
      "Makefile.in",
      "all: libchk.la\n"
      "check.lo: check.c\n\tmkdir -p .libs\n"
      "\t@CC@ -DPIC -fPIC -O2 -I. -MT check.lo -MD -MP -MF .check.Tpo -c check.c -o .libs/check.o\n"
      "\t@CC@ -O2 -I. -c check.c -o check.o\n\tmv -f .check.Tpo .check.Plo\n\techo x > $@\n"
      "libchk.la: check.lo\n"
      "\t@CC@ -shared .libs/check.o -Wl,-soname -Wl,libchk.so.1 -Wl,--build-id "
      "-o .libs/libchk.so.1.0.0T\n"
      "\tmv .libs/libchk.so.1.0.0T .libs/libchk.so.1.0.0\n"
      "\tcd .libs && ln -sf libchk.so.1.0.0 libchk.so.1\n"
      "\tar cr .libs/libchk.a check.o\n\techo x > $@\n");
  write("check.c", checked_c);
  build.sh("chmod +x src/configure");
  ship("./configure && make", {".libs/libchk.so.1.0.0"});
  PatchResult made = patch(replace_line("check.c", 5, "  return x * 3 + puts(\"fine\");",
                                        "  return x * 5 + puts(\"better\");"));
  EXPECT_THAT(functions(made), ElementsAre("libchk.so.1:checked")) << refusals(made);
  made = patch(replace_line("Makefile.in", 1, "all: libchk.la", "all:"));
  EXPECT_THAT(refusals(made), HasSubstr("Makefile.in"));
}

TEST_F(SourceTest, CmakeAndCxx) {
  write("CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(shapes CXX)\nset(CMAKE_BUILD_TYPE Release)\n"
        "add_library(parts STATIC a/part.cc b/part.cc)\n"
        "set_property(TARGET parts PROPERTY POSITION_INDEPENDENT_CODE ON)\n"
        "add_library(shapes SHARED shapes.cc)\ntarget_link_libraries(shapes parts)\n"
        "target_link_options(shapes PRIVATE -Wl,--build-id)\n"
        "set_target_properties(shapes PROPERTIES SOVERSION 3)\n");
  write("a/part.cc", "#include \"../bound.h\"\nint part_a(int x) { return bound<int>(x) * 17; }\n");
  write("b/part.cc", "#include \"../bound.h\"\nint part_b(int x) { return bound<int>(x) * 19; }\n");
  write("bound.h",
        "#include <stdexcept>\n"
        "template <class T> __attribute__((noinline)) T bound(T x) {\n"
        "  if (x > 100) throw std::out_of_range(\"too big\");\n"
        "  return x;\n}\n");
  write("shapes.cc",
        "#include <string>\nint part_a(int); int part_b(int);\n"
        "int shape(int x) { return part_a(x) + part_b(x); }\n"
        "std::string name(int x) { return \"shape \" + std::to_string(x); }\n");
  ship("cmake -S . -B obj && cmake --build obj --verbose", {"obj/libshapes.so.3"});
  PatchResult made =
      patch(replace_line("a/part.cc", 2, "int part_a(int x) { return bound<int>(x) * 17; }",
                         "int part_a(int x) { return bound<int>(x & 63) * 23; }"));
  EXPECT_THAT(functions(made), ElementsAre(HasSubstr("part_a"))) << refusals(made);
  made = patch(replace_line("bound.h", 3, "  if (x > 100) throw std::out_of_range(\"too big\");",
                            "  if (x > 100 || x < 0) throw std::out_of_range(\"out of bounds\");"));
  EXPECT_THAT(functions(made), ElementsAre(HasSubstr("bound"))) << refusals(made);
  EXPECT_TRUE(was_cached);
}

TEST_F(SourceTest, ACacheInsideTheTreeIsRefused) {
  write("a.c", "int a;\n");
  source.source = build.path("src");
  source.command = "true";
  auto made = prepare_source(source, {build.path("src/cache"), 1});
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error().text(), HasSubstr("give another --cache"));
}

}  // namespace
}  // namespace livecare::builder
