#include "engine/control.h"

#include <gtest/gtest.h>

namespace livecare::engine {
namespace {

Control sample() {
  Control control;
  control.state = State::live;
  control.unwinder_deregister = 0x7000;
  control.transaction = 42;
  control.transaction_objects = 2;
  control.replaces = 0x9000;
  control.region = {0x10000, 0x8000};
  control.image = 0x11000;
  control.text = {0x11000, 0x1000};
  control.rodata = {0x12000, 0x1000};
  control.data = {0x13000, 0x1000};
  control.eh_frame = 0x12100;
  control.eh_frame_size = 0x80;
  control.target_bias = 0x400000;
  control.build_id = "abcd";
  control.soname = "libx.so.1";
  control.patchset = "U1";
  control.level = 3;
  control.cves = {"CVE-2024-1", "CVE-2024-2"};
  control.info = "kpatch-name: x\n";
  control.tls_carrier = "livecare-tls-1";
  control.functions = {{"f", 0x400100, {1, 2, 3, 4, 5}, 0x11010, 0x20, {{0x400100, 0x40}}}};
  control.code = {{"f", 0x10, 0x20}};
  control.kept_data = {{"counter", 0x2000, 8}};
  control.hooks = {{patchfmt::HookWhen::before_undo, "hook", 0x40}};
  return control;
}

TEST(Control, ComesBackAsItWasWritten) {
  Control control = sample();
  auto read = decode_control(encode_control(control), "test");
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(encode_control(*read), encode_control(control));
  EXPECT_EQ(read->functions[0].ranges[0].size, 0x40u);
  EXPECT_EQ(read->cves.size(), 2u);
}

TEST(Control, StateIsAWordOfItsOwnOutsideTheChecksum) {
  Bytes bytes = encode_control(sample());
  store_le(bytes, control_state_offset, static_cast<uint32_t>(State::undoing));
  store_le(bytes, control_unwinder_offset, uint64_t{0});
  auto read = decode_control(bytes, "test");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->state, State::undoing);
  EXPECT_EQ(read->unwinder_deregister, 0u);
}

TEST(Control, EveryDamagedByteOfTheBodyIsSeen) {
  Bytes bytes = encode_control(sample());
  for (size_t at = control_body_offset; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= 0x10;
    EXPECT_FALSE(decode_control(damaged, "test").ok()) << at;
  }
}

TEST(Control, TruncatedAtAnyByteIsAnError) {
  Bytes bytes = encode_control(sample());
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_control(ByteView(bytes.data(), size), "test").ok()) << size;
}

TEST(Control, AnotherVersionIsNamed) {
  Bytes bytes = encode_control(sample());
  store_le(bytes, 8, uint32_t{77});
  auto read = decode_control(bytes, "process 1");
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().text().find("version 77"), std::string::npos);
}

TEST(Control, FunctionOutsideTheTextIsRefused) {
  Control control = sample();
  control.functions[0].new_address = 0x20000;
  EXPECT_FALSE(decode_control(encode_control(control), "test").ok());
}

}  // namespace
}  // namespace livecare::engine
