#include "elf/image.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "base/file_system.h"
#include "base/process.h"

namespace livecare::elf {
namespace {

// Compiles what a test writes; every file lies in a directory of the test's own.
class ImageTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::make();
    ASSERT_TRUE(made.ok());
    directory_.emplace(std::move(made).value());
  }

  std::filesystem::path file(const std::string& name) const { return directory_->path() / name; }

  void write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(write_file_atomic(file(name), ByteView(text)).ok());
  }

  // Runs gcc in the directory of the test.
  void gcc(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "gcc");
    auto done = run_checked({.arguments = arguments, .directory = directory_->path()});
    ASSERT_TRUE(done.ok()) << done.error().text();
  }

  void tool(const std::vector<std::string>& arguments) {
    auto done = run_checked({.arguments = arguments, .directory = directory_->path()});
    ASSERT_TRUE(done.ok()) << done.error().text();
  }

  Image open(const std::string& name) {
    auto image = Image::open(file(name));
    EXPECT_TRUE(image.ok()) << image.error().text();
    return std::move(image).value();
  }

  std::optional<TemporaryDirectory> directory_;
};

const Symbol* find(const std::vector<Symbol>& symbols, std::string_view name) {
  auto at = std::find_if(symbols.begin(), symbols.end(),
                         [&](const Symbol& symbol) { return symbol.name == name; });
  return at == symbols.end() ? nullptr : &*at;
}

constexpr std::string_view object_source = R"(
static int hidden_count = 3;
int shared_count;
extern int elsewhere(int);
static int local(int x) { return elsewhere(x) + ++hidden_count; }
int entry(int x) { return local(x) + shared_count; }
)";

TEST_F(ImageTest, ReadsARelocatableObject) {
  write("unit.c", object_source);
  gcc({"-c", "-O1", "-fno-inline", "-ffunction-sections", "-fdata-sections", "unit.c"});
  Image image = open("unit.o");
  EXPECT_EQ(image.kind(), Kind::relocatable);
  EXPECT_EQ(image.machine(), Machine::x86_64);

  const Section* text = image.section(".text.entry");
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(text->bytes.size(), text->size);
  const Symbol* entry = find(image.symbols(), "entry");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->section, text->index);
  EXPECT_EQ(entry->bind, STB_GLOBAL);
  EXPECT_EQ(entry->source_file, "");

  const Symbol* local = find(image.symbols(), "local");
  ASSERT_NE(local, nullptr);
  EXPECT_EQ(local->source_file, "unit.c");
  EXPECT_TRUE(find(image.symbols(), "elsewhere")->is_undefined());
  EXPECT_EQ(image.section(".bss.shared_count")->size, 4u);
  EXPECT_TRUE(image.section(".bss.shared_count")->bytes.empty());

  const auto& relocations = image.relocations(local->section);
  ASSERT_FALSE(relocations.empty());
  EXPECT_TRUE(std::is_sorted(relocations.begin(), relocations.end(),
                             [](auto& a, auto& b) { return a.offset < b.offset; }));
  bool calls_elsewhere = std::any_of(relocations.begin(), relocations.end(), [&](auto& one) {
    return image.symbols()[one.symbol].name == "elsewhere" && one.addend == -4;
  });
  EXPECT_TRUE(calls_elsewhere);
  EXPECT_TRUE(image.relocations(~0u).empty());
}

TEST_F(ImageTest, NamesSectionSymbolsByTheirSection) {
  write("unit.c", object_source);
  gcc({"-c", "-O1", "-fno-inline", "-ffunction-sections", "-fdata-sections", "unit.c"});
  Image image = open("unit.o");
  const Section* data = image.section(".data.hidden_count");
  ASSERT_NE(data, nullptr);
  bool found = std::any_of(image.symbols().begin(), image.symbols().end(), [&](auto& symbol) {
    return symbol.type == STT_SECTION && symbol.section == data->index &&
           symbol.name == ".data.hidden_count";
  });
  EXPECT_TRUE(found);
}

