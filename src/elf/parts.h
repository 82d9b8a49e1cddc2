// What the parsing steps of an Image fill in, one step per file: sections.cc, symbols.cc,
// relocations.cc, dynamic.cc. Private to the room; everybody else includes elf/image.h.
#pragma once

#include <elf.h>

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "elf/image.h"

namespace livecare::elf {

struct Parts {
  Bytes bytes;
  std::string name;
  Kind kind = Kind::relocatable;
  Machine machine = Machine::x86_64;
  uint64_t entry = 0;

  std::vector<Section> sections;
  std::unordered_map<std::string_view, uint32_t> section_by_name;
  std::vector<Segment> segments;
  std::vector<Symbol> symbols;
  std::vector<Symbol> dynamic_symbols;
  std::vector<std::vector<Relocation>> relocations;  // by number of the section they apply to
  std::vector<Relocation> dynamic_relocations;
  std::vector<std::pair<int64_t, uint64_t>> dynamic;  // the dynamic section up to DT_NULL
  std::string build_id;
  std::string soname;
  std::vector<std::string> needed;

  // A file without section headers still has segments; a symbol's section is then unknown.
  bool has_sections() const { return sections.size() > 1; }
  std::optional<uint64_t> dynamic_value(int64_t tag) const;
  std::optional<ByteView> at_address(uint64_t address, uint64_t size) const;
  // All file-backed bytes from address to the end of its segment.
  std::optional<ByteView> from_address(uint64_t address) const;

  template <class... Args>
  Error damaged(fmt::format_string<Args...> format, Args&&... args) const {
    return make_error(ErrorCode::invalid_input, name, format, std::forward<Args>(args)...);
  }
};

// The steps, in the order in which they must run.
Status parse_headers(Parts& parts);      // header, segments, sections, groups
Status parse_symbols(Parts& parts);      // .symtab
Status parse_relocations(Parts& parts);  // of sections
Status parse_dynamic(Parts& parts);      // everything the loader reads
Status parse_notes(Parts& parts);        // build-ID

// One record of a table whose entries are those of <elf.h>.
template <class T>
std::optional<T> record(ByteView table, uint64_t offset) {
  static_assert(std::is_trivially_copyable_v<T>);
  auto part = table.slice(offset, sizeof(T));
  if (!part) return std::nullopt;
  T value;
  std::memcpy(&value, part->data(), sizeof(T));
  return value;
}

// Everything of a symbol but its section, version and source file. where: for messages.
Result<Symbol> make_symbol(const Parts& parts, const Elf64_Sym& raw, uint32_t index,
                           ByteView strings, std::string_view where);
// SHN_* to the constants of image.h; extended is the entry of SHT_SYMTAB_SHNDX.
Result<uint32_t> resolve_section_index(const Parts& parts, uint16_t raw, uint32_t extended,
                                       std::string_view where);

// The records of one SHT_RELA or SHT_REL table. place(offset, width) gives the bytes an implicit
// addend (SHT_REL) is read from.
struct RelocationTable {
  ByteView bytes;
  bool explicit_addend = true;
  uint64_t symbol_count = 0;
  std::string_view where;
};
template <class Place>
Status read_relocations(const Parts& parts, const RelocationTable& table, Place place,
                        std::vector<Relocation>& out);
// Width of the field that a relocation of a SHT_REL table patches; 0: it has none; empty: unknown.
std::optional<unsigned> implicit_addend_width(Machine machine, uint32_t type);
int64_t read_implicit_addend(ByteView place);

template <class Place>
Status read_relocations(const Parts& parts, const RelocationTable& table, Place place,
                        std::vector<Relocation>& out) {
  const uint64_t record_size = table.explicit_addend ? sizeof(Elf64_Rela) : sizeof(Elf64_Rel);
  if (table.bytes.size() % record_size != 0) {
    return parts.damaged("{}: {} bytes are no whole number of relocations", table.where,
                         table.bytes.size());
  }
  out.reserve(out.size() + table.bytes.size() / record_size);
  for (uint64_t at = 0; at < table.bytes.size(); at += record_size) {
    Relocation relocation;
    auto raw = record<Elf64_Rel>(table.bytes, at);
    LIVECARE_ASSERT(raw.has_value());
    relocation.offset = raw->r_offset;
    relocation.type = ELF64_R_TYPE(raw->r_info);
    relocation.symbol = static_cast<uint32_t>(ELF64_R_SYM(raw->r_info));
    if (relocation.symbol != 0 && relocation.symbol >= table.symbol_count) {
      return parts.damaged("{}: relocation at {:#x} names symbol {} of {}", table.where,
                           relocation.offset, relocation.symbol, table.symbol_count);
    }
    if (table.explicit_addend) {
      relocation.addend = *table.bytes.read<int64_t>(at + offsetof(Elf64_Rela, r_addend));
    } else {
      auto width = implicit_addend_width(parts.machine, relocation.type);
      if (!width) {
        return parts.damaged("{}: relocation type {} without an addend is not known here",
                             table.where, relocation.type);
      }
      std::optional<ByteView> field = place(relocation.offset, *width);
      if (!field) {
        return parts.damaged("{}: relocation at {:#x} lies outside of what it applies to",
                             table.where, relocation.offset);
      }
      relocation.addend = read_implicit_addend(*field);
    }
    out.push_back(relocation);
  }
  return ok_status();
}

}  // namespace livecare::elf
