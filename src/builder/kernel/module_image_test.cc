#include "builder/kernel/module_image.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <cstring>

#include "builder/kernel/kcare_sections.h"
#include "builder/kernel/mini_kernel.h"
#include "kmod/uapi/kcare_patch.h"

namespace livecare::builder {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr const char* source = R"(
  int printk(const char*, ...);
  int hidden(int);
  static int counter;
  static __attribute__((noinline)) int quiet(int x) { counter += x; return counter; }
  #ifdef FIXED
  static const int limits[] = {1, 2, 3, 5, 8};
  static __attribute__((noinline)) int fresh(int x) { return limits[x & 3] + quiet(x); }
  #endif
  int work(int x) {
  #ifdef FIXED
    if (x < 0) { printk("no\n"); return fresh(x); }
  #endif
    counter++;
    return quiet(x) + hidden(x);
  }
  int (*callback)(int);
  void installs(void) {
    callback = work;
  #ifdef FIXED
    work(3);
  #endif
  }
)";

elf::Image written(ModuleImage& image) {
  auto parsed = elf::Image::parse(image.object.write(), "patch.o");
  if (!parsed.ok()) throw std::runtime_error(parsed.error().text());
  return std::move(*parsed);
}

std::vector<std::string> undefined_names(const elf::Image& image) {
  std::vector<std::string> names;
  for (const elf::Symbol& symbol : image.symbols())
    if (symbol.index != 0 && symbol.is_undefined()) names.emplace_back(symbol.name);
  return names;
}

std::set<std::string> outside_names(const ModuleImage& image) {
  std::set<std::string> names;
  for (const OutsideReference& reference : image.references) names.insert(reference.symbol.name);
  return names;
}

TEST(ModuleImage, TakesWhatIsNewAndRefersToWhatIsShipped) {
  MiniKernel kernel(source);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  std::set<std::string> replaced;
  for (const ReplacedFunction& function : image.functions) {
    replaced.insert(function.old.name);
    EXPECT_EQ(mini_kernel_text + function.old.offset, *kernel.vmlinux->global(function.old.name));
  }
  EXPECT_THAT(replaced, UnorderedElementsAre("installs", "work"));
  EXPECT_THAT(outside_names(image),
              UnorderedElementsAre("counter", "quiet", "hidden", "callback", "work"));
  elf::Image object = written(image);
  EXPECT_THAT(undefined_names(object), UnorderedElementsAre("printk", "__fentry__"));
  // One entry for each function of the patch, and none for quiet().
  EXPECT_EQ(object.section("__mcount_loc")->size, 3 * sizeof(uint64_t));
}

// A stored address outlives the patch, so it is the shipped one; a call goes to the new code.
TEST(ModuleImage, AddressesAreShippedAndCallsAreNew) {
  MiniKernel kernel(source);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  size_t addresses = 0;
  for (const OutsideReference& reference : image.references)
    if (reference.symbol.name == "work") {
      ++addresses;
      EXPECT_EQ(reference.type, uint32_t{R_X86_64_32S});
    }
  EXPECT_EQ(addresses, 1u);
}

// What is stored somewhere may be used after the patch is gone, so its memory has to stay.
TEST(ModuleImage, NewAddressesThatAreGivenAwayAreNamed) {
  MiniKernel kernel(R"(
    int hidden(int);
    int (*callback)(int);
    const int *table;
    #ifdef FIXED
    static int counts, uses;
    static const int limits[] = {1, 2, 3};
    static __attribute__((noinline)) int called(int x) { return hidden(x) + counts++; }
    static __attribute__((noinline)) int stored(int x) { return hidden(x) - uses++; }
    #endif
    int work(int x) {
    #ifdef FIXED
      callback = stored;
      table = limits;
      return called(x);
    #endif
      return hidden(x); })");
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  EXPECT_THAT(image.given_away, UnorderedElementsAre("stored", "limits"));
  ASSERT_TRUE(write_kcare_sections(image, {1, "K1", "6.1.0", "6.1.0", ""}).ok());
  elf::Image object = written(image);
  auto* head =
      reinterpret_cast<const kcare_patch_head*>(object.section(KCARE_SEC_HEAD)->bytes.data());
  EXPECT_EQ(head->flags, uint32_t{KCARE_PATCH_STAYS});
}

