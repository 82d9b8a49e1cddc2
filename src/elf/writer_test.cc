#include "elf/writer.h"

#include <elf.h>
#include <gtest/gtest.h>

namespace livecare::elf {
namespace {

Bytes object(Kind kind) {
  Writer writer(Machine::x86_64, kind);
  NewSection text{".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x1000, 16, 0, 0, {}, {}};
  text.bytes = {0xe8, 0, 0, 0, 0, 0xc3};
  uint32_t code = writer.add_section(text);
  NewSection zeros{".bss", SHT_NOBITS, SHF_ALLOC | SHF_WRITE, 0x3000, 8, 0, 64, {}, {}};
  uint32_t bss = writer.add_section(zeros);
  uint32_t outside = writer.add_symbol({"printk", STB_GLOBAL, STT_NOTYPE, STV_DEFAULT, 0, 0, 0});
  writer.add_symbol({"f", STB_LOCAL, STT_FUNC, STV_DEFAULT, code, 0, 6});
  uint32_t of_bss = writer.section_symbol(bss);
  writer.section(code).relocations = {{1, R_X86_64_PLT32, outside, -4},
                                      {2, R_X86_64_PC32, of_bss, 12}};
  return writer.write();
}

TEST(Writer, WhatIsWrittenCanBeRead) {
  auto image = Image::parse(object(Kind::relocatable), "test.o");
  ASSERT_TRUE(image.ok()) << image.error().text();
  EXPECT_EQ(image->kind(), Kind::relocatable);
  const Section* text = image->section(".text");
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(text->size, 6u);
  EXPECT_EQ(text->alignment, 16u);
  EXPECT_EQ(image->section(".bss")->size, 64u);
  const auto& relocations = image->relocations(text->index);
  ASSERT_EQ(relocations.size(), 2u);
  EXPECT_EQ(image->symbols()[relocations[0].symbol].name, "printk");
  EXPECT_TRUE(image->symbols()[relocations[0].symbol].is_undefined());
  EXPECT_EQ(image->symbols()[relocations[1].symbol].section, image->section(".bss")->index);
  EXPECT_EQ(relocations[1].addend, 12);
}

TEST(Writer, LocalSymbolsComeFirst) {
  auto image = Image::parse(object(Kind::relocatable), "test.o");
  ASSERT_TRUE(image.ok());
  bool global_seen = false;
  for (const Symbol& symbol : image->symbols()) {
    if (symbol.index == 0) continue;
    if (symbol.bind != STB_LOCAL) global_seen = true;
    EXPECT_TRUE(!global_seen || symbol.bind != STB_LOCAL) << symbol.name;
  }
  EXPECT_TRUE(global_seen);
}

TEST(Writer, AnExecutableIsFoundByAddress) {
  auto image = Image::parse(object(Kind::executable), "test");
  ASSERT_TRUE(image.ok()) << image.error().text();
  EXPECT_EQ(image->kind(), Kind::executable);
  auto bytes = image->at_address(0x1005, 1);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(*bytes->read<uint8_t>(0), 0xc3);
  EXPECT_FALSE(image->at_address(0x1006, 1).has_value());
}

}  // namespace
}  // namespace livecare::elf
