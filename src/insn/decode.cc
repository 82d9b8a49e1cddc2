#include "insn/decode.h"

#include "insn/cpu.h"

namespace livecare::insn {

std::optional<Instruction> decode(Cpu cpu, ByteView code) {
  switch (cpu) {
    case Cpu::x86_64:
      return decode_x86_64(code);
    case Cpu::aarch64:
      return decode_aarch64(code);
  }
  return std::nullopt;
}

}  // namespace livecare::insn
