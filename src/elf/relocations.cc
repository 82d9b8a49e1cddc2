#include <algorithm>

#include "elf/parts.h"

namespace livecare::elf {

std::optional<unsigned> implicit_addend_width(Machine machine, uint32_t type) {
  if (type == 0) return 0;
  if (machine == Machine::aarch64) {
    switch (type) {
      case R_AARCH64_ABS64:
      case R_AARCH64_PREL64:
      case R_AARCH64_RELATIVE:
      case R_AARCH64_GLOB_DAT:
      case R_AARCH64_JUMP_SLOT:
        return 8;
      case R_AARCH64_ABS32:
      case R_AARCH64_PREL32:
        return 4;
      default:
        return std::nullopt;
    }
  }
  switch (type) {
    case R_X86_64_64:
    case R_X86_64_PC64:
    case R_X86_64_RELATIVE:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
    case R_X86_64_IRELATIVE:
      return 8;
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX:
    case R_X86_64_32:
    case R_X86_64_32S:
      return 4;
    default:
      return std::nullopt;
  }
}

int64_t read_implicit_addend(ByteView place) {
  if (place.size() == 8) return *place.read<int64_t>(0);
  if (place.size() == 4) return *place.read<int32_t>(0);
  return 0;
}

namespace {

// Tables that a linker or loader of sections applies, not the dynamic loader. A finished file has
// such tables only when it was linked with --emit-relocs, and they are not loaded.
bool is_static_table(const Parts& parts, const Section& section) {
  if (section.type != SHT_RELA && section.type != SHT_REL) return false;
  if (section.link >= parts.sections.size() || parts.sections[section.link].type != SHT_SYMTAB) {
    return false;
  }
  return parts.kind == Kind::relocatable || (section.flags & SHF_ALLOC) == 0;
}

Status read_table(Parts& parts, const Section& section) {
  if (section.info == 0 || section.info >= parts.sections.size()) {
    return parts.damaged("{}: relocates section {}, which does not exist", section.name,
                         section.info);
  }
  const Section& target = parts.sections[section.info];
  uint64_t base = parts.kind == Kind::relocatable ? 0 : target.address;
  RelocationTable table{.bytes = section.bytes,
                        .explicit_addend = section.type == SHT_RELA,
                        .symbol_count = parts.symbols.size(),
                        .where = section.name};
  auto place = [&](uint64_t offset, unsigned width) {
    return target.bytes.slice(offset - base, width);
  };
  return read_relocations(parts, table, place, parts.relocations[section.info]);
}

}  // namespace

Status parse_relocations(Parts& parts) {
  parts.relocations.resize(parts.sections.size());
  for (const Section& section : parts.sections) {
    if (is_static_table(parts, section)) TRY_STATUS(read_table(parts, section));
  }
  for (auto& list : parts.relocations) {
    std::stable_sort(list.begin(), list.end(),
                     [](const Relocation& a, const Relocation& b) { return a.offset < b.offset; });
  }
  return ok_status();
}

}  // namespace livecare::elf
