// What a field refers to.
//
// In code a PC-relative field counts from the end of its instruction on x86-64, so the instruction
// has to be decoded to know what an addend means: `cmpl $1, x(%rip)` has x-5 or x-8, not x-4.
//
// In data a PC-relative word has two meanings that the relocation does not tell apart: counted from
// itself (`.long f - .`: exception tables, tables that inline assembly writes) or from the start of
// its table (`.long .L5 - .L4`: jump tables, clang's relative lookup tables; the assembler folds
// the distance into the addend). Unnamed objects are tables; so are the compiler's own constants.
// Everything else counts from itself.
#include "objdiff/ref_reader.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/names.h"
#include "objdiff/reloc.h"

namespace livecare::objdiff {

Result<RefReader::Raw> RefReader::make_raw(const elf::Relocation& relocation,
                                           uint32_t section) const {
  auto shape = reloc_shape(map_.image().machine(), relocation.type);
  const elf::Section& in = map_.image().sections()[section];
  if (!shape)
    return make_error(
        ErrorCode::unsupported, map_.image().name(),
        "relocation type {} at offset {:#x} of {} is not known to the differ; compile "
        "without the option that makes it",
        relocation.type, relocation.offset, in.name);
  if (relocation.offset > in.size || shape->width > in.size - relocation.offset)
    return make_error(ErrorCode::invalid_input, map_.image().name(),
                      "relocation at {:#x} lies outside its section {}; compile the object again",
                      relocation.offset, in.name);
  if (relocation.symbol >= map_.image().symbols().size())
    return make_error(ErrorCode::invalid_input, map_.image().name(),
                      "relocation at {:#x} of {} has no symbol; compile the object again",
                      relocation.offset, in.name);
  Raw raw;
  raw.section = section;
  raw.offset = relocation.offset;
  raw.ref.type = relocation.type;
  raw.ref.width = shape->width;
  raw.ref.mask = shape->mask;
  raw.ref.pc_relative = shape->pc_relative;
  raw.ref.symbol = relocation.symbol;
  raw.value = relocation.addend;
  return raw;
}

Status RefReader::read_code() {
  for (AtomId id = 0; id < map_.atoms().size(); id++)
    if (map_.atom(id).is_code()) TRY_STATUS(read_code_atom(id));
  return ok_status();
}

void RefReader::take_local_reference(const Atom& atom, const CodeInstruction& instruction) {
  auto target = relative_target(map_.image().machine(), instruction);
  if (target >= 0 && target < static_cast<int64_t>(atom.size)) return;
  Raw raw;
  raw.section = atom.section;
  raw.offset = atom.offset + instruction.offset + instruction.relative_offset;
  raw.ref.width = instruction.relative_width;
  raw.ref.mask = instruction.relative_mask;
  raw.ref.pc_relative = true;
  raw.ref.from_relocation = false;
  raw.ref.access_size = instruction.access_size;
  raw.value = static_cast<int64_t>(atom.offset) + target;
  raws_.push_back(raw);
}

Status RefReader::read_code_atom(AtomId id) {
  const Atom& atom = map_.atom(id);
  ByteView code = map_.bytes(atom);
  const auto& all = map_.image().relocations(atom.section);
  auto by_offset = [](const elf::Relocation& r, uint64_t at) { return r.offset < at; };
  auto next = std::lower_bound(all.begin(), all.end(), atom.offset, by_offset);
  uint32_t at = 0;
  while (at < code.size()) {
    auto instruction = decode_code(map_.image().machine(), code, at);
    if (!instruction) {
      map_.atoms_[id].undecodable = true;
      break;
    }
    uint64_t end = atom.offset + at + instruction->length;
    bool relative_relocated = false;
    for (; next != all.end() && next->offset < end; next++) {
      TRY(Raw raw, make_raw(*next, atom.section));
      auto shape = reloc_shape(map_.image().machine(), next->type);
      if (shape->end_relative) raw.value += static_cast<int64_t>(end - next->offset);
      uint64_t field = next->offset - atom.offset - at;
      bool is_relative = instruction->relative_width != 0 && field == instruction->relative_offset;
      bool is_immediate =
          instruction->immediate_width != 0 && field == instruction->immediate_offset;
      bool memory_operand = is_relative || (!is_immediate && instruction->relative_width == 0);
      if (memory_operand) raw.ref.access_size = instruction->access_size;
      relative_relocated |= is_relative;
      raws_.push_back(raw);
    }
    if (instruction->relative_width != 0 && !relative_relocated)
      take_local_reference(atom, *instruction);
    at += instruction->length;
  }
  for (; next != all.end() && next->offset < atom.end(); next++) {
    TRY(Raw raw, make_raw(*next, atom.section));
    if (raw.ref.pc_relative) raw.value += raw.ref.width;
    raws_.push_back(raw);
  }
  return ok_status();
}

Status RefReader::read_data() {
  for (const elf::Section& section : map_.image().sections()) {
    if (section_role(section) == SectionRole::ignored || (section.flags & SHF_EXECINSTR)) continue;
    for (const elf::Relocation& relocation : map_.image().relocations(section.index)) {
      TRY(Raw raw, make_raw(relocation, section.index));
      raw.self_relative = raw.ref.pc_relative;
      raws_.push_back(raw);
    }
  }
  return ok_status();
}

Status RefReader::read_unwind() {
  TRY(unwind_, read_unwind_entries(map_.image()));
  for (const UnwindEntry& entry : unwind_)
    for (const elf::Relocation* relocation : {entry.code, entry.lsda, entry.personality})
      if (relocation && relocation->symbol >= map_.image().symbols().size())
        return make_error(
            ErrorCode::invalid_input, map_.image().name(),
            "relocation at {:#x} of .eh_frame has no symbol; compile the object again",
            relocation->offset);
  return ok_status();
}

void RefReader::mark_starts(AtomCutter& cutter) const {
  const auto& symbols = map_.image().symbols();
  for (const Raw& raw : raws_) {
    if (!raw.ref.from_relocation || raw.ref.access_size != 0) continue;
    if (raw.ref.symbol >= symbols.size()) continue;
    const elf::Symbol& symbol = symbols[raw.ref.symbol];
    if (symbol.type != STT_SECTION) continue;
    // A word of an unnamed table may count from the table's start: it says nothing yet.
    if (raw.self_relative &&
        section_role(map_.image().sections()[raw.section]) == SectionRole::data)
      continue;
    cutter.mark_start(symbol.section, raw.value);
  }
  for (const UnwindEntry& entry : unwind_) {
    if (!entry.lsda) continue;
    const elf::Symbol& symbol = symbols[entry.lsda->symbol];
    cutter.mark_start(symbol.section, static_cast<int64_t>(symbol.value) + entry.lsda->addend);
  }
}

bool RefReader::table_relative(const Atom& atom) const {
  if (atom.role != SectionRole::data) return false;
  return atom.kind == AtomKind::anonymous ||
         (atom.kind == AtomKind::variable && is_compiler_constant(atom.name));
}

void RefReader::bind_ref(const ObjectMap& map, Ref& ref, int64_t value) {
  const elf::Symbol& symbol = map.symbol(ref.symbol);
  ref.at = value;
  ref.target = Ref::Target::external;
  if (ref.symbol == 0 || symbol.section == elf::section_absolute) {
    ref.target = Ref::Target::absolute;
    return;
  }
  Place place =
      symbol.type == STT_SECTION ? map.find(symbol.section, value) : map.place_of(ref.symbol);
  if (place.atom == no_atom) return;
  ref.target = Ref::Target::atom;
  ref.atom = place.atom;
  ref.at = symbol.type == STT_SECTION ? place.at : place.at + value;
}

void RefReader::bind_raw(const Raw& raw) {
  Place owner = map_.find(raw.section, static_cast<int64_t>(raw.offset));
  if (owner.atom == no_atom) return;
  Atom& atom = map_.atoms_[owner.atom];
  if (owner.at < 0 || owner.at >= static_cast<int64_t>(atom.size)) return;
  Ref ref = raw.ref;
  ref.offset = static_cast<uint64_t>(owner.at);
  if (!ref.from_relocation) {
    Place place = map_.find(raw.section, raw.value);
    ref.target = Ref::Target::atom;
    ref.atom = place.atom;
    ref.at = place.at;
  } else {
    int64_t value = raw.value;
    if (raw.self_relative && table_relative(atom)) value -= owner.at;
    bind_ref(map_, ref, value);
  }
  atom.refs.push_back(ref);
}

// An unnamed pointer in writable data is clang's stub for a typeinfo that an exception table refers
// to: nobody can write it.
bool RefReader::is_pointer_stub(const Atom& atom) const {
  return atom.kind == AtomKind::anonymous && atom.writable && atom.refs.size() == 1 &&
         atom.refs[0].offset == 0 && atom.refs[0].width == atom.size;
}

void RefReader::bind() {
  for (const Raw& raw : raws_) bind_raw(raw);
  for (Atom& atom : map_.atoms_) {
    std::stable_sort(atom.refs.begin(), atom.refs.end(),
                     [](const Ref& a, const Ref& b) { return a.offset < b.offset; });
    if (is_pointer_stub(atom)) atom.writable = false;
  }
  for (const UnwindEntry& entry : unwind_) {
    if (!entry.lsda) continue;
    Ref code, table;
    code.symbol = entry.code->symbol;
    bind_ref(map_, code, entry.code->addend);
    table.symbol = entry.lsda->symbol;
    bind_ref(map_, table, entry.lsda->addend);
    if (code.target != Ref::Target::atom || table.target != Ref::Target::atom) continue;
    map_.atoms_[code.atom].lsda = table.atom;
    map_.atoms_[code.atom].lsda_at = static_cast<uint64_t>(table.at);
    if (entry.personality)
      map_.atoms_[code.atom].personality = map_.symbol(entry.personality->symbol).name;
  }
}

}  // namespace livecare::objdiff
