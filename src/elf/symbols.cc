#include "elf/parts.h"

namespace livecare::elf {

Result<uint32_t> resolve_section_index(const Parts& parts, uint16_t raw, uint32_t extended,
                                       std::string_view where) {
  switch (raw) {
    case SHN_ABS:
      return section_absolute;
    case SHN_COMMON:
      return section_common;
    default:
      break;
  }
  if (raw >= SHN_LORESERVE && raw != SHN_XINDEX) return section_unknown;
  uint32_t index = raw == SHN_XINDEX ? extended : raw;
  if (index == section_undefined) return section_undefined;
  if (!parts.has_sections()) return section_unknown;
  if (index >= parts.sections.size()) {
    return parts.damaged("{}: a symbol lies in section {} of {}", where, index,
                         parts.sections.size());
  }
  return index;
}

Result<Symbol> make_symbol(const Parts& parts, const Elf64_Sym& raw, uint32_t index,
                           ByteView strings, std::string_view where) {
  Symbol symbol{.index = index,
                .value = raw.st_value,
                .size = raw.st_size,
                .type = static_cast<uint8_t>(ELF64_ST_TYPE(raw.st_info)),
                .bind = static_cast<uint8_t>(ELF64_ST_BIND(raw.st_info)),
                .visibility = static_cast<uint8_t>(ELF64_ST_VISIBILITY(raw.st_other))};
  if (raw.st_name != 0) {
    auto name = strings.c_string(raw.st_name);
    if (!name) return parts.damaged("{}: symbol {} has no valid name", where, index);
    symbol.name = *name;
  }
  return symbol;
}

namespace {

const Section* find_by_type(const Parts& parts, uint32_t type) {
  for (const Section& section : parts.sections) {
    if (section.type == type) return &section;
  }
  return nullptr;
}

// The table of section numbers that do not fit 16 bits, for one symbol table.
ByteView extended_indices(const Parts& parts, uint32_t symtab) {
  for (const Section& section : parts.sections) {
    if (section.type == SHT_SYMTAB_SHNDX && section.link == symtab) return section.bytes;
  }
  return {};
}

}  // namespace

Status parse_symbols(Parts& parts) {
  const Section* table = find_by_type(parts, SHT_SYMTAB);
  if (table == nullptr) return ok_status();
  if (table->bytes.size() % sizeof(Elf64_Sym) != 0 ||
      table->bytes.size() / sizeof(Elf64_Sym) > symbols_max) {
    return parts.damaged("{}: {} bytes are no symbol table", table->name, table->bytes.size());
  }
  if (table->link >= parts.sections.size()) {
    return parts.damaged("{}: has no string table", table->name);
  }
  ByteView strings = parts.sections[table->link].bytes;
  ByteView extended = extended_indices(parts, table->index);
  std::string_view source_file;
  for (uint64_t i = 0; i < table->bytes.size() / sizeof(Elf64_Sym); i++) {
    auto raw = record<Elf64_Sym>(table->bytes, i * sizeof(Elf64_Sym));
    LIVECARE_ASSERT(raw.has_value());
    TRY(Symbol symbol, make_symbol(parts, *raw, static_cast<uint32_t>(i), strings, table->name));
    uint32_t wide_index = extended.read<uint32_t>(i * sizeof(uint32_t)).value_or(0);
    TRY(symbol.section, resolve_section_index(parts, raw->st_shndx, wide_index, table->name));
    if (symbol.type == STT_FILE) source_file = symbol.name;
    if (symbol.bind == STB_LOCAL) symbol.source_file = source_file;
    if (symbol.type == STT_SECTION && symbol.name.empty() &&
        symbol.section < parts.sections.size()) {
      symbol.name = parts.sections[symbol.section].name;
    }
    parts.symbols.push_back(symbol);
  }
  return ok_status();
}

}  // namespace livecare::elf
