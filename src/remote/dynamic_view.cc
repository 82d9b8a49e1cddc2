#include "remote/dynamic_view.h"

#include <elf.h>

#include <algorithm>

namespace livecare::remote {

namespace {

constexpr uint64_t entries_max = 1024;
constexpr uint64_t string_table_bytes_max = 64 << 20;
constexpr uint64_t symbols_max = 4'000'000;
constexpr uint64_t relocations_max = 8'000'000;
constexpr uint64_t versions_max = 65536;

const elf::Segment* dynamic_segment(const LoadedObject& object) {
  for (const elf::Segment& segment : object.segments)
    if (segment.type == PT_DYNAMIC) return &segment;
  return nullptr;
}

}  // namespace

DynamicView::DynamicView(const Memory& memory, const LoadedObject& object)
    : memory_(memory), object_(object) {
  const elf::Segment* segment = dynamic_segment(object);
  if (segment == nullptr) return;
  uint64_t size = std::min(segment->memory_size, entries_max * 16);
  Bytes bytes = memory.read_prefix(RemoteAddress(object.bias + segment->address), size);
  ByteView view(bytes);
  for (uint64_t at = 0; at + 16 <= view.size(); at += 16) {
    auto tag = *view.read<int64_t>(at);
    if (tag == DT_NULL) break;
    entries_.emplace_back(tag, *view.read<uint64_t>(at + 8));
  }
  auto table = pointer(DT_STRTAB);
  auto table_size = raw(DT_STRSZ);
  if (table && table_size)
    strings_ = memory.read_prefix(*table, std::min(*table_size, string_table_bytes_max));
}

std::optional<uint64_t> DynamicView::raw(int64_t tag) const {
  for (const auto& [name, value] : entries_)
    if (name == tag) return value;
  return std::nullopt;
}

std::optional<RemoteAddress> DynamicView::pointer(int64_t tag) const {
  auto value = raw(tag);
  if (!value || *value == 0) return std::nullopt;
  RemoteAddress address(*value);
  if (!object_.contains(address)) address = RemoteAddress(object_.bias + *value);
  return address;
}

std::string DynamicView::string_at(uint64_t offset) const {
  auto text = ByteView(strings_).c_string(offset);
  return text ? std::string(*text) : std::string();
}

std::string DynamicView::soname() const {
  auto offset = raw(DT_SONAME);
  return offset ? string_at(*offset) : std::string();
}

std::vector<std::string> DynamicView::needed() const {
  std::vector<std::string> names;
  for (const auto& [tag, value] : entries_)
    if (tag == DT_NEEDED) names.push_back(string_at(value));
  return names;
}

// The table has no length of its own: the last symbol of the last chain.
uint64_t DynamicView::gnu_hash_count(RemoteAddress table) const {
  Bytes header = memory_.read_prefix(table, 16);
  if (header.size() != 16) return 0;
  uint64_t buckets = *ByteView(header).read<uint32_t>(0);
  uint64_t first = *ByteView(header).read<uint32_t>(4);
  uint64_t bloom = *ByteView(header).read<uint32_t>(8);
  if (buckets > symbols_max || bloom > symbols_max) return 0;
  RemoteAddress bucket_at = table + static_cast<int64_t>(16 + bloom * 8);
  Bytes bytes = memory_.read_prefix(bucket_at, buckets * 4);
  uint64_t last = 0;
  for (uint64_t i = 0; i + 4 <= bytes.size(); i += 4)
    last = std::max<uint64_t>(last, *ByteView(bytes).read<uint32_t>(i));
  if (last < first || last > symbols_max) return first;
  RemoteAddress chain = bucket_at + static_cast<int64_t>(buckets * 4 + (last - first) * 4);
  for (; last < symbols_max; ++last, chain = chain + 4) {
    auto hash = memory_.read_value(chain.cast<uint32_t>());
    if (!hash.ok()) return 0;
    if ((*hash & 1) != 0) return last + 1;
  }
  return 0;
}

uint64_t DynamicView::symbol_count() const {
  uint64_t count = 0;
  if (auto table = pointer(DT_HASH)) {
    auto chains = memory_.read_value(RemotePtr<uint32_t>(table->address() + 4));
    if (chains.ok()) count = *chains;
  } else if (auto gnu = pointer(DT_GNU_HASH)) {
    count = gnu_hash_count(*gnu);
  }
  return count <= symbols_max ? count : 0;
}

// Version index -> name; from what the object defines and from what it needs.
std::vector<std::string> DynamicView::version_names() const {
  std::vector<std::string> names;
  auto put = [&](uint16_t index, std::string name) {
    index &= 0x7fff;
    if (names.size() <= index) names.resize(index + size_t{1});
    names[index] = std::move(name);
  };
  auto table = pointer(DT_VERDEF);
  uint64_t count = std::min(raw(DT_VERDEFNUM).value_or(0), versions_max);
  for (uint64_t i = 0; table && i < count; ++i) {
    auto def = memory_.read_value(table->cast<Elf64_Verdef>());
    if (!def.ok()) break;
    auto aux = memory_.read_value(RemotePtr<Elf64_Verdaux>(table->address() + def->vd_aux));
    if (!aux.ok()) break;
    // Index 1 is the object's own name, which is no symbol's version.
    if ((def->vd_flags & VER_FLG_BASE) == 0) put(def->vd_ndx, string_at(aux->vda_name));
    if (def->vd_next == 0) break;
    *table = *table + def->vd_next;
  }
  table = pointer(DT_VERNEED);
  count = std::min(raw(DT_VERNEEDNUM).value_or(0), versions_max);
  for (uint64_t i = 0; table && i < count; ++i) {
    auto need = memory_.read_value(table->cast<Elf64_Verneed>());
    if (!need.ok()) break;
    RemoteAddress at(table->address() + need->vn_aux);
    for (uint16_t j = 0; j < need->vn_cnt; ++j) {
      auto aux = memory_.read_value(at.cast<Elf64_Vernaux>());
      if (!aux.ok()) break;
      put(aux->vna_other, string_at(aux->vna_name));
      at = at + aux->vna_next;
    }
    if (need->vn_next == 0) break;
    *table = *table + need->vn_next;
  }
  return names;
}

std::vector<LoadedSymbol> DynamicView::symbols() const {
  std::vector<LoadedSymbol> symbols;
  auto table = pointer(DT_SYMTAB);
  if (!table) return symbols;
  uint64_t count = symbol_count();
  Bytes bytes = memory_.read_prefix(*table, count * sizeof(Elf64_Sym));
  Bytes version_bytes;
  if (auto versions = pointer(DT_VERSYM)) version_bytes = memory_.read_prefix(*versions, count * 2);
  std::vector<std::string> names = version_names();
  ByteView view(bytes), indexes(version_bytes);
  for (uint64_t i = 0; (i + 1) * sizeof(Elf64_Sym) <= view.size(); ++i) {
    uint64_t at = i * sizeof(Elf64_Sym);
    LoadedSymbol& symbol = symbols.emplace_back();
    symbol.name = string_at(*view.read<uint32_t>(at));
    auto info = *view.read<uint8_t>(at + 4);
    symbol.type = ELF64_ST_TYPE(info);
    symbol.bind = ELF64_ST_BIND(info);
    symbol.visibility = ELF64_ST_VISIBILITY(*view.read<uint8_t>(at + 5));
    symbol.defined = *view.read<uint16_t>(at + 6) != SHN_UNDEF;
    symbol.value = *view.read<uint64_t>(at + 8);
    symbol.size = *view.read<uint64_t>(at + 16);
    auto index = indexes.read<uint16_t>(i * 2);
    if (!index) continue;
    symbol.version_hidden = (*index & 0x8000) != 0;
    uint16_t number = *index & 0x7fff;
    if (number < names.size()) symbol.version = names[number];
  }
  return symbols;
}

void DynamicView::add_relocations(int64_t table, int64_t size,
                                  std::vector<LoadedRelocation>& out) const {
  auto at = pointer(table);
  auto bytes_there = raw(size);
  if (!at || !bytes_there) return;
  Bytes bytes = memory_.read_prefix(*at, std::min(*bytes_there, relocations_max * 24));
  ByteView view(bytes);
  for (uint64_t p = 0; p + 24 <= view.size(); p += 24) {
    LoadedRelocation& relocation = out.emplace_back();
    relocation.offset = *view.read<uint64_t>(p);
    auto info = *view.read<uint64_t>(p + 8);
    relocation.type = static_cast<uint32_t>(info);
    relocation.symbol = static_cast<uint32_t>(info >> 32);
    relocation.addend = *view.read<int64_t>(p + 16);
  }
}

std::vector<LoadedRelocation> DynamicView::relocations() const {
  std::vector<LoadedRelocation> relocations;
  add_relocations(DT_RELA, DT_RELASZ, relocations);
  add_relocations(DT_JMPREL, DT_PLTRELSZ, relocations);
  return relocations;
}

}  // namespace livecare::remote
