// What the differ has to know of one instruction: more than insn/decode.h gives, because a changed
// immediate is only line noise if it can be followed into a call. One file per CPU behind this.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "elf/image.h"
#include "insn/decode.h"

namespace livecare::objdiff {

using RegisterSet = uint32_t;  // bit n: general purpose register n, all widths of it
inline constexpr RegisterSet all_registers = ~0u;

struct CodeInstruction {
  uint32_t offset = 0;  // in the code that was decoded
  uint8_t length = 0;
  insn::Flow flow = insn::Flow::next;

  // A field whose value counts from the end (x86-64) or start (aarch64) of the instruction.
  uint8_t relative_offset = 0;
  uint8_t relative_width = 0;  // 0: none
  uint32_t relative_mask = ~0u;
  int64_t displacement = 0;  // from the end of the instruction on x86-64, its start on aarch64
  // Bytes that a memory operand with a fixed address reads or writes; 0: the address itself is
  // taken, or an index is added.
  uint16_t access_size = 0;

  uint8_t immediate_offset = 0;
  uint8_t immediate_width = 0;  // 0: none
  int64_t immediate = 0;
  // `mov $imm, register`, or `push $imm`, or `mov $imm, disp(stack pointer)`.
  int8_t moves_to_register = -1;
  bool pushes_immediate = false;
  bool stores_to_stack = false;
  int64_t stack_offset = 0;  // of stores_to_stack

  RegisterSet reads = 0;
  RegisterSet writes = 0;
  bool touches_memory = false;  // other than through a fixed address
  bool moves_stack_pointer = false;
  int8_t copies_register = -1;  // `mov register, other register`: the source
  int8_t pops_register = -1;    // `pop register`
};

// Empty optional: not an instruction that can be decoded.
std::optional<CodeInstruction> decode_code(elf::Machine machine, ByteView code, uint32_t offset);
std::optional<CodeInstruction> decode_code_x86_64(ByteView code, uint32_t offset);
std::optional<CodeInstruction> decode_code_aarch64(ByteView code, uint32_t offset);

// Register numbers that carry integer arguments, in order; count is 6 or 8.
struct ArgumentRegisters {
  const int8_t* numbers;
  uint32_t count;
};
ArgumentRegisters argument_registers(elf::Machine machine);
// Registers that a called function gives back as they were.
RegisterSet preserved_registers(elf::Machine machine);

// Where the relative field of an instruction points, in the code that was decoded.
int64_t relative_target(elf::Machine machine, const CodeInstruction& instruction);

// True when every byte is padding between functions (nop, int3, zero).
bool is_code_padding(elf::Machine machine, ByteView code);

}  // namespace livecare::objdiff
