// An entry looks like
//
//     .long 2b - .        the trapping instruction
//     .long file - .      a string literal, __FILE__
//     .word line
//     .word flags
//
// Entries of one table have one size, each has exactly one reference into code, always at the same
// offset: that determines the cut. An unchanged function's entry may differ in the line number: the
// two- or four-byte number right behind the reference to a file name, and nothing else. Entries of
// a replaced function describe addresses that its new code does not have, so they are refused here;
// a target that can take new entries (a kernel module has a bug table of its own) has to be given a
// handler of its own.
#include "objdiff/entry_tables.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/line_takers.h"

namespace livecare::objdiff {
namespace {

constexpr uint64_t entry_bytes_max = 256;

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

// Only the number right behind the file name differs.
bool only_line_differs(const Context& context, const TableEntry& a, const TableEntry& b) {
  for (const Ref& ref : a.refs) {
    if (!is_file_reference(context.original, ref)) continue;
    uint64_t line = ref.offset + ref.width;
    for (uint64_t width : {2, 4}) {
      if (line % width != 0 || line + width > a.bytes.size()) continue;
      Bytes x = a.bytes, y = b.bytes;
      auto zero = [&](Bytes& bytes) {
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(line), width, uint8_t{0});
      };
      bool number = ByteView(x).read<uint16_t>(line) != 0 && ByteView(y).read<uint16_t>(line) != 0;
      zero(x);
      zero(y);
      if (number && x == y) return true;
    }
  }
  return false;
}

bool same_entry(Context& context, const TableEntry& a, const TableEntry& b) {
  if (a.at != b.at || a.bytes.size() != b.bytes.size() || a.refs.size() != b.refs.size())
    return false;
  for (size_t i = 0; i < a.refs.size(); i++) {
    if (a.refs[i].offset != b.refs[i].offset || a.refs[i].type != b.refs[i].type) return false;
    if (!context.comparer.same_target(a.refs[i], b.refs[i])) return false;
  }
  return a.bytes == b.bytes || only_line_differs(context, a, b);
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

}  // namespace

bool read_entries(const ObjectMap& map, const std::vector<AtomId>& atoms,
                  std::vector<TableEntry>& out) {
  return std::all_of(atoms.begin(), atoms.end(),
                     [&](AtomId id) { return cut(map, map.atom(id), out); });
}

std::string first_difference(Context& context, const std::vector<TableEntry>& original,
                             const std::vector<TableEntry>& patched) {
  ByFunction before = by_function(original);
  for (const auto& [function, entries] : by_function(patched)) {
    std::string name(context.patched.atom(function).name);
    if (context.replaced.contains(function)) return name;
    const auto& old = before[context.pairing.original_of[function]];
    if (old.size() != entries.size()) return name;
    for (size_t i = 0; i < old.size(); i++)
      if (!same_entry(context, *old[i], *entries[i])) return name;
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
