#include "objdiff/kernel_entries.h"

#include <algorithm>

namespace livecare::objdiff {
namespace {

constexpr size_t line_bytes = 2;

struct PlacedRef {
  uint64_t offset = 0;  // in the range
  const Ref* ref = nullptr;
};

// The references of a part of a section, whatever atoms it is cut into.
std::vector<PlacedRef> refs_in(const ObjectMap& map, uint32_t section, uint64_t begin,
                               uint64_t size) {
  std::vector<PlacedRef> out;
  for (AtomId id : map.atoms_of_section(section)) {
    const Atom& atom = map.atom(id);
    for (const Ref& ref : atom.refs) {
      uint64_t at = atom.offset + ref.offset;
      if (at >= begin && at < begin + size) out.push_back({at - begin, &ref});
    }
  }
  return out;
}

void clear(Bytes& bytes, uint64_t offset, uint64_t size) {
  for (uint64_t i = offset; i < offset + size && i < bytes.size(); i++) bytes[i] = 0;
}

}  // namespace

Result<KernelEntries> KernelEntries::make(const ObjectMap& original, const ObjectMap& patched,
                                          const Pairing& pairing, Comparer& comparer) {
  KernelEntries entries(pairing, comparer);
  TRY_STATUS(read(original, entries.original_));
  TRY_STATUS(read(patched, entries.patched_));
  return entries;
}

Status KernelEntries::read(const ObjectMap& map, Side& side) {
  side.map = &map;
  TRY(std::vector<KernelEntry> all, read_kernel_entries(map.image()));
  for (const KernelEntry& entry : all) {
    if (entry.table->follows_from_code) continue;
    Place place = map.find(entry.owner_section, static_cast<int64_t>(entry.owner_offset));
    side.by_atom[place.atom].push_back(entry);
  }
  for (auto& [atom, entries] : side.by_atom)
    std::stable_sort(entries.begin(), entries.end(),
                     [](const KernelEntry& a, const KernelEntry& b) {
                       if (a.table != b.table) return a.table < b.table;
                       return a.owner_offset < b.owner_offset;
                     });
  return ok_status();
}

std::string_view KernelEntries::difference(AtomId original, AtomId patched) {
  const auto &before = original_.by_atom[original], &after = patched_.by_atom[patched];
  for (size_t i = 0; i < std::max(before.size(), after.size()); i++) {
    if (i >= before.size()) return after[i].table->section;
    if (i >= after.size()) return before[i].table->section;
    if (before[i].table != after[i].table || !same(before[i], after[i]))
      return after[i].table->section;
  }
  return {};
}

std::string_view KernelEntries::difference_elsewhere() {
  for (const auto& [atom, entries] : patched_.by_atom) {
    bool function = atom != no_atom && patched_.map->atom(atom).kind == AtomKind::function;
    if (function || entries.empty()) continue;
    AtomId before = atom == no_atom ? no_atom : pairing_.original_of[atom];
    if (before == no_atom) return entries[0].table->section;
    if (auto table = difference(before, atom); !table.empty()) return table;
  }
  return {};
}

bool KernelEntries::same(const KernelEntry& original, const KernelEntry& patched) {
  const elf::Image &a = original_.map->image(), &b = patched_.map->image();
  if (original.size != patched.size) return false;
  if (original.table->replacement >= 0) {
    auto before = replacement_of(a, original), after = replacement_of(b, patched);
    if (!before || !after || !same_piece(*before, *after)) return false;
  }
  return same_range(original.section, original.offset, patched.section, patched.offset,
                    original.size, original.table->replacement, line_offset(original));
}

bool KernelEntries::same_piece(const Replacement& original, const Replacement& patched) {
  return original.size == patched.size &&
         same_range(original.section, original.offset, patched.section, patched.offset,
                    original.size, -1, -1);
}

bool KernelEntries::same_range(uint32_t original_section, uint64_t original_offset,
                               uint32_t patched_section, uint64_t patched_offset, uint64_t size,
                               int skipped_field, int masked_line) {
  auto a = original_.map->image().sections()[original_section].bytes.slice(original_offset, size);
  auto b = patched_.map->image().sections()[patched_section].bytes.slice(patched_offset, size);
  if (!a || !b) return false;
  Bytes before = a->copy(), after = b->copy();
  auto refs_a = refs_in(*original_.map, original_section, original_offset, size);
  auto refs_b = refs_in(*patched_.map, patched_section, patched_offset, size);
  if (refs_a.size() != refs_b.size()) return false;
  for (size_t i = 0; i < refs_a.size(); i++) {
    const Ref &x = *refs_a[i].ref, &y = *refs_b[i].ref;
    if (refs_a[i].offset != refs_b[i].offset || x.width != y.width || x.type != y.type)
      return false;
    clear(before, refs_a[i].offset, x.width);
    clear(after, refs_b[i].offset, y.width);
    if (static_cast<int>(refs_a[i].offset) == skipped_field) continue;
    if (!comparer_.same_target(x, y)) return false;
  }
  if (masked_line >= 0) {
    clear(before, static_cast<uint64_t>(masked_line), line_bytes);
    clear(after, static_cast<uint64_t>(masked_line), line_bytes);
  }
  return before == after;
}

}  // namespace livecare::objdiff
