#include "objdiff/special_sections.h"

#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class SpecialSections : public CompiledPair {};
INSTANTIATE_TEST_SUITE_P(Compilers, SpecialSections, testing::ValuesIn(all_toolchains()),
                         toolchain_name);

// Like the kernel's WARN: a trap, and an entry that says where.
constexpr const char* warnings = R"(
  #define FLAGS 5
  #ifdef OTHER_FLAGS
  #undef FLAGS
  #define FLAGS 9
  #endif
  #define WARN_ON(condition) do { if (__builtin_expect(!!(condition), 0)) \
    __asm__ volatile("1: ud2\n.pushsection .bug_table,\"aw\"\n2: .long 1b - 2b\n.long %c0 - 2b\n" \
      ".word %c1, %c2\n.popsection" :: "i"(__FILE__), "i"(__LINE__), "i"(FLAGS)); } while (0)
  int g(int);
  #ifdef FIX
  int early(int x) { return g(x) + 2; }
  #else
  int early(int x) { return g(x) + 1; }
  #endif
  #ifdef SHIFT

  #endif
  int f(int x) { WARN_ON(x < 0); return g(x); }
  int h(int x) { int y = g(x);
  #ifdef INSIDE
    y++;
  #endif
    WARN_ON(y > 9); WARN_ON(y == 7); return y; }
)";

std::string shifted() {
  std::string source = warnings;
  source.insert(source.find("  #ifdef SHIFT"), "\n\n\n");
  return source;
}

TEST_P(SpecialSections, LineNumbersInAWarnTable) {
  expect_changed(diff_texts(warnings, shifted(), ".c"), {"early"});
  expect_nothing(diff_texts(warnings, shifted(), ".c", {}, {}, {}));
}

TEST_P(SpecialSections, OtherFlagsInAWarnTableAreRefused) {
  Diff diff = diff_texts(warnings, warnings, ".c", {}, {}, {"-DOTHER_FLAGS"});
  EXPECT_THAT(refusals(diff), testing::HasSubstr(".bug_table"));
}

TEST_P(SpecialSections, FlagsInThePlaceOfALineAreRefused) {
  std::string source = warnings;
  source.replace(source.find("%c1, %c2"), 8, "%c2, %c1");
  source.insert(source.find("int h("), "\n#ifdef LATE\n#undef FLAGS\n#define FLAGS 9\n#endif\n");
  Diff diff = diff_texts(source, source, ".c", {}, {}, {"-DLATE"});
  EXPECT_THAT(refusals(diff), testing::HasSubstr(".bug_table"));
}

TEST_P(SpecialSections, UnwindTablesAndTracePlacesAreMadeAnew) {
  expect_changed(diff_c(R"(
    #define MARK __asm__ volatile("1:\n.pushsection .orc_unwind_ip,\"a\"\n.long 1b - .\n" \
      ".popsection\n.pushsection __mcount_loc,\"a\"\n.quad 1b\n.popsection")
    int g(int);
    #ifdef FIX
    int f(int x) { MARK; return g(x) + 2; }
    #else
    int f(int x) { MARK; return g(x) + 1; }
    #endif
    int h(int x) { MARK; return g(x); })"),
                 {"f"});
}

TEST_P(SpecialSections, ChangedFunctionWithAWarnIsRefused) {
  Diff diff = diff_texts(warnings, warnings, ".c", {}, {}, {"-DINSIDE"});
  EXPECT_EQ(names(diff.changed_functions), Strings{"h"});
  expect_refused(diff, "h", "entries in the section");
}

TEST_P(SpecialSections, UnknownSectionThatDiffersIsRefused) {
  const char* source = R"(
    __asm__(".pushsection .mystery,\"a\"\n.long VALUE, 7\n.popsection");
    int g(int); int f(int x) { return g(x) + ADD; })";
  std::string before = source, after = source;
  before.replace(before.find("VALUE"), 5, "5");
  after.replace(after.find("VALUE"), 5, "6");
  expect_refused(diff_texts(before, after, ".c", {"-DADD=1"}, {}, {}), ".mystery", "not known");
  expect_changed(diff_texts(before, before, ".c", {"-DADD=1"}, {}, {"-UADD", "-DADD=2"}), {"f"});
}

TEST_P(SpecialSections, NewMemberOfALinkerSetIsRefused) {
  expect_refused(diff_c(R"(
    int g(int); static int one(int x) { return g(x); } typedef int (*fn)(int);
    static fn entry __attribute__((section("my_set"), used)) = one;
    #ifdef FIX
    static fn another __attribute__((section("my_set"), used)) = one;
    #endif
    )"),
                 "another", "not known");
}

TEST_P(SpecialSections, NewConstructorIsRefused) {
  Diff diff = diff_c(R"(
    int g(int); int state;
    #ifdef FIX
    __attribute__((constructor)) static void start(void) { state = g(1); }
    #endif
    int f(void) { return state; })");
  expect_refused(diff, ".init_array", "use a hook");
}

TEST_P(SpecialSections, ChangedConstructorIsAChangedFunction) {
  expect_changed(diff_c(R"(
    int g(int); int state;
    #ifdef FIX
    #define N 2
    #else
    #define N 1
    #endif
    __attribute__((destructor)) static void stop(void) { state = g(N); }
    int f(void) { return state; })"),
                 {"stop"});
}

TEST_P(SpecialSections, HooksOfTheAuthorAreNoChangeOfTheirOwn) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    static int migrate(void) { return g(3); }
    static int (*const hook)(void) __attribute__((section(".livecare.hook.pre_switch"), used)) = migrate;
    int f(int x) { return g(x) + 1; }
    #else
    int f(int x) { return g(x); }
    #endif
    )");
  EXPECT_EQ(names(diff.changed_functions), Strings{"f"});
  EXPECT_EQ(names(diff.new_functions), Strings{"migrate"});
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(SpecialSections, NotesAndDebugInformationAreIgnored) {
  expect_nothing(
      diff_texts("int g(int); int f(int x) { return g(x); }",
                 "typedef struct { int a; } unused;\nint g(int);\n\nint f(int y)\n{ return g(y); }",
                 ".c", {"-g", "-Wa,-gdwarf-5"}, {}, {}));
}

TEST_P(SpecialSections, AbsoluteSymbolChangedIsRefused) {
  std::string before =
      ".globl limit\n.set limit, 4\n.text\n.globl f\n.type f,@function\nf: mov $limit,%eax\n "
      "ret\n.size f,.-f\n";
  std::string after = before;
  after.replace(after.find(", 4"), 3, ", 5");
  Diff diff = diff_texts(before, after, ".s", {}, {}, {});
  expect_refused(diff, "limit", "absolute");
}

TEST_P(SpecialSections, LinkTimeOptimisationIsAnError) {
  if (!GetParam().is_gcc()) return;  // clang writes bitcode, which is no ELF file
  elf::Image slim = compile("int f(int x) { return x; }", ".c", {"-flto", "-fno-fat-lto-objects"});
  auto result = diff(slim, slim);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().text(), testing::HasSubstr("-fno-lto"));
}

TEST_P(SpecialSections, DamagedInputIsAnError) {
  elf::Image good = compile("int g(int); int f(int x) { return g(x); }", ".c", {});
  elf::Image linked = elf::Image::open("/proc/self/exe").value();
  auto result = diff(good, linked);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().text(), testing::HasSubstr("not a relocatable object"));
}

}  // namespace
}  // namespace livecare::objdiff