TEST_F(ImageTest, TellsSpecialSymbolsApart) {
  write("unit.s", ".globl fixed\nfixed = 0x1234\n.comm pool,64,32\n.globl used\n call used\n");
  gcc({"-c", "unit.s"});
  Image image = open("unit.o");
  EXPECT_EQ(find(image.symbols(), "fixed")->section, section_absolute);
  EXPECT_EQ(find(image.symbols(), "pool")->section, section_common);
  EXPECT_EQ(find(image.symbols(), "pool")->size, 64u);
  EXPECT_EQ(find(image.symbols(), "used")->section, section_undefined);
}

TEST_F(ImageTest, KnowsSectionGroups) {
  write("unit.cc", "inline int f(int x) { return x * 3; }\nint (*pointer)(int) = f;\n");
  gcc({"-c", "-O0", "unit.cc"});
  Image image = open("unit.o");
  const Section* text = image.section(".text._Z1fi");
  ASSERT_NE(text, nullptr);
  ASSERT_NE(text->group, 0u);
  EXPECT_EQ(image.sections()[text->group].type, static_cast<uint32_t>(SHT_GROUP));
  EXPECT_EQ(image.section(".data")->group, 0u);
}

// More sections than 16 bits can number: SHN_XINDEX and the counts in section 0.
TEST_F(ImageTest, ResolvesMoreThan65279Sections) {
  constexpr int functions = 70'000;
  std::string text;
  for (int i = 0; i < functions; i++) {
    text += fmt::format(".section .text.f{0},\"ax\"\n.globl f{0}\nf{0}: ret\n", i);
  }
  write("many.s", text);
  gcc({"-c", "many.s"});
  Image image = open("many.o");
  EXPECT_GT(image.sections().size(), static_cast<size_t>(functions));
  for (int i : {0, 65'000, 65'279, 65'280, 65'535, functions - 1}) {
    const Symbol* symbol = find(image.symbols(), fmt::format("f{}", i));
    ASSERT_NE(symbol, nullptr) << i;
    ASSERT_LT(symbol->section, image.sections().size());
    EXPECT_EQ(image.sections()[symbol->section].name, fmt::format(".text.f{}", i));
  }
}

class SharedTest : public ImageTest {
 protected:
  void SetUp() override {
    ImageTest::SetUp();
    write("library.c", R"(
#include <stdlib.h>
#include <pthread.h>
int old_twice(int x) { return 2 * x; }
int new_twice(int x) { return x + x + (getenv("none") != 0); }
__asm__(".symver old_twice,twice@V1");
__asm__(".symver new_twice,twice@@V2");
const char* pointer_to_text = "text";
)");
    write("library.map", "V1 { global: twice; pointer_to_text; };\nV2 { } V1;\n");
  }

  void build(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"-shared",
                                          "-fPIC",
                                          "-O2",
                                          "-Wl,--version-script=library.map",
                                          "-Wl,-soname,libtwice.so.1",
                                          "-Wl,--build-id=0xABCDEF0123456789",
                                          "-o",
                                          "library.so",
                                          "library.c"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    gcc(arguments);
  }

