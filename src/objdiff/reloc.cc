#include "objdiff/reloc.h"

namespace livecare::objdiff {

std::optional<RelocShape> reloc_shape(elf::Machine machine, uint32_t type) {
  switch (machine) {
    case elf::Machine::x86_64:
      return reloc_shape_x86_64(type);
    case elf::Machine::aarch64:
      return reloc_shape_aarch64(type);
  }
  return std::nullopt;
}

}  // namespace livecare::objdiff
