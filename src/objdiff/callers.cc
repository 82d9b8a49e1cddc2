#include "objdiff/callers.h"

#include <elf.h>

#include "objdiff/kernel_tables.h"

namespace livecare::objdiff {
namespace {

// On x86-64 by the opcode before the field: the ModRM byte of an operand that is relative to the
// instruction pointer (mod 0, r/m 5) is none of these.
bool is_branch(const ObjectMap& map, const Atom& atom, const Ref& ref) {
  if (map.image().machine() == elf::Machine::aarch64)
    return ref.type == R_AARCH64_CALL26 || ref.type == R_AARCH64_JUMP26;
  constexpr uint8_t call = 0xe8, jump = 0xe9, two_bytes = 0x0f, condition = 0x80;
  if (!ref.pc_relative || ref.offset < 2) return false;
  auto opcode = map.bytes(atom).slice(ref.offset - 2, 2);
  if (!opcode) return false;
  const uint8_t before = opcode->data()[0], last = opcode->data()[1];
  return last == call || last == jump || (before == two_bytes && (last & 0xf0) == condition);
}

AtomId owner_of(const Parts& parts, AtomId id) {
  AtomId parent = parts.parent_of(id);
  return parent == no_atom ? id : parent;
}

}  // namespace

std::optional<std::set<AtomId>> callers_of(const ObjectMap& map, const Parts& parts,
                                           AtomId function) {
  std::set<AtomId> callers;
  for (AtomId id = 0; id < map.atoms().size(); id++) {
    const Atom& atom = map.atom(id);
    if (owner_of(parts, id) == function || kernel_table(map.section_of(atom).name)) continue;
    for (const Ref& ref : atom.refs) {
      if (ref.target != Ref::Target::atom || ref.atom != function) continue;
      if (atom.kind != AtomKind::function || ref.at != 0 || !is_branch(map, atom, ref))
        return std::nullopt;
      callers.insert(owner_of(parts, id));
    }
  }
  return callers;
}

bool is_ftrace_table(std::string_view section) {
  return section == "__mcount_loc" || section == "__patchable_function_entries";
}

Result<std::set<AtomId>> traced_functions(const ObjectMap& map) {
  TRY(std::vector<KernelEntry> entries, read_kernel_entries(map.image()));
  std::set<AtomId> traced;
  for (const KernelEntry& entry : entries) {
    std::string_view section = map.image().sections()[entry.owner_section].name;
    if (!is_ftrace_table(entry.table->section) || is_init_section(section)) continue;
    Place place = map.find(entry.owner_section, static_cast<int64_t>(entry.owner_offset));
    if (place.atom != no_atom && place.at >= 0 &&
        place.at < static_cast<int64_t>(ftrace_entry_window_bytes))
      traced.insert(place.atom);
  }
  return traced;
}

}  // namespace livecare::objdiff
