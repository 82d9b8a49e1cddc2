// What a relocation type does to the bytes it applies to: one table per CPU.
// To add an architecture: write reloc_CPU.cc and code_CPU.cc, and name both in reloc.cc / code.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "elf/image.h"

namespace livecare::objdiff {

struct RelocShape {
  uint8_t width = 0;    // bytes that the field spans
  uint32_t mask = ~0u;  // bits of the (at most four) bytes that belong to the field; ~0: all
  bool pc_relative = false;
  bool end_relative = false;  // a PC-relative field counts from the instruction's end (x86-64)
};

// Empty for a type that this CPU's table does not know.
std::optional<RelocShape> reloc_shape(elf::Machine machine, uint32_t type);
std::optional<RelocShape> reloc_shape_x86_64(uint32_t type);
std::optional<RelocShape> reloc_shape_aarch64(uint32_t type);

}  // namespace livecare::objdiff
