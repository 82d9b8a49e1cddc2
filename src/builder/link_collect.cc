// Follows references from the changed functions to everything that has to come along, and turns
// each x86-64 relocation into a fixup of the image.
//
// Calls inside the image are direct. A function that is replaced is called directly too, but its
// address is taken as the shipped one, so that pointers kept in the process compare equal. Whatever
// may lie more than 2 GiB away (imports, indirect functions) is reached through the image's own
// GOT.
#include <elf.h>

#include <algorithm>
#include <bit>

#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

using patchfmt::RelocationKind;

constexpr uint64_t atoms_max = 500'000;

Place place_of(const elf::Section& section) {
  if (section.flags & SHF_EXECINSTR) return Place::text;
  if (section.flags & SHF_TLS) return Place::tls;
  if (!(section.flags & SHF_WRITE) || section.name.starts_with(".data.rel.ro") ||
      section.name.find(".DW.ref.") != std::string_view::npos)
    return Place::rodata;
  return Place::data;
}

// Unnamed words that hold nothing but addresses (clang puts those of type information that
// exception tables refer to into .data): constants once relocated.
bool is_pointer_table(const elf::Image& object, const elf::Section& section) {
  const auto& relocations = object.relocations(section.index);
  return section.size && section.size == 8 * relocations.size() &&
         std::all_of(relocations.begin(), relocations.end(),
                     [](const auto& r) { return r.type == R_X86_64_64; });
}

bool is_mergeable(const elf::Section& section) {
  return section.flags & SHF_MERGE;
}

// Is the field at `field` the operand of a direct call or jump that ends with it?
bool is_branch(ByteView code, uint64_t start, uint64_t field, uint64_t end) {
  if (field + 4 != end || field == start) return false;
  const uint8_t before = code.data()[field - 1];
  if (before == 0xe8 || before == 0xe9) return true;
  return field >= start + 2 && code.data()[field - 2] == 0x0f && (before & 0xf0) == 0x80;
}

}  // namespace

uint32_t Linker::add_atom(uint32_t unit, uint32_t section, uint64_t offset, uint64_t size,
                          std::string name) {
  UnitState& state = units_[unit];
  auto [place, fresh] =
      state.atoms.emplace(std::make_pair(section, offset), static_cast<uint32_t>(atoms_.size()));
  if (!fresh) return place->second;
  const auto& home = state.unit->patched->sections()[section];
  Atom atom;
  atom.name = std::move(name);
  atom.unit = unit;
  atom.section = section;
  atom.offset = offset;
  atom.size = size;
  atom.alignment = std::max<uint64_t>(home.alignment, 1);
  // A piece out of the middle of a section keeps what alignment it had there.
  if (offset) atom.alignment = std::min(atom.alignment, uint64_t{1} << std::countr_zero(offset));
  atom.place = place_of(home);
  atom.function = atom.place == Place::text;
  atom.kept = home.name.starts_with(".livecare.keep");
  if (home.type != SHT_NOBITS)
    if (auto bytes = home.bytes.slice(offset, size)) atom.content = bytes->copy();
  const uint32_t index = place->second;
  atoms_.push_back(std::move(atom));
  work_.push_back(index);
  return index;
}

uint32_t Linker::atom_for_anonymous(uint32_t unit, uint32_t section, uint64_t offset) {
  UnitState& state = units_[unit];
  const auto& home = state.unit->patched->sections()[section];
  if (is_mergeable(home) || state.model->anonymous_end(section, 0) == home.size)
    return add_atom(unit, section, 0, home.size, std::string(home.name));
  // Beside named things: from the end of the one before to the start of the one behind.
  uint64_t start = 0;
  for (const match::Node& node : state.model->nodes())
    if (node.section == section && node.offset + node.size <= offset)
      start = std::max(start, node.offset + node.size);
  const uint64_t end = state.model->anonymous_end(section, start);
  return add_atom(unit, section, start, end - start, std::string(home.name));
}

void Linker::collect() {
  while (!work_.empty() && atoms_.size() < atoms_max) {
    const uint32_t atom = work_.back();
    work_.pop_back();
    collect_atom(atom);
  }
  if (atoms_.size() >= atoms_max)
    refuse("", "", "the fix reaches too many functions and variables");
}

