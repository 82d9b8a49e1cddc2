// aarch64 instructions are words; only the few that name a place relative to themselves, or leave
// the straight line, are told apart. Source: Arm Architecture Reference Manual, C4 (A64 instruction
// set encoding).
#include "insn/cpu.h"

namespace livecare::insn {
namespace {

constexpr uint8_t word_bytes = 4;

struct Field {
  unsigned low;
  unsigned bits;
};

int64_t signed_field(uint32_t word, Field field) {
  const uint64_t value = (word >> field.low) & ((uint64_t{1} << field.bits) - 1);
  const unsigned unused_bits = 64 - field.bits;
  return static_cast<int64_t>(value << unused_bits) >> unused_bits;
}

// Targets count from the instruction itself; displacement counts from its end.
Instruction relative(Flow flow, int64_t from_start) {
  return {.length = word_bytes,
          .flow = flow,
          .pc_relative_offset = 0,
          .pc_relative_width = word_bytes,
          .displacement = from_start - word_bytes};
}

Instruction plain(Flow flow) {
  return {.length = word_bytes, .flow = flow};
}

int64_t address_field(uint32_t word) {
  return signed_field(word, {5, 19}) * 4 + static_cast<int64_t>((word >> 29) & 3);
}

std::optional<Instruction> decode_branch(uint32_t word) {
  if ((word & 0xfc00'0000) == 0x1400'0000) {
    return relative(Flow::jump, signed_field(word, {0, 26}) * 4);
  }
  if ((word & 0xfc00'0000) == 0x9400'0000) {
    return relative(Flow::call, signed_field(word, {0, 26}) * 4);
  }
  bool conditional = (word & 0xff00'0000) == 0x5400'0000;     // b.cond, bc.cond
  bool compare_branch = (word & 0x7e00'0000) == 0x3400'0000;  // cbz, cbnz
  if (conditional || compare_branch) {
    return relative(Flow::conditional_jump, signed_field(word, {5, 19}) * 4);
  }
  if ((word & 0x7e00'0000) == 0x3600'0000) {  // tbz, tbnz
    return relative(Flow::conditional_jump, signed_field(word, {5, 14}) * 4);
  }
  return std::nullopt;
}

std::optional<Instruction> decode_register_branch(uint32_t word) {
  if ((word & 0xfe00'0000) != 0xd600'0000) return std::nullopt;
  switch ((word >> 21) & 0xf) {
    case 0:
    case 8:
      return plain(Flow::indirect_jump);  // br, braa, brab
    case 1:
    case 9:
      return plain(Flow::indirect_call);  // blr, blraa, blrab
    case 2:
    case 4:
    case 5:
      return plain(Flow::ret);  // ret, eret, drps
    default:
      return std::nullopt;
  }
}

std::optional<Instruction> decode_address(uint32_t word) {
  if ((word & 0x9f00'0000) == 0x1000'0000) return relative(Flow::next, address_field(word));  // adr
  if ((word & 0x9f00'0000) == 0x9000'0000) {  // adrp
    Instruction result = relative(Flow::next, 0);
    result.displacement = address_field(word) * 4096;
    result.page_relative = true;
    return result;
  }
  if ((word & 0x3b00'0000) == 0x1800'0000) {  // ldr literal, ldrsw, prfm; general and vector
    return relative(Flow::next, signed_field(word, {5, 19}) * 4);
  }
  return std::nullopt;
}

std::optional<Instruction> decode_exception(uint32_t word) {
  if ((word & 0xff00'0000) != 0xd400'0000) return std::nullopt;
  bool is_svc = (word & 0xffe0'001f) == 0xd400'0001;
  return plain(is_svc ? Flow::syscall : Flow::trap);
}

bool is_unallocated(uint32_t word) {
  const unsigned group = (word >> 25) & 0xf;
  bool reserved = group == 0 && (word >> 31) == 0 && (word >> 16) != 0;
  return group == 1 || group == 3 || reserved;
}

}  // namespace

std::optional<Instruction> decode_aarch64(ByteView code) {
  auto word = code.read<uint32_t>(0);
  if (!word || is_unallocated(*word)) return std::nullopt;
  if ((*word >> 16) == 0) return plain(Flow::trap);  // udf
  for (auto part : {decode_branch, decode_register_branch, decode_address, decode_exception}) {
    if (auto found = part(*word)) return found;
  }
  Instruction result = plain(Flow::next);
  result.is_nop = *word == 0xd503'201f;
  result.is_endbr = (*word & 0xffff'ff3f) == 0xd503'241f;  // bti, bti c, bti j, bti jc
  return result;
}

}  // namespace livecare::insn