TEST(ModuleImage, WhatIsOnlyCalledIsNotGivenAway) {
  MiniKernel kernel(R"(
    int hidden(int);
    #ifdef FIXED
    static int counts;
    static __attribute__((noinline)) int called(int x) { return hidden(x) + counts++; }
    #endif
    int work(int x) {
    #ifdef FIXED
      if (x > 5) return called(x);
      return called(x) + 1;
    #endif
      return hidden(x); })");
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  EXPECT_TRUE(image.given_away.empty());
  ASSERT_TRUE(write_kcare_sections(image, {1, "K1", "6.1.0", "6.1.0", ""}).ok());
  elf::Image object = written(image);
  auto* head =
      reinterpret_cast<const kcare_patch_head*>(object.section(KCARE_SEC_HEAD)->bytes.data());
  EXPECT_EQ(head->flags, 0u);
}

TEST(ModuleImage, AnotherKernelIsRefused) {
  MiniKernel kernel(source, "-DFIXED");
  EXPECT_THAT(refusals(kernel.extracted()), HasSubstr("not proved to hold this function"));
}

TEST(ModuleImage, NotraceIsRefused) {
  MiniKernel kernel(R"(
    int hidden(int);
    __attribute__((no_instrument_function)) int silent(int x) {
    #ifdef FIXED
      x++;
    #endif
      return hidden(x); })");
  EXPECT_THAT(refusals(kernel.extracted()), HasSubstr("notrace"));
}

TEST(ModuleImage, AnUnknownNameIsRefused) {
  MiniKernel kernel(R"(
    int hidden(int), nowhere(int);
    int calls(int x) {
    #ifdef FIXED
      if (x < 0) return nowhere(x);
    #endif
      return hidden(x); })");
  EXPECT_THAT(refusals(kernel.extracted()), HasSubstr("nowhere"));
}

// Functions with a section attribute share one: the assembler resolves what goes on between them.
TEST(ModuleImage, CallsInsideASharedSectionBecomeReferences) {
  MiniKernel kernel(R"(
    #define SCHED __attribute__((section(".sched.text"), noinline))
    int hidden(int);
    SCHED static int quiet(int x) { return hidden(x) ^ 5; }
    #ifdef FIXED
    SCHED static int fresh(int x) { return hidden(x) - 9; }
    #endif
    SCHED int work(int x) {
    #ifdef FIXED
      if (x < 0) return fresh(x) + 1;
    #endif
      return quiet(x) + hidden(x); })");
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  ASSERT_EQ(image.functions.size(), 1u);
  EXPECT_THAT(outside_names(image), UnorderedElementsAre("quiet", "hidden"));
  elf::Image object = written(image);
  const elf::Section* text = object.section(".text");
  ASSERT_NE(text, nullptr);
  size_t to_fresh = 0;
  for (const elf::Relocation& relocation : object.relocations(text->index)) {
    EXPECT_EQ(text->bytes.read<uint32_t>(relocation.offset), 0u);
    for (const elf::Symbol& symbol : object.symbols())
      if (symbol.name == "fresh" && relocation.type == R_X86_64_PLT32)
        to_fresh += relocation.addend + 4 == static_cast<int64_t>(symbol.value);
  }
  EXPECT_EQ(to_fresh, 1u);
  for (const OutsideReference& reference : image.references)
    EXPECT_EQ(text->bytes.read<uint32_t>(reference.place.offset), 0u);
}

// Since Linux 7.x a WARN gives its entry of the bug table away.
TEST(ModuleImage, CodeFindsItsOwnEntryOfATable) {
  MiniKernel kernel(R"(
    int hidden(int);
    void take(void *entry) { hidden(entry != 0); }
    #define WARN(number) do { void *bug; \
      __asm__ volatile("lea (2f)(%%rip), %0\n1: ud2\n.pushsection __bug_table,\"aw\"\n" \
        "2: .long 1b - ., 0, 0\n.word " #number ", 1\n.popsection" : "=r"(bug)); \
      take(bug); } while (0)
    int shipped(int x) { if (x) WARN(1); return hidden(x); }
    int work(int x) {
    #ifdef FIXED
      if (x > 1) WARN(2);
    #endif
      if (x) WARN(3);
      return hidden(x); })");
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  ASSERT_EQ(image.functions.size(), 1u);
  elf::Image object = written(image);
  const elf::Section* table = object.section("__bug_table");
  ASSERT_NE(table, nullptr);
  ASSERT_EQ(table->size, 2u * 16);
  std::vector<uint64_t> given;
  for (const elf::Relocation& relocation : object.relocations(object.section(".text")->index))
    if (object.symbols()[relocation.symbol].section == table->index)
      given.push_back(static_cast<uint64_t>(relocation.addend + 4));
  EXPECT_THAT(given, UnorderedElementsAre(0, 16));
}

