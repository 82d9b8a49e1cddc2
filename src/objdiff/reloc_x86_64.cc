// Source of the widths: System V ABI AMD64 supplement, table 4.9.
#include <elf.h>

#include "objdiff/reloc.h"

#ifndef R_X86_64_CODE_4_GOTPCRELX
#define R_X86_64_CODE_4_GOTPCRELX 43
#endif

namespace livecare::objdiff {
namespace {

constexpr RelocShape absolute(uint8_t width) {
  return {width, ~0u, false, false};
}
constexpr RelocShape relative(uint8_t width) {
  return {width, ~0u, true, true};
}

}  // namespace

std::optional<RelocShape> reloc_shape_x86_64(uint32_t type) {
  switch (type) {
    case R_X86_64_NONE:
    case R_X86_64_TLSDESC_CALL:
      return absolute(0);
    case R_X86_64_8:
      return absolute(1);
    case R_X86_64_16:
      return absolute(2);
    case R_X86_64_32:
    case R_X86_64_32S:
    case R_X86_64_GOT32:
    case R_X86_64_DTPOFF32:
    case R_X86_64_TPOFF32:
    case R_X86_64_SIZE32:
      return absolute(4);
    case R_X86_64_64:
    case R_X86_64_DTPMOD64:
    case R_X86_64_DTPOFF64:
    case R_X86_64_TPOFF64:
    case R_X86_64_GOTOFF64:
    case R_X86_64_GOT64:
    case R_X86_64_PLTOFF64:
    case R_X86_64_SIZE64:
      return absolute(8);
    case R_X86_64_PC8:
      return relative(1);
    case R_X86_64_PC16:
      return relative(2);
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX:
    case R_X86_64_CODE_4_GOTPCRELX:
    case R_X86_64_TLSGD:
    case R_X86_64_TLSLD:
    case R_X86_64_GOTTPOFF:
    case R_X86_64_GOTPC32:
    case R_X86_64_GOTPC32_TLSDESC:
      return relative(4);
    case R_X86_64_PC64:
    case R_X86_64_GOTPCREL64:
    case R_X86_64_GOTPC64:
      return RelocShape{8, ~0u, true, false};
    default:
      return std::nullopt;
  }
}

}  // namespace livecare::objdiff
