// An entry looks like
//
//     .long 2b - .        the trapping instruction
//     .long file - .      a string literal, __FILE__
//     .word line
//     .word flags
//
// Entries of one table have one size, each has exactly one reference into code, always at the same
// offset: that determines the cut. An unchanged function's entry may differ in the line number, the
// number beside the reference to a file name, and in nothing else; the table's other lines must not
// speak against it. Entries of a replaced function describe addresses that its new code does not
// have, so they are refused here; a target that can take new entries (a kernel module has a bug
// table of its own) has to be given a handler of its own.
#include "objdiff/entry_tables.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/line_noise.h"
#include "objdiff/line_takers.h"

namespace livecare::objdiff {
namespace {

constexpr uint64_t entry_bytes_max = 256;
constexpr uint64_t line_bytes = 2;

bool into_code(const ObjectMap& map, const Ref& ref) {
  return ref.target == Ref::Target::atom && ref.atom != no_atom && map.atom(ref.atom).is_code();
}

std::string_view own_name(const ObjectMap& map) {
  for (const elf::Symbol& symbol : map.image().symbols())
    if (symbol.type == STT_FILE) return symbol.name;
  return {};
}

bool is_file_reference(const ObjectMap& map, const Ref& ref) {
  if (ref.target != Ref::Target::atom || ref.atom == no_atom || ref.at < 0) return false;
  const Atom& target = map.atom(ref.atom);
  if (target.kind != AtomKind::string) return false;
  auto text = map.bytes(target).c_string(static_cast<uint64_t>(ref.at));
  return text && is_file_name(*text, own_name(map));
}

// Some tables count every reference from the start of its entry instead of from itself.
void count_from_entry(const ObjectMap& map, Ref& ref) {
  if (!ref.pc_relative || is_file_reference(map, ref) || ref.target != Ref::Target::atom) return;
  if (ref.atom == no_atom) return;
  const Atom& target = map.atom(ref.atom);
  int64_t place = static_cast<int64_t>(target.offset) + ref.at - static_cast<int64_t>(ref.offset);
  Ref moved = ref;
  Place found = map.find(target.section, place);
  moved.atom = found.atom;
  moved.at = found.at;
  if (is_file_reference(map, moved)) ref = moved;
}

bool cut(const ObjectMap& map, const Atom& atom, std::vector<TableEntry>& out) {
  std::vector<uint64_t> code_refs;
  for (const Ref& ref : atom.refs)
    if (into_code(map, ref)) code_refs.push_back(ref.offset);
  if (code_refs.empty() || atom.zero || atom.size % code_refs.size() != 0) return false;
  uint64_t size = atom.size / code_refs.size();
  if (size > entry_bytes_max) return false;
  for (size_t i = 0; i < code_refs.size(); i++)
    if (code_refs[i] != code_refs[0] + i * size || code_refs[0] >= size) return false;
  for (size_t i = 0; i < code_refs.size(); i++) {
    TableEntry entry;
    uint64_t begin = i * size;
    entry.bytes = map.bytes(atom).slice(begin, size)->copy();
    for (Ref ref : atom.refs) {
      if (ref.offset < begin || ref.offset >= begin + size) continue;
      ref.offset -= begin;
      if (ref.offset + ref.width > size) return false;
      std::fill_n(entry.bytes.begin() + static_cast<std::ptrdiff_t>(ref.offset), ref.width,
                  uint8_t{0});
      count_from_entry(map, ref);
      if (into_code(map, ref)) {
        entry.function = ref.atom;
        entry.at = ref.at;
      }
      entry.refs.push_back(ref);
    }
    out.push_back(std::move(entry));
  }
  return true;
}

// Where an entry has its line number: right behind the file name, or right before it if the name is
// the last field. Line numbers are taken as 16 bits: what is above may be flags.
std::optional<uint64_t> line_place(const ObjectMap& map, const TableEntry& entry) {
  for (size_t i = 0; i < entry.refs.size(); i++) {
    const Ref& file = entry.refs[i];
    if (!is_file_reference(map, file)) continue;
    uint64_t behind = file.offset + file.width;
    if (behind + line_bytes <= entry.bytes.size()) return behind;
    uint64_t before = i == 0 ? 0 : entry.refs[i - 1].offset + entry.refs[i - 1].width;
    bool one_number = file.offset > before && file.offset - before <= sizeof(uint64_t);
    if (one_number) return before;
  }
  return std::nullopt;
}

// The line numbers of an entry before and after.
std::optional<std::pair<int64_t, int64_t>> lines_of(const Context& context, const TableEntry& a,
                                                    const TableEntry& b) {
  auto place = line_place(context.original, a);
  if (!place || place != line_place(context.patched, b)) return std::nullopt;
  auto before = ByteView(a.bytes).read<uint16_t>(*place);
  auto after = ByteView(b.bytes).read<uint16_t>(*place);
  if (!before || !after || *before == 0 || *after == 0) return std::nullopt;
  return std::pair<int64_t, int64_t>(*before, *after);
}

bool only_line_differs(const Context& context, const LinePairs& all, const TableEntry& a,
                       const TableEntry& b) {
  auto lines = lines_of(context, a, b);
  if (!lines || lines_contradict(all, lines->first, lines->second)) return false;
  uint64_t place = *line_place(context.original, a);
  Bytes x = a.bytes, y = b.bytes;
  store_le(x, place, uint16_t{0});
  store_le(y, place, uint16_t{0});
  return x == y;
}

bool same_entry(Context& context, const LinePairs& all, const TableEntry& a, const TableEntry& b) {
  if (a.at != b.at || a.bytes.size() != b.bytes.size() || a.refs.size() != b.refs.size())
    return false;
  for (size_t i = 0; i < a.refs.size(); i++) {
    if (a.refs[i].offset != b.refs[i].offset || a.refs[i].type != b.refs[i].type) return false;
    if (!context.comparer.same_target(a.refs[i], b.refs[i])) return false;
  }
  return a.bytes == b.bytes || only_line_differs(context, all, a, b);
}

using ByFunction = std::map<AtomId, std::vector<const TableEntry*>>;

ByFunction by_function(const std::vector<TableEntry>& entries) {
  ByFunction out;
  for (const TableEntry& entry : entries) out[entry.function].push_back(&entry);
  for (auto& [function, list] : out)
    std::stable_sort(list.begin(), list.end(),
                     [](const TableEntry* a, const TableEntry* b) { return a->at < b->at; });
  return out;
}

LinePairs all_lines(const Context& context, const ByFunction& original, const ByFunction& patched) {
  LinePairs out;
  for (const auto& [function, entries] : patched) {
    auto old = original.find(context.pairing.original_of[function]);
    if (old == original.end() || old->second.size() != entries.size()) continue;
    for (size_t i = 0; i < entries.size(); i++)
      if (auto lines = lines_of(context, *old->second[i], *entries[i])) out.push_back(*lines);
  }
  return out;
}

}  // namespace

bool read_entries(const ObjectMap& map, const std::vector<AtomId>& atoms,
                  std::vector<TableEntry>& out) {
  return std::all_of(atoms.begin(), atoms.end(),
                     [&](AtomId id) { return cut(map, map.atom(id), out); });
}

std::string first_difference(Context& context, const std::vector<TableEntry>& original,
                             const std::vector<TableEntry>& patched) {
  ByFunction before = by_function(original), after = by_function(patched);
  LinePairs lines = all_lines(context, before, after);
  for (const auto& [function, entries] : after) {
    std::string name(context.patched.atom(function).name);
    if (context.replaced.contains(function)) return name;
    const auto& old = before[context.pairing.original_of[function]];
    if (old.size() != entries.size()) return name;
    for (size_t i = 0; i < old.size(); i++)
      if (!same_entry(context, lines, *old[i], *entries[i])) return name;
  }
  // Entries that only the original has matter if their function stays as it is.
  for (const auto& [function, entries] : before) {
    if (entries.empty() || function == no_atom) continue;
    AtomId now = context.pairing.patched_of[function];
    bool listed = std::any_of(patched.begin(), patched.end(),
                              [&](const TableEntry& entry) { return entry.function == now; });
    if (now != no_atom && !listed && !context.replaced.contains(now))
      return std::string(context.original.atom(function).name);
  }
  return {};
}

}  // namespace livecare::objdiff
