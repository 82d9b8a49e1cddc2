#include "objdiff/kernel_tables.h"

#include "objdiff/compiled_pair.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

class KernelTables : public CompiledPair {
 protected:
  Diff diff_kernel(const std::string& before, const std::string& after, Strings fix = {}) {
    Options options;
    options.kernel = true;
    return diff_texts(before, after, ".c", {}, options, std::move(fix));
  }
};
INSTANTIATE_TEST_SUITE_P(Compilers, KernelTables, testing::ValuesIn(toolchains(true)),
                         toolchain_name);

// As on x86-64: a bug table of 12 bytes, a static key, an alternative.
constexpr const char* source = R"(
  #define WARN_ON(condition, flags) do { if (__builtin_expect(!!(condition), 0)) \
    __asm__ volatile("1: ud2\n.pushsection __bug_table,\"aw\"\n.long 1b - .\n.long %c0 - .\n" \
      ".word %c1, %c2\n.popsection" :: "i"("t.c"), "i"(__LINE__), "i"(flags)); } while (0)
  #define ALTERNATIVE(old, new) \
    __asm__ volatile("661: " old "\n662:\n.pushsection .altinstructions,\"a\"\n" \
      ".long 661b - .\n.long 6641f - .\n.word 5\n.byte 662b-661b\n.byte 6651f-6641f\n" \
      ".popsection\n.pushsection .altinstr_replacement,\"ax\"\n6641: " new "\n6651:\n.popsection")
  #define STATIC_KEY(key) \
    __asm__ volatile("1: nopl 0(%%rax,%%rax,1)\n.pushsection __jump_table,\"aw\"\n.balign 8\n" \
      ".long 1b - .\n.long 1b - .\n.quad " key " - .\n.popsection" ::: "memory")
  int g(int);
  int key_a, key_b;
  #ifndef FLAGS
  #define FLAGS 1
  #endif
  #ifndef NEW
  #define NEW "lfence"
  #endif
  #ifndef KEY
  #define KEY "key_a"
  #endif
  #ifndef ADD
  #define ADD 0
  #endif
  //SHIFT
  int warns(int x) { WARN_ON(x < 0, FLAGS); return g(x) + ADD; }
  int warns_too(int x) { WARN_ON(x < 9, 1); return g(x); }
  int chooses(int x) { ALTERNATIVE("nop\nnop\nnop", NEW); return g(x); }
  int chooses_too(int x) { ALTERNATIVE("nop\nnop\nnop", "mfence"); return g(x); }
  int keyed(int x) { STATIC_KEY(KEY); return g(x); }
)";

TEST_P(KernelTables, EntriesGoWithAChangedFunction) {
  expect_changed(diff_kernel(source, source, {"-DADD=1"}), {"warns"});
}

// As the kernel's lock classes are: nothing tells them apart, and nothing depends on it.
TEST_P(KernelTables, StaticLocalsWithoutAByteAreAlike) {
  const std::string locks = R"(
    struct key {};
    int use(struct key *key, int x);
    #ifdef FIX
    int work(int x) { if (x) { static struct key key; use(&key, x + 1); }
                      { static struct key key; use(&key, 5); } return use(0, x); }
    #else
    int work(int x) { { static struct key key; use(&key, 4); }
                      if (x) { static struct key key; use(&key, x); } return use(0, x); }
    #endif
    int same(int x) { static struct key key; return use(&key, x); })";
  expect_changed(diff_kernel(locks, locks, {"-DFIX"}), {"work"});
}

constexpr const char* unloads = R"(
  int g(int);
  #ifndef ADD
  #define ADD 0
  #endif
  #define EXIT __attribute__((section(".exit.text"), noinline))
  __asm__(".pushsection __mcount_loc,\"a\"\n.quad stays\n.popsection");
  int stays(int x) { return g(x); }
  EXIT static void helper(void) { g(4 + ADD); g(5); }
  EXIT static void leave(void) { helper(); g(3); }
  void cleanup_module(void) __attribute__((alias("leave")));
  static void *__UNIQUE_ID___addressable_cleanup_module12
      __attribute__((used, section(".exit.data"))) = (void *)cleanup_module;
)";

