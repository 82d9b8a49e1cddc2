// What the dynamic loader reads: the dynamic section, its symbols, versions and relocations.
//
// Everything but the dynamic section itself is found by address through the PT_LOAD segments, as
// the loader does it, so that a file without section headers (sstrip, an image dumped from memory)
// works as well. Section headers are used for two things only: where the dynamic section is (a
// separate debug file keeps program headers that point at nothing, but marks the section
// SHT_NOBITS), and how many dynamic symbols there are. Without them the count comes from the hash
// tables: DT_HASH states it, DT_GNU_HASH yields the end of the last chain.

#include <algorithm>

#include "elf/parts.h"

namespace livecare::elf {

std::optional<uint64_t> Parts::dynamic_value(int64_t tag) const {
  for (const auto& [key, value] : dynamic) {
    if (key == tag) return value;
  }
  return std::nullopt;
}

std::optional<ByteView> Parts::from_address(uint64_t address) const {
  for (const Segment& segment : segments) {
    if (segment.type != PT_LOAD || address < segment.address) continue;
    uint64_t delta = address - segment.address;
    if (delta >= segment.file_size) continue;
    auto whole = ByteView(bytes).slice(segment.offset, segment.file_size);
    if (!whole) continue;
    return whole->slice(delta, segment.file_size - delta);
  }
  return std::nullopt;
}

std::optional<ByteView> Parts::at_address(uint64_t address, uint64_t size) const {
  auto rest = from_address(address);
  return rest ? rest->slice(0, size) : std::nullopt;
}

namespace {

ByteView dynamic_bytes(const Parts& parts) {
  if (parts.has_sections()) {
    for (const Section& section : parts.sections) {
      if (section.type == SHT_DYNAMIC) return section.bytes;
    }
    return {};
  }
  for (const Segment& segment : parts.segments) {
    if (segment.type != PT_DYNAMIC) continue;
    return ByteView(parts.bytes).slice(segment.offset, segment.file_size).value_or(ByteView());
  }
  return {};
}

// The bytes that a pair of tags (address, size) names.
Result<ByteView> table_of(const Parts& parts, int64_t address_tag, int64_t size_tag,
                          std::string_view what) {
  auto address = parts.dynamic_value(address_tag);
  uint64_t size = parts.dynamic_value(size_tag).value_or(0);
  if (!address || size == 0) return ByteView();
  auto bytes = parts.at_address(*address, size);
  if (!bytes) {
    return parts.damaged("{} ({:#x}+{:#x}) lies outside the loaded file", what, *address, size);
  }
  return *bytes;
}

std::optional<uint64_t> count_by_gnu_hash(ByteView table) {
  auto buckets = table.read<uint32_t>(0);
  auto first_hashed = table.read<uint32_t>(4);
  auto bloom_words = table.read<uint32_t>(8);
  if (!buckets || !first_hashed || !bloom_words) return std::nullopt;
  constexpr uint64_t header_bytes = 16;
  const uint64_t buckets_at = header_bytes + uint64_t{*bloom_words} * 8;
  const uint64_t chains_at = buckets_at + uint64_t{*buckets} * 4;
  uint32_t last = 0;
  for (uint64_t i = 0; i < *buckets; i++) {
    auto start = table.read<uint32_t>(buckets_at + i * 4);
    if (!start) return std::nullopt;
    last = std::max(last, *start);
  }
  if (last < *first_hashed) return *first_hashed;
  for (uint64_t i = last;; i++) {
    auto hash = table.read<uint32_t>(chains_at + (i - *first_hashed) * 4);
    if (!hash) return std::nullopt;
    if (*hash & 1) return i + 1;  // the lowest bit ends a chain
  }
}

Result<uint64_t> dynamic_symbol_count(const Parts& parts) {
  for (const Section& section : parts.sections) {
    if (section.type == SHT_DYNSYM) return section.size / sizeof(Elf64_Sym);
  }
  if (auto address = parts.dynamic_value(DT_HASH)) {
    auto table = parts.at_address(*address, 8);
    if (table) return uint64_t{*table->read<uint32_t>(4)};
  }
  if (auto address = parts.dynamic_value(DT_GNU_HASH)) {
    auto table = parts.from_address(*address);
    auto count = table ? count_by_gnu_hash(*table) : std::nullopt;
    if (count) return *count;
  }
  return parts.damaged("the number of dynamic symbols cannot be told: no valid hash table");
}

class Versions {
 public:
  static Result<Versions> read(const Parts& parts, ByteView strings) {
    Versions versions;
    TRY_STATUS(versions.read_definitions(parts, strings));
    TRY_STATUS(versions.read_needs(parts, strings));
    return versions;
  }