  static void expect_dynamic_parts(const Image& image) {
    EXPECT_EQ(image.kind(), Kind::shared);
    EXPECT_EQ(image.soname(), "libtwice.so.1");
    EXPECT_THAT(image.needed(), testing::ElementsAre("libc.so.6"));
    EXPECT_EQ(image.build_id(), "abcdef0123456789");
    std::vector<std::string> versions;
    for (const Symbol& symbol : image.dynamic_symbols()) {
      if (symbol.name != "twice") continue;
      versions.push_back(fmt::format("{}{}", symbol.version_hidden ? "@" : "@@", symbol.version));
      EXPECT_TRUE(image.at_address(symbol.value, symbol.size).has_value());
    }
    EXPECT_THAT(versions, testing::UnorderedElementsAre("@V1", "@@V2"));
    const Symbol* import = find(image.dynamic_symbols(), "getenv");
    ASSERT_NE(import, nullptr);
    EXPECT_EQ(import->version, "GLIBC_2.2.5");
    EXPECT_TRUE(import->is_undefined());
    bool relocates_import = false;
    bool relocates_itself = false;
    for (const Relocation& one : image.dynamic_relocations()) {
      relocates_import |= image.dynamic_symbols()[one.symbol].name == "getenv";
      relocates_itself |= one.type == R_X86_64_RELATIVE;
    }
    EXPECT_TRUE(relocates_import);
    EXPECT_TRUE(relocates_itself);
  }
};

TEST_F(SharedTest, ReadsVersionsNamesAndRelocations) {
  build();
  expect_dynamic_parts(open("library.so"));
}

TEST_F(SharedTest, ReadsAStrippedLibrary) {
  build({"-s"});
  Image image = open("library.so");
  EXPECT_TRUE(image.symbols().empty());
  expect_dynamic_parts(image);
}

// The loader needs no section headers, so neither do we: both kinds of hash table tell the count.
TEST_F(SharedTest, ReadsALibraryWithoutSectionHeaders) {
  for (std::string style : {"gnu", "sysv", "both"}) {
    build({"-Wl,--hash-style=" + style});
    auto bytes = read_file(file("library.so"));
    ASSERT_TRUE(bytes.ok());
    store_le<uint64_t>(*bytes, offsetof(Elf64_Ehdr, e_shoff), 0);
    store_le<uint16_t>(*bytes, offsetof(Elf64_Ehdr, e_shnum), 0);
    store_le<uint16_t>(*bytes, offsetof(Elf64_Ehdr, e_shstrndx), 0);
    auto image = Image::parse(std::move(*bytes), "headless");
    ASSERT_TRUE(image.ok()) << image.error().text();
    EXPECT_EQ(image->sections().size(), 1u);
    expect_dynamic_parts(*image);
    const Symbol* twice = find(image->dynamic_symbols(), "twice");
    EXPECT_EQ(twice->section, section_unknown);
  }
}

TEST_F(SharedTest, ReadsPackedRelativeRelocations) {
  build({"-fuse-ld=lld", "-Wl,--pack-dyn-relocs=relr", "-B/usr/lib/llvm-14/bin"});
  Image image = open("library.so");
  ASSERT_TRUE(image.dynamic_value(DT_RELR).has_value());
  const Symbol* pointer = find(image.dynamic_symbols(), "pointer_to_text");
  ASSERT_NE(pointer, nullptr);
  bool found = false;
  for (const Relocation& one : image.dynamic_relocations()) {
    if (one.offset != pointer->value) continue;
    found = true;
    auto text = image.at_address(static_cast<uint64_t>(one.addend), 5);
    ASSERT_TRUE(text.has_value());
    EXPECT_EQ(text->as_text(), std::string_view("text\0", 5));
  }
  EXPECT_TRUE(found);
}

TEST_F(SharedTest, ReadsASeparateDebugFile) {
  build();
  tool({"objcopy", "--only-keep-debug", "library.so", "library.debug"});
  Image image = open("library.debug");
  EXPECT_EQ(image.build_id(), "abcdef0123456789");
  EXPECT_NE(find(image.symbols(), "old_twice"), nullptr);
  EXPECT_TRUE(image.dynamic_symbols().empty());
}

TEST_F(SharedTest, KeepsRelocationsOfALinkedFile) {
  build({"-Wl,--emit-relocs"});
  Image image = open("library.so");
  const Section* text = image.section(".text");
  const auto& relocations = image.relocations(text->index);
  ASSERT_FALSE(relocations.empty());
  for (const Relocation& one : relocations) {
    EXPECT_GE(one.offset, text->address);
    EXPECT_LT(one.offset, text->address + text->size);
  }
}

