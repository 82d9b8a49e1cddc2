// Source of the fields: ELF for the Arm 64-bit Architecture (AAELF64), section 5.7.
#include <elf.h>

#include "objdiff/reloc.h"

namespace livecare::objdiff {
namespace {

constexpr uint32_t field_branch26 = 0x03ff'ffff;
constexpr uint32_t field_branch19 = 0x00ff'ffe0;
constexpr uint32_t field_branch14 = 0x0007'ffe0;
constexpr uint32_t field_adr = 0x60ff'ffe0;
constexpr uint32_t field_imm12 = 0x003f'fc00;
constexpr uint32_t field_imm16 = 0x001f'ffe0;

constexpr RelocShape instruction(uint32_t mask, bool pc_relative) {
  return {4, mask, pc_relative, false};
}

}  // namespace

std::optional<RelocShape> reloc_shape_aarch64(uint32_t type) {
  switch (type) {
    case R_AARCH64_NONE:
    case R_AARCH64_TLSDESC_CALL:
      return RelocShape{0, ~0u, false, false};
    case R_AARCH64_ABS16:
      return RelocShape{2, ~0u, false, false};
    case R_AARCH64_ABS32:
      return RelocShape{4, ~0u, false, false};
    case R_AARCH64_ABS64:
      return RelocShape{8, ~0u, false, false};
    case R_AARCH64_PREL16:
      return RelocShape{2, ~0u, true, false};
    case R_AARCH64_PREL32:
      return RelocShape{4, ~0u, true, false};
    case R_AARCH64_PREL64:
      return RelocShape{8, ~0u, true, false};
    case R_AARCH64_CALL26:
    case R_AARCH64_JUMP26:
      return instruction(field_branch26, true);
    case R_AARCH64_CONDBR19:
    case R_AARCH64_LD_PREL_LO19:
      return instruction(field_branch19, true);
    case R_AARCH64_TSTBR14:
      return instruction(field_branch14, true);
    case R_AARCH64_ADR_PREL_LO21:
    case R_AARCH64_ADR_PREL_PG_HI21:
    case R_AARCH64_ADR_PREL_PG_HI21_NC:
    case R_AARCH64_ADR_GOT_PAGE:
    case R_AARCH64_TLSGD_ADR_PAGE21:
    case R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21:
    case R_AARCH64_TLSDESC_ADR_PAGE21:
      return instruction(field_adr, true);
    case R_AARCH64_ADD_ABS_LO12_NC:
    case R_AARCH64_LDST8_ABS_LO12_NC:
    case R_AARCH64_LDST16_ABS_LO12_NC:
    case R_AARCH64_LDST32_ABS_LO12_NC:
    case R_AARCH64_LDST64_ABS_LO12_NC:
    case R_AARCH64_LDST128_ABS_LO12_NC:
    case R_AARCH64_LD64_GOT_LO12_NC:
    case R_AARCH64_LD64_GOTPAGE_LO15:
    case R_AARCH64_TLSGD_ADD_LO12_NC:
    case R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC:
    case R_AARCH64_TLSLE_ADD_TPREL_HI12:
    case R_AARCH64_TLSLE_ADD_TPREL_LO12:
    case R_AARCH64_TLSLE_ADD_TPREL_LO12_NC:
    case R_AARCH64_TLSDESC_LD64_LO12:
    case R_AARCH64_TLSDESC_ADD_LO12:
      return instruction(field_imm12, false);
    case R_AARCH64_MOVW_UABS_G0:
    case R_AARCH64_MOVW_UABS_G0_NC:
    case R_AARCH64_MOVW_UABS_G1:
    case R_AARCH64_MOVW_UABS_G1_NC:
    case R_AARCH64_MOVW_UABS_G2:
    case R_AARCH64_MOVW_UABS_G2_NC:
    case R_AARCH64_MOVW_UABS_G3:
      return instruction(field_imm16, false);
    default:
      return std::nullopt;
  }
}

}  // namespace livecare::objdiff
