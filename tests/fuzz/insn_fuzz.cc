// A decoded instruction lies inside its bytes, and its operand inside the instruction.
#include "insn/decode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using livecare::insn::Cpu;
  for (Cpu cpu : {Cpu::x86_64, Cpu::aarch64}) {
    auto instruction = livecare::insn::decode(cpu, livecare::ByteView(data, size));
    if (!instruction) continue;
    if (instruction->length == 0 || instruction->length > size) __builtin_trap();
    if (instruction->pc_relative_offset + instruction->pc_relative_width > instruction->length) {
      __builtin_trap();
    }
  }
  return 0;
}
