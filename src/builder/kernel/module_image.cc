// From diffs to one relocatable object.
//
// The idea. Start with the changed and new functions; whatever they refer to is either shipped (a
// reference to it, with its proof) or comes along as a piece of its own. Pieces are copied whole:
// with function and data sections a piece is a section, so nothing inside of it moves. Entries of
// the kernel's tables follow the code that they are about (objdiff/kernel_tables.h).
//
// The objects were run through objtool already, so its tables (ORC, return sites, static calls) are
// taken as they are. objtool is not run again: kbuild links what is given.
//
// References. A call from the patch to a changed function goes straight to the new one. The address
// of a changed function is that of the shipped one, which leads to the new code: it may be stored,
// compared, and outlive the patch. What the kernel exports to every module stays an ordinary
// undefined symbol; everything else has no relocation in the object at all but a line in
// .kcare.relocs, so no step of kbuild can object, and the signed file is never altered.
//
// A key of a static branch or call that lives in a module is read as soon as the patch is loaded:
// the module has to be there then, and kcare.ko holds it for as long as the patch is.
//
// What is refused besides: references into code that is gone after boot; places that the loader
// rewrites before kcare.ko can resolve them.
#include "builder/kernel/module_image.h"

#include <elf.h>

#include <algorithm>

#include "builder/kernel/extractor.h"
#include "insn/decode.h"
#include "objdiff/callers.h"
#include "trust/keys.h"

