#include "objdiff/code.h"

namespace livecare::objdiff {
namespace {

constexpr int8_t x86_64_arguments[] = {7, 6, 2, 1, 8, 9};  // rdi rsi rdx rcx r8 r9
constexpr int8_t aarch64_arguments[] = {0, 1, 2, 3, 4, 5, 6, 7};

}  // namespace

std::optional<CodeInstruction> decode_code(elf::Machine machine, ByteView code, uint32_t offset) {
  switch (machine) {
    case elf::Machine::x86_64:
      return decode_code_x86_64(code, offset);
    case elf::Machine::aarch64:
      return decode_code_aarch64(code, offset);
  }
  return std::nullopt;
}

ArgumentRegisters argument_registers(elf::Machine machine) {
  if (machine == elf::Machine::x86_64) return {x86_64_arguments, 6};
  return {aarch64_arguments, 8};
}

RegisterSet preserved_registers(elf::Machine machine) {
  if (machine == elf::Machine::x86_64) return 1u << 3 | 1u << 5 | 0xfu << 12;  // rbx rbp r12-r15
  return 0x3ffu << 19;                                                         // x19-x28
}

int64_t relative_target(elf::Machine machine, const CodeInstruction& instruction) {
  int64_t base = instruction.offset;
  if (machine == elf::Machine::x86_64) base += instruction.length;
  return base + instruction.displacement;
}

bool is_code_padding(elf::Machine machine, ByteView code) {
  uint32_t at = 0;
  while (at < code.size()) {
    if (code.data()[at] == 0 || (machine == elf::Machine::x86_64 && code.data()[at] == 0xcc)) {
      at++;
      continue;
    }
    auto plain =
        insn::decode(machine == elf::Machine::x86_64 ? insn::Cpu::x86_64 : insn::Cpu::aarch64,
                     *code.slice(at, code.size() - at));
    if (!plain || !plain->is_nop) return false;
    at += plain->length;
  }
  return true;
}

}  // namespace livecare::objdiff