void Linker::collect_atom(uint32_t index) {
  const Atom& atom = atoms_[index];
  const UnitState& state = units_[atom.unit];
  base_call_follows_ = false;
  const auto relocations = state.model->relocations(atom.section, atom.offset, atom.size);
  if (!atom.function) {
    for (const auto* relocation : relocations)
      lower(index, *relocation, relocation->offset, relocation->offset);
    return;
  }
  match::Node extent;
  extent.section = atom.section;
  extent.offset = atom.offset;
  extent.size = atom.size;
  const auto instructions =
      relocations.empty() ? std::vector<match::DecodedInstruction>() : state.model->decode(extent);
  const uint64_t base = atom.offset;
  add_unwind(index);
  size_t next = 0;
  for (const auto* relocation : relocations) {
    while (next + 1 < instructions.size() &&
           base + instructions[next + 1].offset <= relocation->offset)
      ++next;
    const uint64_t start = base + instructions[next].offset;
    const uint64_t length = instructions[next].instruction.length;
    if (!instructions[next].valid) {
      refuse_relocation(index, *relocation, "lies in bytes that are no known instruction");
      continue;
    }
    lower(index, *relocation, start, start + length);
  }
}

void Linker::refuse_relocation(uint32_t atom, const elf::Relocation& relocation,
                               std::string_view why) {
  const elf::Image& object = object_of(atom);
  const Atom& from = atoms_[atom];
  refuse(from.name, object.sections()[from.section].name,
         fmt::format("its reference to {} (relocation type {}) {}",
                     object.symbols()[relocation.symbol].name, relocation.type, why));
}

void Linker::lower(uint32_t atom, const elf::Relocation& relocation, uint64_t start, uint64_t end) {
  const int64_t bias = start == end ? 0 : static_cast<int64_t>(end - relocation.offset);
  auto plain = [&](RelocationKind kind, int64_t at_bias) {
    Reached reached = reach(atom, relocation, at_bias, Use::address);
    if (!reached.ok) return;
    if (needs_stub(reached.dest) && kind == RelocationKind::pc64)
      return refuse_relocation(atom, relocation, "cannot be reached directly from the image");
    if (needs_stub(reached.dest) && kind != RelocationKind::absolute64)
      return lower_far(atom, relocation, kind, reached.dest, reached.addend, start, end);
    atoms_[atom].fixups.push_back(
        {kind, relocation.offset - atoms_[atom].offset, reached.dest, reached.addend});
  };
  if (base_call_follows_ && object_of(atom).symbols()[relocation.symbol].name == "__tls_get_addr") {
    base_call_follows_ = false;
    return lower_base_call(atom, relocation);
  }
  switch (relocation.type) {
    case R_X86_64_64:
      return plain(RelocationKind::absolute64, 0);
    case R_X86_64_PC64:
      return plain(RelocationKind::pc64, bias);
    case R_X86_64_32:
      if (lower_type_entry(atom, relocation)) return;
      return plain(RelocationKind::absolute32, 0);
    case R_X86_64_32S:
      return plain(RelocationKind::absolute32s, 0);
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
      return lower_pc32(atom, relocation, start, end);
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX:
      return lower_got(atom, relocation, bias);
    default:
      if (!lower_tls(atom, relocation, start, end))
        refuse_relocation(atom, relocation,
                          "is of a kind that the image cannot hold (large code model?)");
  }
}

Linker::Reached Linker::reach(uint32_t index, const elf::Relocation& relocation, int64_t bias,
                              Use use) {
  const uint32_t unit = atoms_[index].unit;
  const elf::Image& object = *units_[unit].unit->patched;
  const match::Target target = units_[unit].model->target(relocation, relocation.addend + bias);
  Reached reached;
  if (target.what == match::Target::What::absolute) {
    reached.addend = target.offset - bias;
    return reached;
  }
  if (target.what != match::Target::What::node) {
    const auto& home = object.sections()[target.section];
    const bool pointers = is_pointer_table(object, home);
    if (!pointers && (place_of(home) == Place::data || place_of(home) == Place::tls)) {
      refuse_relocation(index, relocation,
                        "is to writable data without a name; compile with -fdata-sections");
      return {.ok = false};
    }
    const uint64_t inside = target.offset < 0 ? 0
                                              : std::min(static_cast<uint64_t>(target.offset),
                                                         home.size ? home.size - 1 : 0);
    reached.dest = {Dest::What::atom, atom_for_anonymous(unit, target.section, inside)};
    if (pointers) atoms_[reached.dest.index].place = Place::rodata;
    reached.addend = target.offset - bias - static_cast<int64_t>(atoms_[reached.dest.index].offset);
    return reached;
  }
  const Decision decision = decide(unit, target.node);
  if (decision.refused || (!decision.atom && !decision.symbol)) return {.ok = false};
  reached.addend = target.offset - bias;
  bool inside = decision.atom.has_value();
  if (decision.atom && decision.symbol && target.offset == 0 && atoms_[index].place != Place::text)
    // A table holds the function's address, or a label that happens to be its first instruction.
    inside = relocation.type != R_X86_64_64;
  else if (decision.atom && decision.symbol && target.offset == 0)
    inside = use == Use::branch &&
             output_.object.symbols[*decision.symbol].kind != patchfmt::SymbolKind::import;
  if (inside) {
    reached.dest = {Dest::What::atom, *decision.atom};
    reached.addend += decision.atom_offset;
  } else {
    reached.dest = {Dest::What::symbol, *decision.symbol};
  }
  return reached;
}

