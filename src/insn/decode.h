// Instruction lengths and PC-relative operands: what is needed to walk code, to mask operands and
// to know that a jump written over a function's entry ends where an instruction ends.
// One table per CPU behind this header (decode_x86_64.cc, decode_aarch64.cc). Pure, thread-safe.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace livecare::insn {

enum class Cpu { x86_64, aarch64 };

enum class Flow {
  next,
  jump,
  conditional_jump,
  call,
  indirect_jump,
  indirect_call,
  ret,
  trap,
  syscall
};

struct Instruction {
  uint8_t length = 0;  // bytes
  Flow flow = Flow::next;
  // Place and width of a PC-relative operand inside the instruction; width 0: none.
  uint8_t pc_relative_offset = 0;
  uint8_t pc_relative_width = 0;  // bytes
  int64_t displacement = 0;       // target = address of the instruction + length + displacement
  // aarch64 adrp: displacement counts from the page (4096 bytes) that holds the instruction, and
  // the target is the start of a page: target = (address & ~0xfff) + displacement.
  bool page_relative = false;
  bool is_endbr = false;  // endbr64 / bti
  bool is_nop = false;
};

// Empty optional: not a valid instruction, or it runs past the end of code.
std::optional<Instruction> decode(Cpu cpu, ByteView code);

}  // namespace livecare::insn
