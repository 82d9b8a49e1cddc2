// Fixed-width instructions: only branches and the PC-relative loads and address computations are
// told apart; every other instruction counts as one that may read and write any register, so that
// nothing is ever taken for line noise on the strength of a guess.
#include "objdiff/code.h"

namespace livecare::objdiff {
namespace {

int64_t sign_extend(uint64_t value, unsigned bits) {
  uint64_t sign = uint64_t{1} << (bits - 1);
  return static_cast<int64_t>((value ^ sign) - sign);
}

void take_branch(uint32_t word, CodeInstruction& out) {
  if ((word & 0x7c00'0000) == 0x1400'0000) {  // b, bl
    out.flow = (word >> 31) ? insn::Flow::call : insn::Flow::jump;
    out.relative_mask = 0x03ff'ffff;
    out.displacement = sign_extend(word & 0x03ff'ffff, 26) * 4;
  } else if ((word & 0xff00'0010) == 0x5400'0000 || (word & 0x7e00'0000) == 0x3400'0000) {
    out.flow = insn::Flow::conditional_jump;  // b.cond, cbz, cbnz
    out.relative_mask = 0x00ff'ffe0;
    out.displacement = sign_extend((word >> 5) & 0x7ffff, 19) * 4;
  } else if ((word & 0x7e00'0000) == 0x3600'0000) {  // tbz, tbnz
    out.flow = insn::Flow::conditional_jump;
    out.relative_mask = 0x0007'ffe0;
    out.displacement = sign_extend((word >> 5) & 0x3fff, 14) * 4;
  } else {
    return;
  }
  out.relative_width = 4;
}

void take_address(uint32_t word, CodeInstruction& out) {
  if ((word & 0x9f00'0000) == 0x1000'0000) {  // adr
    out.relative_mask = 0x60ff'ffe0;
    out.displacement = sign_extend(((word >> 5) & 0x7ffff) << 2 | ((word >> 29) & 3), 21);
  } else if ((word & 0x3b00'0000) == 0x1800'0000) {  // ldr literal
    out.relative_mask = 0x00ff'ffe0;
    out.displacement = sign_extend((word >> 5) & 0x7ffff, 19) * 4;
  } else {
    return;
  }
  out.relative_width = 4;
}

}  // namespace

std::optional<CodeInstruction> decode_code_aarch64(ByteView code, uint32_t offset) {
  auto word = code.read<uint32_t>(offset);
  if (!word || offset % 4 != 0) return std::nullopt;
  CodeInstruction out;
  out.offset = offset;
  out.length = 4;
  out.reads = out.writes = all_registers;
  out.touches_memory = true;
  take_branch(*word, out);
  if (out.relative_width == 0) take_address(*word, out);
  if ((*word & 0xffff'fc1f) == 0xd65f'0000) out.flow = insn::Flow::ret;
  if ((*word & 0xffff'fc1f) == 0xd61f'0000) out.flow = insn::Flow::indirect_jump;
  if ((*word & 0xffff'fc1f) == 0xd63f'0000) out.flow = insn::Flow::indirect_call;
  return out;
}

}  // namespace livecare::objdiff