bool Linker::needs_stub(Dest dest) const {
  if (dest.what != Dest::What::symbol) return false;
  const auto kind = output_.object.symbols[dest.index].kind;
  return kind == patchfmt::SymbolKind::import || kind == patchfmt::SymbolKind::target_ifunc;
}

void Linker::lower_pc32(uint32_t index, const elf::Relocation& relocation, uint64_t start,
                        uint64_t end) {
  const uint64_t field = relocation.offset;
  const int64_t bias = start == end ? 0 : static_cast<int64_t>(end - field);
  const ByteView code = object_of(index).sections()[atoms_[index].section].bytes;
  const bool branch = start != end && is_branch(code, start, field, end);
  Reached reached = reach(index, relocation, bias, branch ? Use::branch : Use::address);
  if (!reached.ok) return;
  Atom& atom = atoms_[index];
  const uint64_t at = field - atom.offset;
  if (reached.dest.what == Dest::What::constant)
    return refuse_relocation(index, relocation, "is to an absolute address");
  if (needs_stub(reached.dest)) {
    const auto& symbol = output_.object.symbols[reached.dest.index];
    const bool lea =
        !branch && start != end && field >= start + 2 && code.data()[field - 2] == 0x8d;
    if (branch || start == end) {
      // A table entry that is not a call (an unwinder's personality) can use the stub as well.
      reached.dest = {Dest::What::stub, stub_for(reached.dest, symbol.name)};
    } else if (lea && reached.addend + bias == 0) {
      atom.content[at - 2] = 0x8b;  // lea symbol(%rip) -> mov symbol@GOTPCREL(%rip)
      reached.dest = {Dest::What::got,
                      got_entry({{RelocationKind::absolute64, 0, reached.dest, 0}})};
    } else {
      return lower_far(index, relocation, RelocationKind::pc32, reached.dest, reached.addend + bias,
                       start, end);
    }
  }
  atom.fixups.push_back({RelocationKind::pc32, at, reached.dest, reached.addend});
}

void Linker::lower_got(uint32_t index, const elf::Relocation& relocation, int64_t bias) {
  // What is in the word is the symbol itself: the addend belongs to the word's own address.
  elf::Relocation bare = relocation;
  bare.addend = 0;
  Reached reached = reach(index, bare, 0, Use::address);
  if (!reached.ok) return;
  if (relocation.addend + bias != 0)
    return refuse_relocation(index, relocation, "is to the middle of a GOT word");
  const uint32_t entry = got_entry({{RelocationKind::absolute64, 0, reached.dest, reached.addend}});
  Atom& atom = atoms_[index];
  atom.fixups.push_back({RelocationKind::pc32,
                         relocation.offset - atom.offset,
                         {Dest::What::got, entry},
                         relocation.addend});
}

uint32_t Linker::got_entry(std::vector<Fixup> words) {
  std::vector<std::tuple<RelocationKind, Dest, int64_t>> key;
  key.reserve(words.size());
  for (const Fixup& word : words) key.emplace_back(word.kind, word.dest, word.addend);
  auto [place, fresh] = got_index_.emplace(std::move(key), static_cast<uint32_t>(got_.size()));
  if (fresh) got_.push_back({.words = std::move(words)});
  return place->second;
}

uint32_t Linker::stub_for(Dest dest, std::string_view name) {
  auto [place, fresh] = stub_index_.emplace(dest, static_cast<uint32_t>(stubs_.size()));
  if (fresh) {
    const uint32_t entry = got_entry({{RelocationKind::absolute64, 0, dest, 0}});
    stubs_.push_back({.got = entry, .name = std::string(name) + "@plt"});
  }
  return place->second;
}

}  // namespace livecare::builder