  std::string_view name(uint16_t number) const {
    auto found = names_.find(number & 0x7fff);
    return found == names_.end() ? std::string_view() : found->second;
  }

 private:
  // Walks a chain of records whose next field is relative; step returns it, or an error.
  template <class Step>
  static Status walk(const Parts& parts, int64_t address_tag, int64_t count_tag, Step step) {
    auto address = parts.dynamic_value(address_tag);
    if (!address) return ok_status();
    auto table = parts.from_address(*address);
    if (!table) return parts.damaged("the version table lies outside the loaded file");
    uint64_t count = parts.dynamic_value(count_tag).value_or(0);
    uint64_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
      TRY(uint32_t next, step(*table, at));
      if (next == 0) break;
      at += next;
    }
    return ok_status();
  }

  Status add(const Parts& parts, uint16_t number, ByteView strings, uint32_t name_offset) {
    auto name = strings.c_string(name_offset);
    if (!name) return parts.damaged("symbol version {} has no valid name", number);
    names_[number & 0x7fff] = *name;
    return ok_status();
  }

  Status read_definitions(const Parts& parts, ByteView strings) {
    return walk(parts, DT_VERDEF, DT_VERDEFNUM,
                [&](ByteView table, uint64_t at) -> Result<uint32_t> {
                  auto definition = record<Elf64_Verdef>(table, at);
                  if (!definition) return parts.damaged("the version definitions are cut off");
                  auto name = record<Elf64_Verdaux>(table, at + definition->vd_aux);
                  if (!name) return parts.damaged("the version definitions are cut off");
                  // The base definition names the file, not a version.
                  if ((definition->vd_flags & VER_FLG_BASE) == 0) {
                    TRY_STATUS(add(parts, definition->vd_ndx, strings, name->vda_name));
                  }
                  return definition->vd_next;
                });
  }

  Status read_needs(const Parts& parts, ByteView strings) {
    return walk(parts, DT_VERNEED, DT_VERNEEDNUM,
                [&](ByteView table, uint64_t at) -> Result<uint32_t> {
                  auto need = record<Elf64_Verneed>(table, at);
                  if (!need) return parts.damaged("the version needs are cut off");
                  uint64_t entry_at = at + need->vn_aux;
                  for (unsigned i = 0; i < need->vn_cnt; i++) {
                    auto entry = record<Elf64_Vernaux>(table, entry_at);
                    if (!entry) return parts.damaged("the version needs are cut off");
                    TRY_STATUS(add(parts, entry->vna_other, strings, entry->vna_name));
                    if (entry->vna_next == 0) break;
                    entry_at += entry->vna_next;
                  }
                  return need->vn_next;
                });
  }