// The compiler puts its path of the source into them, which depends on where a kernel was built.
TEST(ModuleImage, RecordsOfTheSanitizerComeAlong) {
  const std::string text = R"(
    int hidden(int);
    void handle(void *record) { hidden(record != 0); }
    #ifndef FILE
    #define FILE "case.c"
    #endif
    #define CHECK(number, line) do { void *record; \
      __asm__ volatile(".pushsection .data..Lubsan_type" number ",\"aw\"\n9: .word 0, 11\n" \
        ".asciz \"'int'\"\n.popsection\n.pushsection .data..Lubsan_data" number ",\"aw\"\n" \
        "8: .quad 7f\n.long " line ", 5\n.quad 9b\n.popsection\n" \
        ".pushsection .rodata.str1.1,\"aMS\",@progbits,1\n7: .asciz \"" FILE "\"\n.popsection\n" \
        "movq $8b, %0" : "=r"(record)); handle(record); } while (0)
    #ifdef FIXED
    #define LINE "30"
    #else
    #define LINE "20"
    #endif
    int shipped(int x) { if (x) CHECK("1", LINE); return hidden(x); }
    int work(int x) {
      if (x) CHECK("2", LINE);
    #ifdef FIXED
      if (x > 1) x = 1;
    #endif
      return hidden(x); })";
  MiniKernel kernel(text, "'-DFILE=\"/build/linux/case.c\"'");
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  ASSERT_EQ(image.functions.size(), 1u);
  EXPECT_EQ(image.functions[0].old.name, "work");
  elf::Image object = written(image);
  const elf::Section* data = object.section(".data");
  ASSERT_NE(data, nullptr);
  // One record and the type that it refers to.
  EXPECT_EQ(object.relocations(data->index).size(), 2u);
  MiniKernel other(text, "'-DFILE=\"/build/linux/showcase.c\"'");
  EXPECT_THAT(refusals(other.extracted()), HasSubstr("not proved to hold this function"));
}

TEST(ModuleImage, Hooks) {
  const std::string text = R"(
    int hidden(int);
    int work(int x) {
    #ifdef FIXED
      x++;
    #endif
      return hidden(x); }
    #ifdef FIXED
    static int before(void) { return hidden(3); }
    static int (*const hook)(void) __attribute__((section(".livecare.hook.pre_unload"), used)) =
        before;
    static const char odd[] __attribute__((section(".livecare." ODD), used)) = "x";
    #endif
  )";
  MiniKernel kernel("#define ODD \"layout_ok\"\n" + text);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  ASSERT_EQ(image.hooks.size(), 1u);
  EXPECT_EQ(image.hooks[0].when, uint32_t{KCARE_HOOK_PRE_UNLOAD});
  auto status = write_kcare_sections(image, {1, "K", "6.1.0", "6.1.1", ""});
  ASSERT_TRUE(status.ok()) << status.error().text();
  elf::Image object = written(image);
  const elf::Section* hooks = object.section(KCARE_SEC_HOOKS);
  ASSERT_NE(hooks, nullptr);
  const auto& pointers = object.relocations(hooks->index);
  ASSERT_EQ(pointers.size(), 1u);
  for (const elf::Symbol& symbol : object.symbols()) {
    if (symbol.name != "before") continue;
    EXPECT_EQ(pointers[0].addend, static_cast<int64_t>(symbol.value));
  }
  MiniKernel odd("#define ODD \"keep\"\n" + text);
  EXPECT_THAT(refusals(odd.extracted()), HasSubstr("nothing that a kernel patch can say"));
}

TEST(ModuleImage, KcareFindsItsTables) {
  MiniKernel kernel(source);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  auto status = write_kcare_sections(image, {7, "K20261126_01", "6.1.0", "6.1.1", "CVE-2026-1"});
  ASSERT_TRUE(status.ok()) << status.error().text();
  elf::Image object = written(image);
  const elf::Section* head = object.section(KCARE_SEC_HEAD);
  ASSERT_NE(head, nullptr);
  EXPECT_EQ(head->bytes.read<uint32_t>(0), KCARE_PATCH_MAGIC);
  EXPECT_EQ(head->bytes.read<uint32_t>(offsetof(kcare_patch_head, level)), 7u);
  std::map<std::string_view, uint64_t> sizes;
  for (const elf::Symbol& symbol : object.symbols()) sizes[symbol.name] = symbol.size;
  EXPECT_EQ(sizes[KCARE_SYM_FUNCS], 2 * sizeof(kcare_func));
  EXPECT_EQ(sizes[KCARE_SYM_RELOCS], image.references.size() * sizeof(kcare_reloc));
  EXPECT_EQ(sizes[KCARE_SYM_OBJECTS], sizeof(kcare_object));
  // Every name is a relocation to the strings.
  const elf::Section* strings = object.section(KCARE_SEC_STRINGS);
  for (const elf::Relocation& relocation :
       object.relocations(object.section(KCARE_SEC_FUNCS)->index)) {
    const elf::Symbol& target = object.symbols()[relocation.symbol];
    if (target.section != strings->index) continue;
    auto name = strings->bytes.c_string(static_cast<uint64_t>(relocation.addend));
    ASSERT_TRUE(name.has_value());
    EXPECT_THAT(std::string(*name), testing::AnyOf("work", "installs"));
  }
  const elf::Section* objects = object.section(KCARE_SEC_OBJECTS);
  auto id = objects->bytes.slice(offsetof(kcare_object, build_id), 20);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->copy(), kernel.vmlinux->build_id());
}