TEST_P(KernelTables, AModulesExitCanBeReplaced) {
  Diff diff = diff_kernel(unloads, unloads, {"-DADD=1"});
  EXPECT_EQ(names(diff.changed_functions).size(), 1u);
  EXPECT_LE(names(diff.new_functions).size(), 1u);  // "helper", where it is not inlined
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(KernelTables, WhatAModuleSaysOfItselfIsNoChange) {
  const std::string text = R"(
    static const char about[] __attribute__((used, section(".modinfo"), aligned(1))) =
    #ifdef FIX
      "author=somebody else, too";
    int work(int x) { return x + 2; }
    #else
      "author=somebody";
    int work(int x) { return x + 1; }
    #endif
  )";
  expect_changed(diff_kernel(text, text, {"-DFIX"}), {"work"});
}

// Its helpers may have entries of ftrace, which are gone with them.
TEST_P(KernelTables, AModulesInitCanBeReplacedTheKernelsCannot) {
  std::string loads = unloads;
  auto replace = [&](const std::string& what, const std::string& by) {
    for (size_t at; (at = loads.find(what)) != std::string::npos;)
      loads.replace(at, what.size(), by);
  };
  replace(".exit.", ".init.");
  replace("cleanup_module", "init_module");
  replace("helper(void) {",
          "helper (void) { __asm__ volatile(\"1: nop\\n.pushsection "
          "__mcount_loc,\\\"a\\\"\\n.quad 1b\\n.popsection\");");
  Diff diff = diff_kernel(loads, loads, {"-DADD=1"});
  EXPECT_EQ(names(diff.changed_functions).size(), 1u);
  EXPECT_EQ(refusals(diff), "");
  Options options;
  options.kernel = options.built_in = true;
  EXPECT_NE(refusals(diff_texts(loads, loads, ".c", {}, options, {"-DADD=1"})), "");
}

TEST_P(KernelTables, WhatIsBuiltInHasNoExit) {
  Options options;
  options.kernel = options.built_in = true;
  Diff diff = diff_texts(unloads, unloads, ".c", {}, options, {"-DADD=1"});
  EXPECT_FALSE(diff.anything_changed());
  EXPECT_EQ(refusals(diff), "");
}

// The entries' names end in a counter and a line.
std::string type_lists(const std::string& line, const std::string& last_type) {
  std::string text =
      "int g(int *);\nextern int ids[], more[];\n"
      "#ifndef ADD\n#define ADD 0\n#endif\n"
      "int first(void) { return g(ids + 1) + ADD; }\nint second(void) { return g(more); }\n"
      "__asm__(\".pushsection .BTF_ids,\\\"a\\\"\\n\"\n";
  auto entry = [&](const std::string& type, int counter) {
    std::string name = fmt::format("__BTF_ID__struct__{}__{}{}", type, counter, line);
    text += fmt::format("\".local {0}\\n.type {0}, STT_OBJECT\\n.size {0}, 4\\n{0}: .zero 4\\n\"\n",
                        name);
  };
  text += "\".globl ids\\nids:\\n\"\n";
  entry("sock", 1);
  entry("file", 2);
  text += "\".globl more\\nmore:\\n\"\n";
  entry(last_type, 3);
  return text + "\".popsection\");\n";
}

TEST_P(KernelTables, ListsOfTypesGoByOrder) {
  const std::string before = type_lists("100", "task");
  expect_changed(diff_kernel(before, type_lists("107", "task"), {"-DADD=1"}), {"first"});
  EXPECT_NE(refusals(diff_kernel(before, type_lists("107", "cred"), {"-DADD=1"})), "");
}

