#include "insn/decode.h"

#include <gtest/gtest.h>
#include <Zydis/Zydis.h>

#include <random>

#include "base/file_system.h"
#include "base/process.h"
#include "elf/image.h"

namespace livecare::insn {
namespace {

// Zydis' opinion of the bytes; length 0: invalid.
struct Opinion {
  unsigned length = 0;
  ZydisDecodedInstruction raw;
};

class Judge {
 public:
  Judge() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }

  Opinion ask(ByteView code) {
    Opinion opinion;
    ZyanStatus status =
        ZydisDecoderDecodeInstruction(&decoder_, nullptr, code.data(), code.size(), &opinion.raw);
    if (ZYAN_SUCCESS(status)) opinion.length = opinion.raw.length;
    return opinion;
  }

 private:
  ZydisDecoder decoder_;
};

// A processor that was never ours; its encodings clash with AVX.
bool is_knights_corner(const Opinion& opinion) {
  return opinion.length != 0 && (opinion.raw.meta.isa_set == ZYDIS_ISA_SET_KNCJKBR ||
                                 opinion.raw.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX);
}

// Where Zydis sees an operand relative to the program counter: its offset, 0 for none.
unsigned relative_offset(const ZydisDecodedInstruction& raw) {
  if (raw.raw.imm[0].size != 0 && raw.raw.imm[0].is_relative) return raw.raw.imm[0].offset;
  bool has_rip = (raw.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 && raw.raw.modrm.mod == 0 &&
                 raw.raw.modrm.rm == 5 && raw.raw.disp.size == 32;
  return has_rip ? raw.raw.disp.offset : 0;
}

struct Tally {
  uint64_t compared = 0;
  uint64_t both_invalid = 0;
  uint64_t only_we_accept = 0;
};

std::string describe(ByteView code) {
  return to_hex(*code.slice(0, std::min<uint64_t>(code.size(), 15)));
}

// Compares at one place; the length to go on by.
unsigned compare(Judge& judge, ByteView code, Tally& tally) {
  Opinion theirs = judge.ask(code);
  if (is_knights_corner(theirs)) return theirs.length;
  auto ours = decode(Cpu::x86_64, code);
  if (theirs.length == 0) {
    ours ? tally.only_we_accept++ : tally.both_invalid++;
    return 1;
  }
  tally.compared++;
  if (!ours) {
    ADD_FAILURE() << "not decoded: " << describe(code);
    return theirs.length;
  }
  EXPECT_EQ(ours->length, theirs.length) << describe(code);
  EXPECT_EQ(ours->pc_relative_offset, relative_offset(theirs.raw)) << describe(code);
  if (theirs.raw.raw.imm[0].is_relative) {
    EXPECT_EQ(ours->displacement, theirs.raw.raw.imm[0].value.s) << describe(code);
    EXPECT_EQ(ours->pc_relative_width * 8, theirs.raw.raw.imm[0].size) << describe(code);
  } else if (ours->pc_relative_width != 0) {
    EXPECT_EQ(ours->displacement, theirs.raw.raw.disp.value) << describe(code);
  }
  return theirs.length;
}

Flow expected_flow(const ZydisDecodedInstruction& raw) {
  if (raw.mnemonic == ZYDIS_MNEMONIC_XEND || raw.mnemonic == ZYDIS_MNEMONIC_XABORT)
    return Flow::next;
  bool relative = raw.raw.imm[0].is_relative;
  switch (raw.meta.category) {
    case ZYDIS_CATEGORY_CALL:
      return relative ? Flow::call : Flow::indirect_call;
    case ZYDIS_CATEGORY_UNCOND_BR:
      return relative ? Flow::jump : Flow::indirect_jump;
    case ZYDIS_CATEGORY_COND_BR:
      return Flow::conditional_jump;
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_RET:
      return Flow::ret;
    default:
      return Flow::next;
  }
}

// Sweeps the code of a file of the machine from every function that it exports, and the whole
// of .text from its start.
void sweep(const char* path) {
  auto image = elf::Image::open(path);
  ASSERT_TRUE(image.ok()) << image.error().text();
  Judge judge;
  Tally tally;
  auto sweep_bytes = [&](ByteView code) {
    for (uint64_t at = 0; at < code.size() && !testing::Test::HasFailure();) {
      at += compare(judge, *code.slice(at, code.size() - at), tally);
    }
  };
  for (const auto& symbol : image->dynamic_symbols()) {
    if (symbol.type != 2 || symbol.is_undefined()) continue;
    if (auto code = image->at_address(symbol.value, symbol.size)) sweep_bytes(*code);
  }
  sweep_bytes(image->section(".text")->bytes);
  EXPECT_GT(tally.compared, 100'000u);
  printf("%s: %lu instructions agree, %lu bytes both refuse, %lu only Zydis refuses\n", path,
         tally.compared, tally.both_invalid, tally.only_we_accept);
}

TEST(DecodeX86, AgreesWithZydisOnLibc) {
  sweep("/lib/x86_64-linux-gnu/libc.so.6");
}
TEST(DecodeX86, AgreesWithZydisOnLibcrypto) {
  sweep("/usr/lib/x86_64-linux-gnu/libcrypto.so.3");
}
TEST(DecodeX86, AgreesWithZydisOnLibstdcxx) {
  sweep("/usr/lib/x86_64-linux-gnu/libstdc++.so.6");
}

// Bytes that no compiler emits: every opcode of every map behind random prefixes and operands.
TEST(DecodeX86, AgreesWithZydisOnRandomInstructions) {
  const std::vector<Bytes> openings = {{},
                                       {0x66},
                                       {0xf2},
                                       {0xf3},
                                       {0x67},
                                       {0x48},
                                       {0x41},
                                       {0x66, 0x48},
                                       {0x2e},
                                       {0xf0},
                                       {0x0f},
                                       {0x66, 0x0f},
                                       {0xf2, 0x0f},
                                       {0xf3, 0x0f},
                                       {0x48, 0x0f},
                                       {0x0f, 0x38},
                                       {0x66, 0x0f, 0x38},
                                       {0x0f, 0x3a},
                                       {0x66, 0x0f, 0x3a},
                                       {0xc5},
                                       {0xc4, 0xe1},
                                       {0xc4, 0xe2},
                                       {0xc4, 0xe3},
                                       {0x62, 0xf1},
                                       {0x62, 0xf2},
                                       {0x62, 0xf3},
                                       {0x62, 0xf5},
                                       {0x62, 0xf6}};
  std::mt19937 random(20240229);
  Judge judge;
  Tally tally;
  constexpr unsigned rounds = 20'000;
  for (const Bytes& opening : openings) {
    for (unsigned i = 0; i < rounds && !HasFailure(); i++) {
      Bytes code = opening;
      while (code.size() < 20) code.push_back(static_cast<uint8_t>(random()));
      compare(judge, code, tally);
    }
  }
  printf("%lu agree, %lu both refuse, %lu only Zydis refuses\n", tally.compared, tally.both_invalid,
         tally.only_we_accept);
  EXPECT_GT(tally.compared, 200'000u);
}

TEST(DecodeX86, TellsWhereTheFlowGoes) {
  std::mt19937 random(7);
  Judge judge;
  for (unsigned i = 0; i < 300'000 && !HasFailure(); i++) {
    Bytes code;
    if (random() % 4 == 0) code.push_back(0x0f);
    while (code.size() < 20) code.push_back(static_cast<uint8_t>(random()));
    Opinion theirs = judge.ask(code);
    auto ours = decode(Cpu::x86_64, code);
    if (theirs.length == 0 || !ours || is_knights_corner(theirs)) continue;
    Flow flow = ours->flow;
    if (flow == Flow::trap || flow == Flow::syscall) flow = Flow::next;
    EXPECT_EQ(flow, expected_flow(theirs.raw)) << describe(code);
  }
}

struct Case {
  const char* hex;
  unsigned length;
  Flow flow;
};

TEST(DecodeX86, KnowsTheInstructionsThatMatterMost) {
  const Case cases[] = {
      {"f30f1efa", 4, Flow::next},    // endbr64
      {"e8fbffffff", 5, Flow::call},  // call itself
      {"e900000000", 5, Flow::jump},  // jmp next
      {"ff2500000000", 6, Flow::indirect_jump},
      {"ff15f8ffffff", 6, Flow::indirect_call},
      {"c3", 1, Flow::ret},
      {"f3c3", 2, Flow::ret},
      {"0f0b", 2, Flow::trap},
      {"cc", 1, Flow::trap},
      {"0f05", 2, Flow::syscall},
      {"48b80102030405060708", 10, Flow::next},   // movabs
      {"48a10102030405060708", 10, Flow::next},   // moffs
      {"66c7050000000034120000", 9, Flow::next},  // movw $0x1234,0(%rip)
      {"62f17c4858c1", 6, Flow::next},            // vaddps zmm
      {"c5f877", 3, Flow::next},                  // vzeroupper
      {"64488b042528000000", 9, Flow::next},      // mov %fs:0x28,%rax
  };
  for (const Case& one : cases) {
    auto got = decode(Cpu::x86_64, *from_hex(one.hex));
    ASSERT_TRUE(got) << one.hex;
    EXPECT_EQ(got->length, one.length) << one.hex;
    EXPECT_EQ(got->flow, one.flow) << one.hex;
  }
  EXPECT_TRUE(decode(Cpu::x86_64, *from_hex("f30f1efa"))->is_endbr);
  EXPECT_FALSE(decode(Cpu::x86_64, *from_hex("f30f1ec8"))->is_endbr);  // rdsspd
  EXPECT_TRUE(decode(Cpu::x86_64, *from_hex("662e0f1f840000000000"))->is_nop);
  EXPECT_TRUE(decode(Cpu::x86_64, *from_hex("6690"))->is_nop);
  EXPECT_FALSE(decode(Cpu::x86_64, *from_hex("f390"))->is_nop);  // pause
  EXPECT_FALSE(decode(Cpu::x86_64, *from_hex("4190"))->is_nop);  // xchg %eax,%r8d
}

TEST(DecodeX86, RefusesWhatIsCutOff) {
  const Bytes whole = *from_hex("66c70500000000341200");
  for (size_t size = 0; size < 9; size++) {
    EXPECT_FALSE(decode(Cpu::x86_64, ByteView(whole.data(), size))) << size;
  }
  EXPECT_TRUE(decode(Cpu::x86_64, ByteView(whole.data(), 9)));
  EXPECT_FALSE(decode(Cpu::x86_64, Bytes(20, 0x66)));  // prefixes without end
}

// Assembled by clang; the labels say where each operand points.
class DecodeArm : public testing::Test {
 protected:
  Bytes assemble(const std::string& text) {
    auto directory = TemporaryDirectory::make();
    EXPECT_TRUE(directory.ok());
    auto object = directory->path() / "a.o";
    auto built =
        run_checked({.arguments = {"clang-14", "--target=aarch64-linux-gnu", "-march=armv8.5-a",
                                   "-c", "-x", "assembler", "-o", object.string(), "-"},
                     .input = text});
    EXPECT_TRUE(built.ok()) << built.error().text();
    auto image = elf::Image::open(object);
    EXPECT_TRUE(image.ok()) << image.error().text();
    return image->section(".text")->bytes.copy();
  }
};

TEST_F(DecodeArm, FollowsLabels) {
  // Every instruction names `far` at byte 4096 or `near` at byte 0.
  Bytes code = assemble(
      "near: nop\n b far\n bl near\n b.ne far\n cbz x3, near\n cbnz w4, far\n tbz x5, #40, near\n"
      " adr x6, far\n ldr x7, far\n ldrsw x8, far\n ldr q9, far\n .org 4096\nfar: nop\n");
  const Flow flows[] = {Flow::next,
                        Flow::jump,
                        Flow::call,
                        Flow::conditional_jump,
                        Flow::conditional_jump,
                        Flow::conditional_jump,
                        Flow::conditional_jump,
                        Flow::next,
                        Flow::next,
                        Flow::next,
                        Flow::next};
  const int64_t targets[] = {-1, 4096, 0, 4096, 0, 4096, 0, 4096, 4096, 4096, 4096};
  ByteView view(code);
  for (uint64_t i = 0; i < std::size(flows); i++) {
    auto got = decode(Cpu::aarch64, *view.slice(i * 4, 4));
    ASSERT_TRUE(got) << i;
    EXPECT_EQ(got->flow, flows[i]) << i;
    EXPECT_EQ(got->pc_relative_width, targets[i] < 0 ? 0 : 4) << i;
    if (targets[i] >= 0) {
      EXPECT_EQ(static_cast<int64_t>(i * 4 + 4) + got->displacement, targets[i]) << i;
    }
  }
}

TEST_F(DecodeArm, TellsTheRestApart) {
  Bytes code = assemble(
      "bti c\n ret\n br x1\n blr x2\n svc #0\n brk #1\n udf #0\n nop\n add x0, x1, x2\n eret\n");
  const Flow flows[] = {Flow::next,    Flow::ret,  Flow::indirect_jump, Flow::indirect_call,
                        Flow::syscall, Flow::trap, Flow::trap,          Flow::next,
                        Flow::next,    Flow::ret};
  ByteView view(code);
  for (uint64_t i = 0; i < std::size(flows); i++) {
    auto got = decode(Cpu::aarch64, *view.slice(i * 4, 4));
    ASSERT_TRUE(got) << i;
    EXPECT_EQ(got->flow, flows[i]) << i;
    EXPECT_EQ(got->is_endbr, i == 0);
    EXPECT_EQ(got->is_nop, i == 7);
  }
  EXPECT_FALSE(decode(Cpu::aarch64, ByteView(code.data(), 3)));
}

TEST_F(DecodeArm, CountsAdrpFromPages) {
  // adrp x0, #0x3000 (b, immhi:immlo = 3)
  auto got = decode(Cpu::aarch64, *from_hex("000000f0"));
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->page_relative);
  EXPECT_EQ(got->displacement, 0x3000);
}

}  // namespace
}  // namespace livecare::insn