TEST_F(ImageTest, ReadsAStaticExecutable) {
  write("main.c", "#include <string.h>\nint main(int c, char** v) { return strlen(v[0]) + c; }\n");
  gcc({"-static", "-o", "main", "main.c"});
  Image image = open("main");
  EXPECT_EQ(image.kind(), Kind::executable);
  EXPECT_NE(image.entry(), 0u);
  EXPECT_TRUE(image.dynamic_symbols().empty());
  bool has_ifunc =
      std::any_of(image.dynamic_relocations().begin(), image.dynamic_relocations().end(),
                  [](auto& one) { return one.type == R_X86_64_IRELATIVE; });
  EXPECT_TRUE(has_ifunc);
}

TEST_F(SharedTest, BoundsAddressesByTheirSegment) {
  build();
  Image image = open("library.so");
  for (const Segment& segment : image.segments()) {
    if (segment.type != PT_LOAD) continue;
    EXPECT_TRUE(image.at_address(segment.address, segment.file_size));
    EXPECT_FALSE(image.at_address(segment.address, segment.file_size + 1));
    EXPECT_FALSE(image.at_address(segment.address + segment.file_size, 1));
  }
  EXPECT_FALSE(image.at_address(~uint64_t{0}, 1));
  EXPECT_FALSE(image.at_address(0, ~uint64_t{0}));
}

TEST_F(ImageTest, RefusesOtherMachinesByName) {
  write("unit.c", "int x;\n");
  gcc({"-c", "unit.c"});
  auto bytes = read_file(file("unit.o"));
  ASSERT_TRUE(bytes.ok());
  auto expect_refusal = [&](size_t offset, uint8_t value, ErrorCode code, const char* words) {
    Bytes changed = *bytes;
    changed[offset] = value;
    auto image = Image::parse(std::move(changed), "unit.o");
    ASSERT_FALSE(image.ok());
    EXPECT_EQ(image.error().code, code);
    EXPECT_THAT(image.error().text(),
                testing::AllOf(testing::StartsWith("unit.o: "), testing::HasSubstr(words)));
  };
  expect_refusal(EI_CLASS, ELFCLASS32, ErrorCode::unsupported, "32-bit");
  expect_refusal(EI_DATA, ELFDATA2MSB, ErrorCode::unsupported, "big-endian");
  expect_refusal(offsetof(Elf64_Ehdr, e_machine), EM_RISCV, ErrorCode::unsupported, "machine 243");
  expect_refusal(EI_MAG1, 'X', ErrorCode::invalid_input, "not an ELF");
  expect_refusal(offsetof(Elf64_Ehdr, e_type), 77, ErrorCode::invalid_input, "type 77");
}

