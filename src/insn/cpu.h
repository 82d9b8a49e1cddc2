// One decoder per CPU. To add an architecture: a decode_NAME.cc with a function of this shape, its
// line in decode.cc, a value of Cpu, and a test that compares it with an independent decoder.
#pragma once

#include "insn/decode.h"

namespace livecare::insn {

std::optional<Instruction> decode_x86_64(ByteView code);
std::optional<Instruction> decode_aarch64(ByteView code);

}  // namespace livecare::insn