// As the kernel's `inline` is: such a function has nothing at its entry that could be redirected.
constexpr const char* untraced = R"(
  #define TRACED __asm__ volatile("1: call __fentry__\n.pushsection __mcount_loc,\"a\"\n" \
                                  ".quad 1b\n.popsection")
  int g(int);
  #ifndef ADD
  #define ADD 0
  #endif
  static __attribute__((noinline)) int inner(int x) { g(x); return g(x) + ADD; }
  static __attribute__((noinline)) int middle(int x) { g(x); return inner(x) + 1; }
  int outer(int x) { TRACED; g(4); return middle(x) + 3; }
  int also(int x) { TRACED; g(5); return middle(x) - 3; }
  int aside(int x) { TRACED; return g(x) - 2; }
  #ifdef TAKEN
  int (*taken)(int) = inner;
  #endif
)";

TEST_P(KernelTables, CallersAreReplacedForWhatCannotBeRedirected) {
  Diff diff = diff_kernel(untraced, untraced, {"-DADD=1"});
  EXPECT_EQ(refusals(diff), "");
  EXPECT_EQ(names(diff.changed_functions), (Strings{"also", "outer"}));
  EXPECT_EQ(names(diff.new_functions), (Strings{"inner", "middle"}));
  size_t parts = 0;
  for (const Function& function : diff.changed_functions) parts += function.original_parts.size();
  EXPECT_EQ(parts, 2u);  // of one of them: nobody may be in the old ones
}

TEST_P(KernelTables, WhatIsMoreThanCalledStays) {
  Diff diff = diff_kernel(untraced, untraced, {"-DADD=1", "-DTAKEN"});
  EXPECT_EQ(names(diff.changed_functions), Strings{"inner"});
}

TEST_P(KernelTables, ExportsAreLeftOut) {
  const std::string exported = R"(
    #define EXPORT(name) \
      static const char __kstrtab_##name[] __attribute__((used, section("__ksymtab_strings"))) = #name; \
      static const long __ksymtab_##name[2] __attribute__((used, section("___ksymtab_gpl+" #name))) = {(long)name, (long)__kstrtab_##name};
    int shared(int x) { return x * 5; }
    EXPORT(shared)
    #ifdef FIX
    int fresh(int x) { return x * 7 + shared(x); }
    EXPORT(fresh)
    int uses(int x) { return fresh(x) + 1; }
    #else
    int uses(int x) { return x + 1; }
    #endif
  )";
  Diff diff = diff_kernel(exported, "#define FIX\n" + exported);
  EXPECT_EQ(refusals(diff), "");
  EXPECT_EQ(names(diff.changed_functions), Strings{"uses"});
  EXPECT_EQ(names(diff.new_functions), Strings{"fresh"});
}

TEST_P(KernelTables, ALineIsNoChange) {
  std::string shifted = source;
  shifted.replace(shifted.find("//SHIFT"), 7, "\n\n\n");
  expect_nothing(diff_kernel(source, shifted));
}

TEST_P(KernelTables, WhatAnEntrySaysIsPartOfItsFunction) {
  expect_changed(diff_kernel(source, source, {"-DFLAGS=3"}), {"warns"});
  expect_changed(diff_kernel(source, source, {"-DKEY=\"key_b\""}), {"keyed"});
  expect_changed(diff_kernel(source, source, {"-DNEW=\"sfence\""}), {"chooses"});
  expect_changed(diff_kernel(source, source, {"-DNEW=\"nop\""}), {"chooses"});
}