TEST_F(ImageTest, RefusesBadReferencesInsideAFile) {
  write("unit.c", object_source);
  gcc({"-c", "-O1", "unit.c"});
  Image image = open("unit.o");
  const Section* symtab = image.section(".symtab");
  const Section* rela = image.section(".rela.text");
  ASSERT_TRUE(symtab != nullptr && rela != nullptr);
  auto expect_damage = [&](uint64_t offset, uint32_t value, const char* words) {
    Bytes bytes = image.bytes().copy();
    store_le<uint32_t>(bytes, offset, value);
    auto changed = Image::parse(std::move(bytes), "unit.o");
    ASSERT_FALSE(changed.ok()) << words;
    EXPECT_EQ(changed.error().code, ErrorCode::invalid_input);
    EXPECT_THAT(changed.error().message, testing::HasSubstr(words));
  };
  uint64_t last_symbol = symtab->offset + symtab->size - sizeof(Elf64_Sym);
  expect_damage(last_symbol + offsetof(Elf64_Sym, st_name), 0x00ff'ffff, "no valid name");
  expect_damage(last_symbol + offsetof(Elf64_Sym, st_shndx), 0x0000'7777, "section");
  expect_damage(rela->offset + offsetof(Elf64_Rela, r_info) + 4, 0x00ff'ffff, "names symbol");
}

TEST_F(ImageTest, SaysThatAFileIsTruncated) {
  write("unit.c", object_source);
  gcc({"-c", "unit.c"});
  auto bytes = read_file(file("unit.o"));
  ASSERT_TRUE(bytes.ok());
  bytes->resize(bytes->size() / 2);
  auto image = Image::parse(std::move(*bytes), "unit.o");
  ASSERT_FALSE(image.ok());
  EXPECT_THAT(image.error().message, testing::HasSubstr("truncated"));
}

TEST_F(ImageTest, NamesAMissingFile) {
  auto image = Image::open(file("nothing.so"));
  ASSERT_FALSE(image.ok());
  EXPECT_THAT(image.error().text(), testing::HasSubstr("nothing.so"));
}

TEST_F(SharedTest, IsReadByManyThreadsAtOnce) {
  build();
  const Image shared = open("library.so");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] {
      auto own = Image::open(file("library.so"));
      ASSERT_TRUE(own.ok());
      EXPECT_EQ(own->dynamic_symbols().size(), shared.dynamic_symbols().size());
      EXPECT_EQ(own->build_id(), shared.build_id());
      EXPECT_NE(shared.section(".text"), nullptr);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Damage of every kind must end in an error or in an Image, never in a crash (the address
// sanitizer build watches this).
class DamageTest : public SharedTest {
 protected:
  void truncate_everywhere(const Bytes& whole) {
    for (size_t size = 0; size < whole.size(); size += 1 + size / 64) {
      auto image = Image::parse(Bytes(whole.begin(), whole.begin() + size), "truncated");
      EXPECT_TRUE(image.ok() || !image.error().message.empty());
    }
  }

  void flip_bytes(const Bytes& whole, unsigned rounds) {
    std::mt19937 random(1);
    // Most of the structure is in the headers: half of the damage goes to the first and last 4 KiB.
    auto place = [&]() -> size_t {
      size_t edge = std::min<size_t>(4096, whole.size());
      switch (random() % 4) {
        case 0:
          return random() % edge;
        case 1:
          return whole.size() - 1 - random() % edge;
        default:
          return random() % whole.size();
      }
    };
    unsigned accepted = 0;
    for (unsigned i = 0; i < rounds; i++) {
      Bytes damaged = whole;
      for (unsigned j = 0; j < 1 + i % 5; j++) damaged[place()] = static_cast<uint8_t>(random());
      if (Image::parse(std::move(damaged), "flipped").ok()) accepted++;
    }
    EXPECT_GT(accepted, 0u);
    EXPECT_LT(accepted, rounds);
  }
};

TEST_F(DamageTest, NeverCrashesOnADamagedObject) {
  write("unit.cc", "#include <string>\nstd::string f(int x) { return std::to_string(x); }\n");
  gcc({"-c", "-O2", "-ffunction-sections", "unit.cc"});
  auto bytes = read_file(file("unit.o"));
  ASSERT_TRUE(bytes.ok());
  truncate_everywhere(*bytes);
  flip_bytes(*bytes, 20'000);
}

TEST_F(DamageTest, NeverCrashesOnADamagedLibrary) {
  build();
  auto bytes = read_file(file("library.so"));
  ASSERT_TRUE(bytes.ok());
  truncate_everywhere(*bytes);
  flip_bytes(*bytes, 20'000);
  store_le<uint64_t>(*bytes, offsetof(Elf64_Ehdr, e_shoff), 0);
  store_le<uint16_t>(*bytes, offsetof(Elf64_Ehdr, e_shnum), 0);
  flip_bytes(*bytes, 20'000);
}

}  // namespace
}  // namespace livecare::elf