  std::unordered_map<uint16_t, std::string_view> names_;
};

Status read_dynamic_symbols(Parts& parts, ByteView strings) {
  auto address = parts.dynamic_value(DT_SYMTAB);
  if (!address) return ok_status();
  TRY(uint64_t count, dynamic_symbol_count(parts));
  if (count > symbols_max) return parts.damaged("claims {} dynamic symbols", count);
  auto table = parts.at_address(*address, count * sizeof(Elf64_Sym));
  if (!table) return parts.damaged("the dynamic symbols lie outside the loaded file");
  ByteView numbers;
  if (auto versym = parts.dynamic_value(DT_VERSYM)) {
    auto bytes = parts.at_address(*versym, count * sizeof(uint16_t));
    if (!bytes) return parts.damaged("the symbol versions lie outside the loaded file");
    numbers = *bytes;
  }
  TRY(Versions versions, Versions::read(parts, strings));
  for (uint64_t i = 0; i < count; i++) {
    auto raw = record<Elf64_Sym>(*table, i * sizeof(Elf64_Sym));
    LIVECARE_ASSERT(raw.has_value());
    TRY(Symbol symbol,
        make_symbol(parts, *raw, static_cast<uint32_t>(i), strings, "dynamic symbols"));
    TRY(symbol.section, resolve_section_index(parts, raw->st_shndx, 0, "dynamic symbols"));
    uint16_t number = numbers.read<uint16_t>(i * sizeof(uint16_t)).value_or(0);
    symbol.version = versions.name(number);
    symbol.version_hidden = (number & 0x8000) != 0 && !symbol.is_undefined();
    parts.dynamic_symbols.push_back(symbol);
  }
  return ok_status();
}

Status add_table(Parts& parts, ByteView bytes, bool explicit_addend, std::string_view where) {
  RelocationTable table{.bytes = bytes,
                        .explicit_addend = explicit_addend,
                        .symbol_count = parts.dynamic_symbols.size(),
                        .where = where};
  auto place = [&](uint64_t address, unsigned width) { return parts.at_address(address, width); };
  return read_relocations(parts, table, place, parts.dynamic_relocations);
}

// DT_RELR: an address to relocate, then bitmaps of the 63 words that follow; see the generic ABI,
// "Relative relocation table". The addend is the word in place.
Status add_relative(Parts& parts, ByteView table) {
  const uint32_t type = parts.machine == Machine::x86_64 ? R_X86_64_RELATIVE : R_AARCH64_RELATIVE;
  uint64_t next = 0;
  auto add = [&](uint64_t address) -> Status {
    auto word = parts.at_address(address, 8);
    if (!word) return parts.damaged("DT_RELR names {:#x}, outside the loaded file", address);
    parts.dynamic_relocations.push_back(
        {.offset = address, .type = type, .symbol = 0, .addend = *word->read<int64_t>(0)});
    return ok_status();
  };
  for (uint64_t at = 0; at + 8 <= table.size(); at += 8) {
    uint64_t entry = *table.read<uint64_t>(at);
    if ((entry & 1) == 0) {
      TRY_STATUS(add(entry));
      next = entry + 8;
      continue;
    }
    for (unsigned bit = 1; bit < 64; bit++) {
      if ((entry >> bit) & 1) TRY_STATUS(add(next + (bit - 1) * 8));
    }
    next += 63 * 8;
  }
  return ok_status();
}

// A static executable has no dynamic section, but relocations for its ifuncs.
Status read_static_ifuncs(Parts& parts) {
  for (const Section& section : parts.sections) {
    if (section.type == SHT_RELA && (section.flags & SHF_ALLOC) != 0) {
      TRY_STATUS(add_table(parts, section.bytes, true, section.name));
    }
  }
  return ok_status();
}

Status read_dynamic_relocations(Parts& parts) {
  TRY(ByteView rela, table_of(parts, DT_RELA, DT_RELASZ, "DT_RELA"));
  TRY(ByteView rel, table_of(parts, DT_REL, DT_RELSZ, "DT_REL"));
  TRY(ByteView relr, table_of(parts, DT_RELR, DT_RELRSZ, "DT_RELR"));
  TRY(ByteView plt, table_of(parts, DT_JMPREL, DT_PLTRELSZ, "DT_JMPREL"));
  bool plt_is_rela = parts.dynamic_value(DT_PLTREL).value_or(DT_RELA) == DT_RELA;
  TRY_STATUS(add_table(parts, rela, true, "DT_RELA"));
  TRY_STATUS(add_table(parts, rel, false, "DT_REL"));
  TRY_STATUS(add_relative(parts, relr));
  // Some linkers count the PLT's relocations into DT_RELASZ as well.
  ByteView outer = plt_is_rela ? rela : rel;
  bool counted = !plt.empty() && plt.begin() >= outer.begin() && plt.end() <= outer.end();
  return counted ? ok_status() : add_table(parts, plt, plt_is_rela, "DT_JMPREL");
}

Status read_names(Parts& parts, ByteView strings) {
  for (const auto& [tag, value] : parts.dynamic) {
    if (tag != DT_SONAME && tag != DT_NEEDED) continue;
    auto name = strings.c_string(value);
    if (!name) return parts.damaged("the dynamic section holds an invalid name ({:#x})", value);
    if (tag == DT_SONAME) parts.soname = *name;
    if (tag == DT_NEEDED) parts.needed.emplace_back(*name);
  }
  return ok_status();
}

}  // namespace

Status parse_dynamic(Parts& parts) {
  if (parts.kind == Kind::relocatable || parts.kind == Kind::core) return ok_status();
  ByteView table = dynamic_bytes(parts);
  if (table.empty()) return read_static_ifuncs(parts);
  for (uint64_t at = 0;; at += sizeof(Elf64_Dyn)) {
    auto entry = record<Elf64_Dyn>(table, at);
    if (!entry || entry->d_tag == DT_NULL) break;
    parts.dynamic.emplace_back(entry->d_tag, entry->d_un.d_val);
  }
  TRY(ByteView strings, table_of(parts, DT_STRTAB, DT_STRSZ, "DT_STRTAB"));
  TRY_STATUS(read_names(parts, strings));
  TRY_STATUS(read_dynamic_symbols(parts, strings));
  return read_dynamic_relocations(parts);
}

}  // namespace livecare::elf