// As static_cpu_has() is compiled: the test lies in a section without symbols, and jumps back.
constexpr const char* feature_tests = R"(
  int printk(const char*, ...);
  int flags;
  #define HAS(bit) TEST(bit)
  #define TEST(bit) ({ __label__ yes, no, end; int r; \
    asm goto("jmp 6f\n .pushsection .altinstr_aux,\"ax\"\n" \
             "6: testb %0, flags(%%rip)\n jnz %l[yes]\n jmp %l[no]\n .popsection" \
             : : "i"(bit) : : yes, no); \
    yes: r = 1; goto end; no: r = 0; end: r; })
  __attribute__((noinline)) int first(int x) {
  #ifdef FIXED
    if (x < 0 && HAS(4)) return printk("negative");
  #endif
    return HAS(1) ? printk("one") : x;
  }
  __attribute__((noinline)) int second(int x) { return HAS(2) ? printk("two") : x; }
  __attribute__((noinline)) int third(int x) { return HAS(OTHER) ? printk("three") : x; }
)";

TEST(ModuleImage, TestsOfFeaturesComeWithTheirFunction) {
  MiniKernel kernel(std::string("#define OTHER 8\n") + feature_tests);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  ASSERT_EQ(image.functions.size(), 1u);  // not those behind it, whose tests moved
  EXPECT_EQ(image.functions[0].old.name, "first");
  elf::Image object = written(image);
  const elf::Section* text = object.section(".text");
  ASSERT_NE(text, nullptr);
  size_t references = 0;
  for (const OutsideReference& reference : image.references)
    references += reference.symbol.name == "flags";
  EXPECT_EQ(references, 2u);
}

TEST(ModuleImage, AnotherTestOfAFeatureIsAChange) {
  MiniKernel kernel(
      std::string("#ifdef FIXED\n#define OTHER 16\n#else\n#define OTHER 8\n#endif\n") +
      feature_tests);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  std::set<std::string> replaced;
  for (const ReplacedFunction& function : image.functions) replaced.insert(function.old.name);
  EXPECT_THAT(replaced, UnorderedElementsAre("first", "third"));
}

TEST(ModuleImage, AKeyOfAModuleCannotComeLater) {
  MiniKernel kernel(source);
  ModuleImage image = kernel.extracted();
  ASSERT_EQ(refusals(image), "");
  kernel.build.write("key.c", "int key = 1;");
  kernel.build.sh("gcc -c key.c -o key.o && ld -r --build-id -o owner.ko key.o");
  auto owner = ShippedObject::open("owner", kernel.build.path("owner.ko"));
  ASSERT_TRUE(owner.ok()) << owner.error().text();
  auto add = [&](const char* name) {
    uint32_t section =
        image.object.add_section({name, SHT_PROGBITS, SHF_ALLOC, 0, 8, 0, 16, Bytes(16, 0), {}});
    image.references.push_back({{section, 8}, owner->get(), {"key", 0, 0, 4}, 0, R_X86_64_PC64});
  };
  const size_t before = image.references.size();
  add("__jump_table");
  add(".static_call_sites");
  add(".rodata.of_the_test");
  auto status = write_kcare_sections(image, {1, "K", "6.1.0", "6.1.1", ""});
  ASSERT_TRUE(status.ok()) << status.error().text();
  elf::Image object = written(image);
  const elf::Section* records = object.section(KCARE_SEC_RELOCS);
  ASSERT_NE(records, nullptr);
  std::vector<uint32_t> flags;
  for (size_t i = before; i < before + 3; ++i)
    flags.push_back(
        *records->bytes.read<uint32_t>(i * sizeof(kcare_reloc) + offsetof(kcare_reloc, flags)));
  EXPECT_EQ(flags, (std::vector<uint32_t>{0, 0, KCARE_RELOC_LATE}));
}

}  // namespace
}  // namespace livecare::builder