// As since Linux 7.x: 16 bytes with a format, and code that gives its entry away.
constexpr const char* giving_source = R"(
  #define WARN(condition, format, flags) do { if (__builtin_expect(!!(condition), 0)) { void *bug; \
    __asm__ volatile("lea (2f)(%%rip), %0\n1: ud2\n.pushsection __bug_table,\"aw\"\n2: .long 1b - .\n" \
      ".long %c1 - .\n.long %c2 - .\n.word %c3, %c4\n.popsection" \
      : "=r"(bug) : "i"(format), "i"("t.c"), "i"(__LINE__), "i"(flags)); warned(bug, condition); \
    } } while (0)
  void warned(void *bug, int x);
  int g(int);
  #ifndef FLAGS
  #define FLAGS 1
  #endif
  #ifndef ADD
  #define ADD 0
  #endif
  //SHIFT
  int first(int x) { WARN(x < 0, "%d", FLAGS); if (ADD) WARN(x > 9, "%d!", 1); return g(x); }
  int second(int x) { WARN(x < 9, "%d.", 1); return g(x); }
)";

TEST_P(KernelTables, CodeThatRefersToItsEntryIsTheSame) {
  std::string shifted = giving_source;
  shifted.replace(shifted.find("//SHIFT"), 7, "\n\n\n");
  expect_nothing(diff_kernel(giving_source, shifted));
  // The second function's entry lies elsewhere then.
  expect_changed(diff_kernel(giving_source, giving_source, {"-DADD=1"}), {"first"});
  expect_changed(diff_kernel(giving_source, giving_source, {"-DFLAGS=3"}), {"first"});
}

// As gcc makes them with -fsanitize=bounds: writable, without a symbol, with a line.
constexpr const char* checked_source = R"(
  #define RECORD(name, line, type) \
    ".pushsection .data..Lubsan_type" type ",\"aw\"\n9: .word 0, " type "\n.asciz \"'int [4]'\"\n" \
    ".popsection\n.pushsection .data..Lubsan_data" name ",\"aw\"\n8: .quad 7f\n.long " line ", 5\n" \
    ".quad 9b\n.popsection\n.pushsection .rodata.str1.1,\"aMS\",@progbits,1\n7: .asciz \"t.c\"\n" \
    ".popsection\n"
  #define TEXT(x) TEXT_(x)
  #define TEXT_(x) #x
  #define CHECK(number, type) do { void *record; \
    __asm__ volatile(RECORD(TEXT(number), TEXT(__LINE__), TEXT(type)) "movq $8b, %0" \
      : "=r"(record)); handle(record); } while (0)
  void handle(void *record);
  int g(int);
  #ifndef TYPE
  #define TYPE 4
  #endif
  #ifndef ADD
  #define ADD 0
  #endif
  //SHIFT
  int first(int x) { if (ADD) CHECK(3, 1); if (x > 3) CHECK(1, TYPE); return g(x); }
  int second(int x) { if (x > 4) CHECK(2, 2); return g(x); }
)";

TEST_P(KernelTables, RecordsOfTheSanitizerAreComparedByContent) {
  std::string shifted = checked_source;
  shifted.replace(shifted.find("//SHIFT"), 7, "\n\n\n");
  expect_nothing(diff_kernel(checked_source, shifted));
  expect_changed(diff_kernel(checked_source, checked_source, {"-DADD=1"}), {"first"});
  expect_changed(diff_kernel(checked_source, checked_source, {"-DTYPE=5"}), {"first"});
}

TEST_P(KernelTables, UserSpaceGoesOnRefusing) {
  Diff diff = diff_texts(source, source, ".c", {}, {}, {"-DADD=1"});
  expect_refused(diff, "warns", "entries in the section");
}

TEST_P(KernelTables, EntriesOfAnUnknownSizeAreAnError) {
  std::string odd = source;
  odd.replace(odd.find(".word %c1, %c2"), 14, ".word %c1,%c2,7");
  elf::Image before = compile(odd, ".c", {}), after = compile(odd, ".c", {"-DADD=1"});
  Options options;
  options.kernel = true;
  auto result = diff(before, after, options);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr("__bug_table"));
}