namespace livecare::builder {

using objdiff::KernelEntry;

namespace {

constexpr uint64_t branch_field_bytes = 4;
constexpr uint64_t site_bytes = 5;  // of a call or jump to a thunk
constexpr uint64_t function_alignment = 16;

}  // namespace

void Extractor::refuse(std::string_view function, std::string_view section, std::string reason) {
  for (const objdiff::Refusal& known : image_.refused)
    if (known.function == function && known.reason == reason) return;
  image_.refused.push_back({std::string(function), std::string(section), std::move(reason)});
}

Status Extractor::open_units() {
  for (const KernelUnit& unit : input_.units) {
    UnitState state;
    state.unit = &unit;
    TRY(objdiff::Resolver resolver, objdiff::Resolver::make(*unit.patched));
    state.resolver = std::make_unique<objdiff::Resolver>(std::move(resolver));
    TRY(state.entries, objdiff::read_kernel_entries(*unit.patched));
    for (const auto& function : unit.diff.changed_functions) {
      state.changed[function.patched_symbol] = &function;
      for (uint32_t part : function.patched_parts) state.parts[part] = &function;
    }
    for (const auto& function : unit.diff.new_functions) {
      state.fresh[function.patched_symbol] = &function;
      for (uint32_t part : function.patched_parts) state.parts[part] = &function;
    }
    for (const auto* list : {&unit.diff.changed_data, &unit.diff.new_data})
      for (const auto& variable : *list)
        if (!variable.kept) state.emitted_data.insert(variable.patched_symbol);
    auto index = static_cast<uint32_t>(units_.size());
    for (const auto& [symbol, function] : state.fresh)
      if (unit.patched->symbols()[symbol].bind != STB_LOCAL)
        new_globals_[function->name] = {index, symbol};
    for (const auto& variable : unit.diff.new_data)
      if (unit.patched->symbols()[variable.patched_symbol].bind != STB_LOCAL)
        new_globals_[variable.name] = {index, variable.patched_symbol};
    units_.push_back(std::move(state));
  }
  return ok_status();
}

Result<ModuleImage> Extractor::run() {
  image_.fresh = input_.fresh;
  TRY_STATUS(open_units());
  for (uint32_t unit = 0; unit < units_.size(); ++unit) {
    add_functions(unit);
    add_hooks(unit);
  }
  while (!open_.empty()) {
    uint32_t piece = open_.front();
    open_.pop_front();
    emit(piece);
  }
  check_early_patching();
  check_fresh();
  if (image_.functions.empty() && image_.refused.empty())
    refuse("", "", "no function of the shipped kernel changes, so nothing would be redirected");
  return std::move(image_);
}

void Extractor::add_functions(uint32_t unit) {
  for (const auto& function : units_[unit].unit->diff.changed_functions) replace(unit, function);
}

void Extractor::check_entry(uint32_t unit, const objdiff::Function& function) {
  const KernelUnit& from = *units_[unit].unit;
  auto entries = objdiff::read_kernel_entries(*from.original);
  bool traced =
      entries.ok() && std::any_of(entries->begin(), entries->end(), [&](const KernelEntry& entry) {
        return objdiff::is_ftrace_table(entry.table->section) &&
               entry.owner_section == function.original.section &&
               entry.owner_offset >= function.original.offset &&
               entry.owner_offset < function.original.offset + objdiff::ftrace_entry_window_bytes;
      });
  if (!traced)
    refuse(function.name, from.original->sections()[function.original.section].name,
           "has no place for ftrace at its entry (notrace), so it cannot be redirected; change its "
           "callers instead");
}

bool Extractor::is_module_entry(uint32_t unit, const objdiff::Function& function) const {
  const KernelUnit& from = *units_[unit].unit;
  return !from.home->is_vmlinux() &&
         std::any_of(from.original->symbols().begin(), from.original->symbols().end(),
                     [&](const elf::Symbol& symbol) {
                       return (symbol.name == objdiff::module_exit_name ||
                               symbol.name == objdiff::module_init_name) &&
                              symbol.section == function.original.section &&
                              symbol.value == function.original.offset;
                     });
}

// What it does is a part of what the module has to be loaded under, so that of another level is
// another one.
void Extractor::note_init(uint32_t unit, const objdiff::Function& function) {
  const elf::Image& patched = *units_[unit].unit->patched;
  Bytes content;
  auto add = [&](std::string_view text) {
    content.insert(content.end(), text.begin(), text.end());
    content.push_back(0);
  };
  for (const elf::Section& section : patched.sections()) {
    if (!objdiff::is_init_section(section.name) || !(section.flags & SHF_EXECINSTR)) continue;
    add(section.bytes.as_text());
    for (const elf::Relocation& relocation : patched.relocations(section.index))
      add(fmt::format("{} {} {} {}", relocation.offset, relocation.type,
                      patched.symbols()[relocation.symbol].name, relocation.addend));
  }
  image_.fresh[units_[unit].unit->home->name()].insert(
      fmt::format("{} of {}, which runs only then, changes ({:.16})", function.name,
                  units_[unit].unit->source, trust::sha256_hex(content)));
}

void Extractor::replace(uint32_t unit, const objdiff::Function& function) {
  const KernelUnit& from = *units_[unit].unit;
  std::string_view section = from.original->sections()[function.original.section].name;
  auto placement = from.map.placements.find(function.original_symbol);
  if (placement == from.map.placements.end() || !placement->second.content_proved) {
    auto why = from.map.refusals.find(function.original_symbol);
    refuse(function.name, section,
           fmt::format("the shipped {} is not proved to hold this function: {}", from.home->name(),
                       why == from.map.refusals.end() ? "its code was not compared" : why->second));
    return;
  }
  if (!is_module_entry(unit, function)) check_entry(unit, function);
  ReplacedFunction out;
  out.home = from.home;
  out.proof = placement->second.detail;
  auto old = from.home->symbol_at(placement->second.address, function.name);
  if (!old.ok()) {
    refuse(function.name, section, old.error().text());
    return;
  }
  out.old = std::move(old).value();
  out.init = objdiff::is_init_section(section);
  if (out.init) note_init(unit, function);
  for (uint32_t part : function.original_parts) {
    if (out.init) break;  // nobody was in it yet
    auto part_place = from.map.placements.find(part);
    std::string_view name = from.original->symbols()[part].name;
    if (part_place == from.map.placements.end()) {
      refuse(function.name, section,
             fmt::format("its part {} is not found in the shipped {}", name, from.home->name()));
      return;
    }
    auto symbol = from.home->symbol_at(part_place->second.address, name);
    if (!symbol.ok()) {
      refuse(function.name, section, symbol.error().text());
      return;
    }
    out.parts.push_back(std::move(symbol).value());
  }
  uint32_t piece = function_piece(unit, function.patched, function.name);
  out.place = pieces_[piece].place;
  out.place.offset += function.patched.offset - pieces_[piece].offset;
  out.size = function.patched.size;
  for (uint32_t part : function.patched_parts) {
    const elf::Symbol& symbol = from.patched->symbols()[part];
    function_piece(unit, {symbol.section, symbol.value, symbol.size}, symbol.name);
  }
  image_.functions.push_back(std::move(out));
}

uint32_t Extractor::out_section(const elf::Section& like) {
  elf::NewSection section;
  section.type = SHT_PROGBITS;
  section.flags = SHF_ALLOC;
  if (like.name == objdiff::dynamic_debug_section) {
    section.name = like.name;
    section.flags |= SHF_WRITE;
  } else if (like.name == objdiff::replacement_section) {
    section.name = like.name;
    section.flags |= SHF_EXECINSTR;
  } else if (like.flags & SHF_EXECINSTR) {
    section.name = ".text";
    section.flags |= SHF_EXECINSTR;
  } else if ((like.flags & SHF_WRITE) && like.type == SHT_NOBITS) {
    section.name = ".bss";
    section.type = SHT_NOBITS;
    section.flags |= SHF_WRITE;
  } else if (like.flags & SHF_WRITE) {
    section.name = ".data";
    section.flags |= SHF_WRITE;
  } else {
    section.name = ".rodata";
  }
  auto [found, fresh] = out_sections_.emplace(section.name, 0);
  if (fresh) found->second = image_.object.add_section(std::move(section));
  return found->second;
}

uint32_t Extractor::table_section(const elf::Section& like) {
  auto [found, fresh] = out_sections_.emplace(std::string(like.name), 0);
  if (fresh)
    found->second = image_.object.add_section({std::string(like.name),
                                               SHT_PROGBITS,
                                               like.flags & (SHF_ALLOC | SHF_WRITE),
                                               0,
                                               like.alignment,
                                               like.entry_size,
                                               0,
                                               {},
                                               {}});
  return found->second;
}

uint32_t Extractor::piece_for(uint32_t unit, objdiff::Extent extent, const std::string& owner) {
  auto key = std::tuple(unit, extent.section, extent.offset);
  if (auto known = piece_index_.find(key); known != piece_index_.end()) return known->second;
  const elf::Section& from = units_[unit].unit->patched->sections()[extent.section];
  Piece piece{unit, extent.section, extent.offset, extent.size, (from.flags & SHF_EXECINSTR) != 0,
              {},   owner};
  piece.place.section = out_section(from);
  elf::NewSection& to = image_.object.section(piece.place.section);
  uint64_t alignment = std::max<uint64_t>(from.alignment, 1);
  if (piece.code && from.name != objdiff::replacement_section)
    alignment = std::max(alignment, function_alignment);
  uint64_t at = to.type == SHT_NOBITS ? to.size : to.bytes.size();
  while ((at - extent.offset) % alignment != 0) ++at;
  to.alignment = std::max(to.alignment, alignment);
  piece.place.offset = at;
  if (to.type == SHT_NOBITS) {
    to.size = at + extent.size;
  } else {
    constexpr uint8_t trap = 0xcc;  // between functions
    to.bytes.resize(at, piece.code ? trap : uint8_t{0});
    auto content = from.bytes.slice(extent.offset, extent.size);
    Bytes bytes = content ? content->copy() : Bytes(extent.size, 0);
    to.bytes.insert(to.bytes.end(), bytes.begin(), bytes.end());
  }
  auto index = static_cast<uint32_t>(pieces_.size());
  pieces_.push_back(std::move(piece));
  piece_index_[key] = index;
  open_.push_back(index);
  return index;
}

// With function sections a function has a section of its own; it is taken whole, with what the
// compiler put behind it.
uint32_t Extractor::function_piece(uint32_t unit, const objdiff::Extent& extent,
                                   std::string_view name) {
  const elf::Image& patched = *units_[unit].unit->patched;
  const elf::Section& section = patched.sections()[extent.section];
  bool alone = std::none_of(
      patched.symbols().begin(), patched.symbols().end(), [&](const elf::Symbol& symbol) {
        return symbol.section == section.index && symbol.type == STT_FUNC &&
               (symbol.value < extent.offset || symbol.value >= extent.offset + extent.size);
      });
  objdiff::Extent whole = extent;
  if (alone) whole = {extent.section, 0, section.size};
  bool fresh = !piece_index_.contains(std::tuple(unit, whole.section, whole.offset));
  uint32_t piece = piece_for(unit, whole, std::string(name));
  // kbuild would take that for the patch's own.
  std::string called(name);
  if (name == objdiff::module_exit_name || name == objdiff::module_init_name)
    called = "new_" + called;
  if (fresh)
    image_.object.add_symbol(
        {std::move(called), STB_LOCAL, STT_FUNC, STV_DEFAULT, pieces_[piece].place.section,
         pieces_[piece].place.offset + extent.offset - whole.offset, extent.size});
  return piece;
}

void Extractor::emit(uint32_t index) {
  const Piece piece = pieces_[index];  // a copy: relocate() adds pieces
  const elf::Image& patched = *units_[piece.unit].unit->patched;
  if (piece.code) {
    std::string_view section = patched.sections()[piece.section].name;
    auto why = objdiff::kernel_code_refusal(section);
    bool module_entry = !units_[piece.unit].unit->home->is_vmlinux() &&
                        (objdiff::is_exit_section(section) || objdiff::is_init_section(section));
    if (!why.empty() && !module_entry) refuse(piece.owner, section, std::string(why));
    emit_entries(index);
    relocate_jumps_out(piece);
  }
  for (const elf::Relocation& relocation : patched.relocations(piece.section)) {
    if (relocation.offset < piece.offset || relocation.offset >= piece.offset + piece.size)
      continue;
    SectionPlace place{piece.place.section, piece.place.offset + relocation.offset - piece.offset};
    Use use = piece.code && is_branch(relocation) ? Use::branch : Use::address;
    relocate(piece.unit, relocation, piece.section, place, use, piece.owner);
  }
}

// A branch that the assembler resolved, out of a piece that is not a whole section: functions with
// a section attribute (.sched.text and the like) share one. It becomes a reference like any other.
void Extractor::relocate_jumps_out(const Piece& piece) {
  const elf::Image& patched = *units_[piece.unit].unit->patched;
  const elf::Section& section = patched.sections()[piece.section];
  if (piece.offset == 0 && piece.size == section.size) return;
  auto code = section.bytes.slice(piece.offset, piece.size);
  const auto& relocations = patched.relocations(piece.section);
  for (uint64_t at = 0; code && at < piece.size;) {
    auto instruction = insn::decode(insn::Cpu::x86_64, *code->slice(at, piece.size - at));
    if (!instruction || instruction->length == 0) {
      refuse(piece.owner, section.name, "its code cannot be decoded to the end");
      return;
    }
    uint64_t field = piece.offset + at + instruction->pc_relative_offset;
    bool relocated = std::any_of(relocations.begin(), relocations.end(),
                                 [&](const auto& r) { return r.offset == field; });
    int64_t target = static_cast<int64_t>(at + instruction->length) + instruction->displacement;
    if (instruction->pc_relative_width != 0 && !relocated &&
        (target < 0 || target >= static_cast<int64_t>(piece.size)))
      relocate_jump_out(piece, *instruction, at, target + static_cast<int64_t>(piece.offset));
    at += instruction->length;
  }
}

void Extractor::relocate_jump_out(const Piece& piece, const insn::Instruction& instruction,
                                  uint64_t at, int64_t target) {
  const elf::Image& patched = *units_[piece.unit].unit->patched;
  const elf::Section& section = patched.sections()[piece.section];
  auto function = std::find_if(
      patched.symbols().begin(), patched.symbols().end(), [&](const elf::Symbol& symbol) {
        auto value = static_cast<int64_t>(symbol.value);
        return symbol.section == section.index && symbol.type == STT_FUNC && target >= value &&
               target < value + static_cast<int64_t>(symbol.size);
      });
  bool long_branch = instruction.pc_relative_width == branch_field_bytes &&
                     instruction.pc_relative_offset + branch_field_bytes == instruction.length &&
                     instruction.flow != insn::Flow::next;
  if (!long_branch || function == patched.symbols().end()) {
    refuse(piece.owner, section.name,
           "reaches its neighbour in a section that it shares by more than a call or a long jump; "
           "give it a section of its own");
    return;
  }
  uint64_t field = at + instruction.pc_relative_offset;
  SectionPlace place{piece.place.section, piece.place.offset + field};
  // The kernel's loader takes only fields that are zero.
  Bytes& out = image_.object.section(place.section).bytes;
  std::fill_n(out.begin() + static_cast<ptrdiff_t>(place.offset), branch_field_bytes, uint8_t{0});
  int64_t addend =
      target - static_cast<int64_t>(function->value) - static_cast<int64_t>(branch_field_bytes);
  relocate(piece.unit, {piece.offset + field, R_X86_64_PLT32, function->index, addend},
           piece.section, place, Use::branch, piece.owner);
}

void Extractor::emit_entries(uint32_t index) {
  const Piece piece = pieces_[index];
  UnitState& state = units_[piece.unit];
  uint64_t end = piece.offset + piece.size;
  bool last = end == state.unit->patched->sections()[piece.section].size;
  for (const KernelEntry& entry : state.entries) {
    if (entry.owner_section != piece.section || entry.owner_offset < piece.offset) continue;
    bool is_orc = entry.table->section == ".orc_unwind_ip";
    bool ends = is_orc && last && entry.owner_offset == end;  // "no code from here on"
    if (entry.owner_offset >= end && !ends) continue;
    emit_entry(index, entry);
    if (is_orc) emit_orc(state, entry);
  }
}

void Extractor::emit_entry(uint32_t index, const KernelEntry& entry) {
  const Piece piece = pieces_[index];
  const elf::Image& patched = *units_[piece.unit].unit->patched;
  const elf::Section& table = patched.sections()[entry.section];
  uint32_t to = table_section(table);
  SectionPlace at{to, image_.object.section(to).bytes.size()};
  entry_places_[{piece.unit, entry.section, entry.offset}] = at;
  Bytes bytes = table.bytes.slice(entry.offset, entry.size)->copy();
  SectionPlace site{piece.place.section, piece.place.offset + entry.owner_offset - piece.offset};
  std::string_view name = entry.table->section;
  if (name == ".altinstructions")
    early_.push_back({site, bytes[entry.size - 2], name});
  else if (name == ".parainstructions")
    early_.push_back({site, bytes[9], name});
  else if (name == ".retpoline_sites" || name == ".return_sites")
    early_.push_back({site, site_bytes, name});
  // Entries of 16 bytes: the last one of an object may lack its padding.
  if (name == ".parainstructions") bytes.resize(16, 0);
  Bytes& out = image_.object.section(to).bytes;
  out.insert(out.end(), bytes.begin(), bytes.end());
  auto replacement = objdiff::replacement_of(patched, entry);
  for (const elf::Relocation& relocation : patched.relocations(entry.section)) {
    if (relocation.offset < entry.offset || relocation.offset >= entry.offset + entry.size)
      continue;
    uint64_t field = relocation.offset - entry.offset;
    SectionPlace place{to, at.offset + field};
    if (entry.table->replacement >= 0 && field == static_cast<uint64_t>(entry.table->replacement)) {
      if (!replacement) {
        refuse(piece.owner, name, "an entry of it has no replacement that can be read");
        continue;
      }
      SectionPlace code{out_section(patched.sections()[replacement->section]), 0};
      if (replacement->size != 0) {
        uint32_t taken =
            piece_for(piece.unit, {replacement->section, replacement->offset, replacement->size},
                      piece.owner);
        code = pieces_[taken].place;
        early_.push_back({code, replacement->size, objdiff::replacement_section});
      }
      image_.object.section(to).relocations.push_back({place.offset, relocation.type,
                                                       image_.object.section_symbol(code.section),
                                                       static_cast<int64_t>(code.offset)});
      continue;
    }
    relocate(piece.unit, relocation, entry.section, place, Use::table, piece.owner);
  }
}

// The n-th address has the n-th record in the other table.
void Extractor::emit_orc(UnitState& state, const KernelEntry& entry) {
  const elf::Image& patched = *state.unit->patched;
  const elf::Section* records = patched.section(".orc_unwind");
  const elf::Section& addresses = patched.sections()[entry.section];
  uint64_t count = addresses.size / entry.size;
  if (!records || records->size % count != 0) {
    refuse("", ".orc_unwind", "its records do not go with the addresses in .orc_unwind_ip");
    return;
  }
  uint64_t bytes = records->size / count;
  auto record = records->bytes.slice(entry.offset / entry.size * bytes, bytes);
  uint32_t to = table_section(*records);
  Bytes& out = image_.object.section(to).bytes;
  if (record) out.insert(out.end(), record->begin(), record->end());
}

void Extractor::check_early_patching() {
  for (const OutsideReference& reference : image_.references) {
    for (const EarlyRange& range : early_) {
      if (range.place.section != reference.place.section ||
          reference.place.offset < range.place.offset ||
          reference.place.offset >= range.place.offset + range.size)
        continue;
      refuse("", range.table,
             fmt::format("the loader rewrites a reference to {} before it can be resolved, since "
                         "the kernel does not export that; avoid it in the fix",
                         reference.symbol.name));
    }
  }
}

// Its key would have to be there before the module may be.
void Extractor::check_fresh() {
  for (const OutsideReference& reference : image_.references)
    if (image_.fresh.contains(reference.home->name()) &&
        is_read_at_once(image_.object.section(reference.place.section).name))
      refuse("", reference.home->name(),
             fmt::format("the key {} has to be there before the patch, but the module must not be",
                         reference.symbol.name));
}

bool is_read_at_once(std::string_view section) {
  return section == "__jump_table" || section == ".static_call_sites";
}

Result<ModuleImage> extract(const ExtractInput& input) {
  return Extractor(input).run();
}

}  // namespace livecare::builder
