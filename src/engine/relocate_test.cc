#include "engine/relocate.h"

#include <gtest/gtest.h>

namespace livecare::engine {
namespace {

using patchfmt::RelocationKind;

patchfmt::Object one_word(RelocationKind kind, int64_t addend) {
  patchfmt::Object object;
  object.soname = "libx.so";
  object.image_size = 0x2000;
  object.text = {0, 0x100, Bytes(0x10)};
  object.data = {0x1000, 0x100, {}};
  object.symbols.push_back({patchfmt::SymbolKind::import, "thing"});
  object.relocations.push_back({kind, 8, 0, addend});
  return object;
}

uint64_t word(const RelocatedImage& image) {
  return *ByteView(image.text).read<uint64_t>(8);
}

TEST(Relocate, EveryKindComputesItsWord) {
  SymbolValue value{0x12345678, false};
  auto absolute = relocate(one_word(RelocationKind::absolute64, 4), 0x10000000, {value});
  EXPECT_EQ(word(*absolute), 0x1234567cu);
  auto relative = relocate(one_word(RelocationKind::pc32, -4), 0x10000000, {value});
  EXPECT_EQ(word(*relative), 0x12345678u - 4 - 0x10000008);
  auto wide = relocate(one_word(RelocationKind::pc64, 0), 0x12345678, {value});
  EXPECT_EQ(static_cast<int64_t>(word(*wide)), -8);
}

TEST(Relocate, ThreadLocalKinds) {
  SymbolValue value{
      .is_tls = true, .tls_module = 5, .tls_offset = 16, .has_tp_offset = true, .tp_offset = -64};
  EXPECT_EQ(word(*relocate(one_word(RelocationKind::tls_module64, 0), 0, {value})), 5u);
  EXPECT_EQ(word(*relocate(one_word(RelocationKind::tls_offset64, 1), 0, {value})), 17u);
  EXPECT_EQ(
      static_cast<int64_t>(word(*relocate(one_word(RelocationKind::tp_offset64, 0), 0, {value}))),
      -64);
  value.has_tp_offset = false;
  auto dynamic = relocate(one_word(RelocationKind::tp_offset64, 0), 0, {value});
  ASSERT_FALSE(dynamic.ok());
  EXPECT_NE(dynamic.error().text().find("'thing'"), std::string::npos);
}

TEST(Relocate, NewThreadLocalFromTheBaseOfTheTargetsBlock) {
  patchfmt::Object object = one_word(RelocationKind::tls_offset32, 4);
  object.symbols[0].kind = patchfmt::SymbolKind::new_tls;
  object.symbols.push_back({patchfmt::SymbolKind::target_tls, "block"});
  SymbolValue fresh{
      .is_tls = true, .tls_module = 9, .tls_offset = 16, .has_tp_offset = true, .tp_offset = -500};
  SymbolValue own{
      .is_tls = true, .tls_module = 2, .tls_offset = 8, .has_tp_offset = true, .tp_offset = -92};
  auto distance = relocate(object, 0, {fresh, own});
  ASSERT_TRUE(distance.ok()) << distance.error().text();
  EXPECT_EQ(static_cast<int32_t>(word(*distance)), -500 - -100 + 4);
  own.has_tp_offset = false;
  auto dynamic = relocate(object, 0, {fresh, own});
  ASSERT_FALSE(dynamic.ok());
  EXPECT_NE(dynamic.error().text().find("LIVECARE_THREAD_LOCAL"), std::string::npos);
}

TEST(Relocate, AddressesInTheNewThreadLocalBlock) {
  patchfmt::Object object = one_word(RelocationKind::absolute64, 4);
  object.new_tls_size = 32;
  object.new_tls_bytes = {1, 2, 3};
  object.relocations[0].offset = object.image_size + 8;
  auto block = relocate_new_tls(object, {{0x1000, false}});
  ASSERT_TRUE(block.ok()) << block.error().text();
  EXPECT_EQ(block->size(), 16u);
  EXPECT_EQ((*block)[2], 3);
  EXPECT_EQ(ByteView(*block).read<uint64_t>(8), 0x1004u);
  auto image = relocate(object, 0, {{0x1000, false}});
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(word(*image), 0u);
  object.relocations[0].offset = object.image_size + 25;
  EXPECT_FALSE(relocate_new_tls(object, {{0x1000, false}}).ok());
}

TEST(Relocate, RefusesWhatDoesNotFit) {
  SymbolValue far{0x7fff'0000'0000, false};
  EXPECT_FALSE(relocate(one_word(RelocationKind::pc32, 0), 0x1000, {far}).ok());
  EXPECT_FALSE(relocate(one_word(RelocationKind::absolute32, 0), 0x1000, {far}).ok());
  EXPECT_FALSE(relocate(one_word(RelocationKind::absolute32s, 0), 0, {{0x8000'0000, false}}).ok());
  EXPECT_TRUE(relocate(one_word(RelocationKind::absolute32, 0), 0, {{0x8000'0000, false}}).ok());
  EXPECT_FALSE(relocate(one_word(RelocationKind::tp_offset64, 0), 0, {far}).ok());
}

TEST(Relocate, AWordInTheZeroTailOfDataIsWritten) {
  patchfmt::Object object = one_word(RelocationKind::absolute64, 0);
  object.relocations[0].offset = 0x10f8;
  auto image = relocate(object, 0, {{7, false}});
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(ByteView(image->data).read<uint64_t>(0xf8), 7u);
  object.relocations[0].offset = 0x10f9;
  EXPECT_FALSE(relocate(object, 0, {{7, false}}).ok());
}

}  // namespace
}  // namespace livecare::engine