TEST_P(KernelTables, CodeThatRunsOnceOrMustNotBeTracedIsRefused) {
  std::string text = R"(
    int g(int);
    __attribute__((section(".init.text"))) int starts(int x) { return g(x) + ADD; }
    __attribute__((section(".exit.text"))) int ends(int x) { return g(x) + ADD; }
    __attribute__((section(".noinstr.text"))) int quiet(int x) { return g(x) + ADD; }
    int plain(int x) { return g(x) + ADD; })";
  Diff diff = diff_kernel("#define ADD 1\n" + text, "#define ADD 2\n" + text);
  expect_refused(diff, "starts", "runs once");
  expect_refused(diff, "ends", "runs once");
  expect_refused(diff, "quiet", "noinstr");
  EXPECT_EQ(diff.refused.size(), 3u) << refusals(diff);
}

// A descriptor of pr_debug(): four texts and a line in 18 bits.
constexpr const char* debugged = R"(
  struct descriptor { const char *m, *f, *file, *format; unsigned line : 18, flags : 14; long key; };
  int print(struct descriptor*, int);
  #define DEBUG(counter, text, x) ({ static struct descriptor __UNIQUE_ID_ddebug##counter \
    __attribute__((section("__dyndbg"), used)) = {"m", "f", "t.c", text, __LINE__, 2}; \
    print(&__UNIQUE_ID_ddebug##counter, x); })
  //SHIFT
  int one(int x) { return DEBUG(ONE, "one", x) + ADD; }
  int two(int x) { return DEBUG(TWO, TEXT, x); })";

std::string with(const std::string& defines) {
  std::string text = debugged;
  // ## does not expand its operands: the counters stand in the text itself.
  auto put = [&](const std::string& what, const std::string& by) {
    for (size_t at; (at = text.find(what)) != std::string::npos;) text.replace(at, what.size(), by);
  };
  bool late = defines.find("LATE") != std::string::npos;
  put("(ONE", late ? "(17" : "(15");
  put("(TWO", late ? "(18" : "(16");
  return defines + text;
}

TEST_P(KernelTables, DebugDescriptorsAreKnownByWhatTheySay) {
  std::string before = with("#define ADD 0\n#define TEXT \"two\"\n");
  std::string moved = with("\n\n#define LATE\n#define ADD 0\n#define TEXT \"two\"\n");
  expect_nothing(diff_kernel(before, moved));
  std::string changed = with("\n\n#define LATE\n#define ADD 1\n#define TEXT \"two\"\n");
  Diff diff = diff_kernel(before, changed);
  EXPECT_EQ(names(diff.changed_functions), Strings{"one"}) << reasons(diff);
  EXPECT_EQ(refusals(diff), "");
}

// Which of the two is left says nothing: alike, and both functions changed.
TEST_P(KernelTables, StatesOfMessagesNeedNotBeToldApart) {
  std::string text = R"(
    int limited(int*);
    #define LIMITED ({ static int NAME = 5; limited(&NAME); })
    int f(int x) { if (x) LIMITED; LIMITED; return x + ADD; }
    int g(int x) { if (x > 2) LIMITED; if (ADD) LIMITED; LIMITED; return x - ADD; })";
  Diff diff = diff_kernel("#define NAME _rs\n#define ADD 0\n" + text,
                          "#define NAME _rs\n#define ADD 1\n" + text);
  EXPECT_EQ(refusals(diff), "");
  EXPECT_EQ(names(diff.changed_functions), (Strings{"f", "g"}));
  diff = diff_kernel("#define NAME state\n#define ADD 0\n" + text,
                     "#define NAME state\n#define ADD 1\n" + text);
  EXPECT_THAT(refusals(diff), testing::HasSubstr("cannot tell which"));
}

TEST(KernelNames, CountersOfUniqueNamesSayNothing) {
  EXPECT_EQ(name_key("__UNIQUE_ID_ddebug471.5"), name_key("__UNIQUE_ID_ddebug473.7"));
  EXPECT_NE(name_key("__UNIQUE_ID_ddebug471.5"), name_key("__UNIQUE_ID_license471"));
  EXPECT_NE(name_key("unique471"), name_key("unique473"));
}

}  // namespace
}  // namespace livecare::objdiff
