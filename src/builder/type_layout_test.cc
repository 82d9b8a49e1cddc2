#include "builder/type_layout.h"

#include <gtest/gtest.h>

#include "base/file_system.h"
#include "base/process.h"

namespace livecare::builder {
namespace {

struct Compiler {
  std::string program;
  std::string language;
};

class TypeLayout : public testing::TestWithParam<Compiler> {
 protected:
  elf::Image compile(const std::string& text) {
    auto directory = TemporaryDirectory::make();
    LIVECARE_ASSERT(directory.ok());
    auto object = directory->path() / "unit.o";
    auto done = run_checked(
        {.arguments = {GetParam().program, "-x", GetParam().language, "-O2", "-g",
                       GetParam().program.starts_with("clang") ? "-fstandalone-debug"
                                                               : "-femit-class-debug-always",
                       "-gz=none", "-c", "-", "-o", object.native()},
         .input = text});
    if (!done.ok()) ADD_FAILURE() << done.error().text();
    auto image = elf::Image::open(object);
    LIVECARE_ASSERT(image.ok());
    return std::move(*image);
  }

  // "type: what" of each change, each in a line.
  std::string changes(const std::string& before, const std::string& after) {
    auto found = layout_changes(compile(before), compile(after));
    if (!found.ok()) return "error: " + found.error().text();
    std::string lines;
    for (const LayoutChange& change : *found) lines += change.type + ": " + change.what + "\n";
    return lines;
  }
};

const std::string use = "\nint use(struct s *p) { return p->last; }\n";

TEST_P(TypeLayout, SameLayoutIsNoChange) {
  std::string text = "struct s { int a; struct { char b; } c; int last; };" + use;
  EXPECT_EQ(changes(text, "\n\n/* moved */" + text + "int more(void) { return 1; }"), "");
}

TEST_P(TypeLayout, AStructureThatGrowsIsNamedWithItsSizes) {
  EXPECT_EQ(changes("struct s { int a; int last; };" + use,
                    "struct s { int a; long more; int last; };" + use),
            "struct s: grows from 8 to 24 bytes\n");
}

TEST_P(TypeLayout, AMemberThatMovesOrAppearsInPadding) {
  EXPECT_EQ(changes("struct s { int a; int b; int last; };" + use,
                    "struct s { int b; int a; int last; };" + use),
            "struct s: member a changes from byte 0, 32 bits to byte 4, 32 bits\n");
  EXPECT_EQ(changes("struct s { char a; int last; };" + use,
                    "struct s { char a; char b; int last; };" + use),
            "struct s: member b is new, at byte 1, 8 bits\n");
  EXPECT_EQ(changes("struct s { unsigned a : 1; int last; };" + use,
                    "struct s { unsigned a : 1, b : 1; int last; };" + use),
            "struct s: member b is new, at byte 0 bit 1, 1 bits\n");
}

TEST_P(TypeLayout, TypesInsideOthersAreSeen) {
  EXPECT_EQ(changes("struct i { int x; }; struct s { struct i i[2]; int last; };" + use,
                    "struct i { int x, y; }; struct s { struct i i[2]; int last; };" + use),
            "struct i: grows from 4 to 8 bytes\nstruct s: grows from 12 to 20 bytes\n");
  EXPECT_EQ(changes("struct s { union { char b; int c; } u; int last; };" + use,
                    "struct s { union { int b; char c; } u; int last; };" + use),
            "struct s: member u.b changes from byte 0, 8 bits to byte 0, 32 bits\n");
}

TEST_P(TypeLayout, TypesWithATypedefOnlyAndNewTypes) {
  EXPECT_EQ(changes("typedef struct { int a; } t; int f(t *p) { return p->a; }",
                    "typedef struct { int b; int a; } t; struct n { t m; };"
                    "int f(t *p) { return ((struct n *)p)->m.a; }"),
            "struct t: grows from 4 to 8 bytes\n");
}

TEST_P(TypeLayout, EnumerationsMayGrowButNotRenumber) {
  std::string f = "\nint f(enum e v) { return v == last; }\n";
  EXPECT_EQ(changes("enum e { a, last };" + f, "enum e { a, last, more };" + f), "");
  EXPECT_EQ(changes("enum e { a, last };" + f, "enum e { a, more, last };" + f),
            "enum e: enumerator last changes from 1 to 2\n");
}

TEST_P(TypeLayout, VirtualFunctionsKeepTheirSlots) {
  if (GetParam().language == "c") {
    EXPECT_EQ(changes("struct s { int last; };" + use, "struct s { int last; };" + use), "");
    return;
  }
  std::string f = "\nint f(c *p) { return p->g(); }\n";
  EXPECT_EQ(changes("struct c { virtual int h() { return 1; } virtual int g() { return 2; } };" + f,
                    "struct c { virtual int h() { return 1; } virtual int n() { return 3; } "
                    "virtual int g() { return 2; } };" +
                        f),
            "struct c: virtual function _ZN1c1gEv changes from slot 01 to slot 02\n");
}

TEST_P(TypeLayout, NothingIsProvedWithoutDebugInformation) {
  auto directory = TemporaryDirectory::make();
  ASSERT_TRUE(directory.ok());
  auto object = directory->path() / "unit.o";
  ASSERT_TRUE(run_checked({.arguments = {GetParam().program, "-x", GetParam().language, "-g0", "-c",
                                         "-", "-o", object.native()},
                           .input = "int f(void) { return 1; }"})
                  .ok());
  auto image = elf::Image::open(object);
  ASSERT_TRUE(image.ok());
  EXPECT_FALSE(layout_changes(*image, *image).ok());
}

TEST_P(TypeLayout, TheAuthorsReviewIsRead) {
  elf::Image image = compile(
      "static const char r[] __attribute__((section(\".livecare.layout_ok\"), used)) = "
      "\"struct s\"; int f(void) { return 1; }");
  EXPECT_EQ(reviewed_layouts(image), std::set<std::string>{"struct s"});
}

INSTANTIATE_TEST_SUITE_P(Compilers, TypeLayout,
                         testing::Values(Compiler{"gcc", "c"}, Compiler{"g++", "c++"},
                                         Compiler{"clang-14", "c"}, Compiler{"clang++-14", "c++"}));

}  // namespace
}  // namespace livecare::builder
