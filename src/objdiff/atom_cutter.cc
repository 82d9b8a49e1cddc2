// How an object is cut.
//
// With function and data sections nearly every section is one atom. Without them the symbols' sizes
// give the extents, and what no symbol covers is either padding or an unnamed object: a jump table,
// a constant aggregate, an exception table. Nothing in the file says where an unnamed object
// begins, except that somebody takes its address there. So starts are gathered from every
// address-taking reference (RefReader), from assembler-local symbols that were kept, and from
// .eh_frame; an unnamed atom reaches to the next start. A direct load with a fixed address says how
// many bytes it reads and needs no start of its own. A run of relocations into code that begins at
// a start is a jump table and ends where the run ends.
//
// Mergeable sections are cut by their entries: the linker may move each entry on its own.
#include "objdiff/atom_cutter.h"

#include <elf.h>

#include <algorithm>

#include "insn/decode.h"
#include "objdiff/kernel_tables.h"
#include "objdiff/names.h"
#include "objdiff/reloc.h"

namespace livecare::objdiff {
namespace {

constexpr uint64_t jump_table_entries_min = 2;

// Names an atom better: typed over untyped, global over weak over local, sized over unsized.
int rank(const elf::Symbol& symbol) {
  int score = 0;
  if (symbol.type != STT_NOTYPE) score += 8;
  if (symbol.bind == STB_GLOBAL) score += 4;
  if (symbol.bind == STB_WEAK) score += 2;
  if (symbol.size != 0) score += 1;
  return score;
}

bool cuts(const elf::Symbol& symbol) {
  switch (symbol.type) {
    case STT_NOTYPE:
    case STT_OBJECT:
    case STT_FUNC:
    case STT_TLS:
    case STT_GNU_IFUNC:
      return !is_assembler_local(symbol.name);
    default:
      return false;
  }
}

}  // namespace

AtomId AtomCutter::add(const elf::Section& section, AtomKind kind, uint64_t begin, uint64_t end) {
  Atom atom;
  atom.kind = kind;
  atom.role = section_role(section);
  atom.section = section.index;
  atom.offset = begin;
  atom.size = end - begin;
  atom.writable = is_writable_data(section);
  atom.zero = section.type == SHT_NOBITS;
  atom.thread_local_ = section.flags & SHF_TLS;
  map_.atoms_.push_back(std::move(atom));
  return static_cast<AtomId>(map_.atoms_.size() - 1);
}

void AtomCutter::name_atom(Atom& atom, uint32_t symbol) {
  atom.symbols.push_back(symbol);
  if (atom.symbol == 0 || rank(map_.symbol(symbol)) > rank(map_.symbol(atom.symbol))) {
    atom.symbol = symbol;
    atom.name = map_.symbol(symbol).name;
  }
}

Status AtomCutter::cut_section(const elf::Section& section, std::vector<uint32_t>& symbols) {
  std::stable_sort(symbols.begin(), symbols.end(), [&](uint32_t a, uint32_t b) {
    const elf::Symbol &x = map_.symbol(a), &y = map_.symbol(b);
    return x.value != y.value ? x.value < y.value : x.size > y.size;
  });
  bool code = section.flags & SHF_EXECINSTR;
  uint64_t position = 0;
  for (size_t i = 0; i < symbols.size(); i++) {
    const elf::Symbol& symbol = map_.symbol(symbols[i]);
    if (symbol.value > section.size || symbol.size > section.size - symbol.value)
      return make_error(ErrorCode::invalid_input, map_.image_->name(),
                        "symbol {} reaches outside its section {}; compile the object again",
                        symbol.name, section.name);
    if (!map_.atoms_.empty()) {
      Atom& last = map_.atoms_.back();
      bool same = last.section == section.index && last.named();
      if (same && symbol.value == last.offset) {
        name_atom(last, symbols[i]);
        continue;
      }
      if (same && symbol.value < last.end()) {
        last.interior.push_back(symbols[i]);
        continue;
      }
    }
    uint64_t end = symbol.value + symbol.size;
    if (symbol.size == 0) {
      end = section.size;
      for (size_t j = i + 1; j < symbols.size(); j++) {
        if (map_.symbol(symbols[j]).value <= symbol.value) continue;
        end = map_.symbol(symbols[j]).value;
        break;
      }
    }
    cut_gap(section, position, symbol.value);
    AtomId id = add(section, code ? AtomKind::function : AtomKind::variable, symbol.value, end);
    name_atom(map_.atoms_[id], symbols[i]);
    position = end;
  }
  cut_gap(section, position, section.size);
  return ok_status();
}

Status AtomCutter::cut_named() {
  const auto& sections = map_.image_->sections();
  std::vector<std::vector<uint32_t>> symbols(sections.size());
  for (const elf::Symbol& symbol : map_.image_->symbols()) {
    if (symbol.section == elf::section_undefined || symbol.section >= sections.size()) continue;
    if (cuts(symbol)) symbols[symbol.section].push_back(symbol.index);
    if (symbol.type != STT_SECTION && symbol.type != STT_FILE && !cuts(symbol))
      mark_start(symbol.section, static_cast<int64_t>(symbol.value));
  }
  for (const elf::Section& section : sections)
    if (section_role(section) != SectionRole::ignored)
      TRY_STATUS(cut_section(section, symbols[section.index]));
  return ok_status();
}

void AtomCutter::cut_gap(const elf::Section& section, uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  if (section.flags & SHF_EXECINSTR) {
    auto code = section.bytes.slice(begin, end - begin);
    if (code && is_code_padding(map_.image_->machine(), *code)) return;
    if (code && section.name == feature_test_section)
      cut_feature_tests(section, *code, begin);
    else
      add(section, AtomKind::code, begin, end);
  } else if ((section.flags & SHF_MERGE) && section.entry_size > 0 && section.type != SHT_NOBITS) {
    cut_merge_gap(section, begin, end);
  } else {
    gaps_.push_back({section.index, begin, end});
  }
}

// A test ends in a jump back. What cannot be read to such an end stays one piece.
void AtomCutter::cut_feature_tests(const elf::Section& section, ByteView code, uint64_t begin) {
  uint64_t start = 0, at = 0;
  while (at < code.size()) {
    auto instruction = insn::decode(insn::Cpu::x86_64, *code.slice(at, code.size() - at));
    if (!instruction || instruction->length == 0) break;
    at += instruction->length;
    if (instruction->flow != insn::Flow::jump) continue;
    add(section, AtomKind::code, begin + start, begin + at);
    start = at;
  }
  if (start < code.size()) add(section, AtomKind::code, begin + start, begin + code.size());
}

void AtomCutter::cut_merge_gap(const elf::Section& section, uint64_t begin, uint64_t end) {
  uint64_t width = section.entry_size;
  bool strings = section.flags & SHF_STRINGS;
  uint64_t at = begin;
  while (at < end) {
    uint64_t next = at;
    bool last = false;
    while (next < end && !last) {
      auto unit = section.bytes.slice(next, std::min(width, end - next));
      last = !strings || !unit ||
             std::all_of(unit->begin(), unit->end(), [](uint8_t b) { return b == 0; });
      next = std::min(end, next + width);
    }
    add(section, strings ? AtomKind::string : AtomKind::constant, at, next);
    at = next;
  }
}

void AtomCutter::mark_start(uint32_t section, int64_t offset) {
  if (offset >= 0) starts_[section].insert(static_cast<uint64_t>(offset));
}

// Where the run of relocations into code that begins at `begin` ends; begin when there is none.
uint64_t AtomCutter::jump_table_end(const elf::Section& section, uint64_t begin,
                                    uint64_t end) const {
  const auto& relocations = map_.image_->relocations(section.index);
  auto next = std::lower_bound(
      relocations.begin(), relocations.end(), begin,
      [](const elf::Relocation& relocation, uint64_t at) { return relocation.offset < at; });
  uint64_t at = begin;
  uint64_t entries = 0;
  for (; next != relocations.end() && next->offset == at && at < end; next++, entries++) {
    auto shape = reloc_shape(map_.image_->machine(), next->type);
    uint32_t target = map_.symbol(next->symbol).section;
    bool into_code = target < map_.image_->sections().size() &&
                     (map_.image_->sections()[target].flags & SHF_EXECINSTR);
    if (!shape || shape->width < 4 || !into_code) break;
    at += shape->width;
  }
  return entries >= jump_table_entries_min ? std::min(at, end) : begin;
}

void AtomCutter::cut_gaps() {
  for (const Gap& gap : gaps_) {
    const elf::Section& section = map_.image_->sections()[gap.section];
    const std::set<uint64_t>& starts = starts_[gap.section];
    uint64_t at = gap.begin;
    while (at < gap.end) {
      auto next = starts.upper_bound(at);
      uint64_t end = next == starts.end() ? gap.end : std::min(*next, gap.end);
      uint64_t table_end = jump_table_end(section, at, end);
      if (table_end > at && table_end < end) {
        add(section, AtomKind::anonymous, at, table_end);
        at = table_end;
      }
      add(section, AtomKind::anonymous, at, end);
      at = end;
    }
  }
  sort_and_place();
}

void AtomCutter::sort_and_place() {
  map_.by_section_.assign(map_.image_->sections().size(), {});
  for (AtomId id = 0; id < map_.atoms_.size(); id++)
    map_.by_section_[map_.atoms_[id].section].push_back(id);
  for (auto& ids : map_.by_section_)
    std::sort(ids.begin(), ids.end(), [&](AtomId a, AtomId b) {
      const Atom &x = map_.atoms_[a], &y = map_.atoms_[b];
      return x.offset != y.offset ? x.offset < y.offset : x.size < y.size;
    });
  map_.places_.assign(map_.image_->symbols().size(), {});
  for (AtomId id = 0; id < map_.atoms_.size(); id++) {
    for (uint32_t symbol : map_.atoms_[id].symbols) map_.places_[symbol] = {id, 0};
    for (uint32_t symbol : map_.atoms_[id].interior) {
      auto inside = map_.symbol(symbol).value - map_.atoms_[id].offset;
      map_.places_[symbol] = {id, static_cast<int64_t>(inside)};
    }
  }
  for (const elf::Symbol& symbol : map_.image_->symbols()) {
    if (symbol.type == STT_SECTION || symbol.type == STT_FILE || symbol.is_undefined()) continue;
    if (symbol.section >= map_.by_section_.size()) continue;
    if (map_.places_[symbol.index].atom == no_atom)
      map_.places_[symbol.index] = map_.find(symbol.section, static_cast<int64_t>(symbol.value));
  }
}

}  // namespace livecare::objdiff
