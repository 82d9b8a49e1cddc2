// Puts detours (detour.cc) into the image: where new code names something that is too far away, and
// where a function uses existing and new thread-local variables from one base.
//
// For the latter the call that gets the base goes through a function of ours, which also leaves the
// distance of the two blocks in a new thread-local word. It is the same at every call of a thread,
// so a signal handler that comes in between does no harm.
#include <elf.h>

#include "builder/detour.h"
#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

using patchfmt::RelocationKind;

constexpr uint8_t call_opcode = 0xe8, jump_opcode = 0xe9, nop = 0x90;

// sub $8, %rsp; call *word(%rip); mov %fs:0, %rcx; sub %rax, %rcx; mov %rcx, %fs:word; add $8,
// %rsp; ret. Like any function it may use %rcx.
constexpr uint8_t base_code[] = {
    0x48, 0x83, 0xec, 0x08, 0xff, 0x15, 0, 0,    0,    0,    0x64, 0x48,
    0x8b, 0x0c, 0x25, 0,    0,    0,    0, 0x48, 0x29, 0xc1, 0x64, 0x48,
    0x89, 0x0c, 0x25, 0,    0,    0,    0, 0x48, 0x83, 0xc4, 0x08, 0xc3,
};
constexpr uint64_t base_code_callee = 6, base_code_word = 27;

// Its unwind table: CIE (version 1, "zR", pc-relative), FDE.
constexpr uint8_t base_cie[] = {20, 0,    0,  0, 0,    0,    0, 0, 1,    'z', 'R', 0,
                                1,  0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1,   0,   0};
constexpr uint8_t base_fde[] = {24, 0, 0, 0, 0,    0,    0,  0,    0,    0, 0, 0, sizeof base_code,
                                0,  0, 0, 0, 0x44, 0x0e, 16, 0x5f, 0x0e, 8, 0, 0, 0,
                                0,  0};
constexpr uint64_t fde_cie = 4, fde_start = 8;
static_assert(sizeof base_cie == 24 && sizeof base_fde == 28);
// The codes of the FDE: after 4 bytes the frame has 16 bytes, after 31 more 8 again.
static_assert(sizeof base_code == 36 && 4 + (0x5f - 0x40) == 35);

std::string_view without_cold(std::string_view name) {
  return name.substr(0, name.find(".cold"));
}

}  // namespace

uint32_t Linker::add_code(uint32_t origin, std::string name, Bytes code) {
  Atom atom;
  atom.name = std::move(name);
  atom.unit = atoms_[origin].unit;
  atom.section = atoms_[origin].section;
  atom.size = code.size();
  atom.place = Place::text;
  atom.function = true;
  atom.content = std::move(code);
  atoms_.push_back(std::move(atom));
  return static_cast<uint32_t>(atoms_.size() - 1);
}

bool Linker::take_detour(uint32_t index, const elf::Relocation& relocation, uint64_t start,
                         uint64_t end, const FarOperand& operand) {
  if (start == end) return false;
  const UnitState& state = units_[atoms_[index].unit];
  const uint64_t from = start - atoms_[index].offset;
  auto instruction = ByteView(atoms_[index].content).slice(from, end - start);
  // Two fields of one instruction would both have to move.
  if (!instruction ||
      state.model->relocations(atoms_[index].section, start, end - start).size() != 1)
    return false;
  auto made = detour(*instruction, relocation.offset - start, operand.far);
  if (!made) return false;
  const uint32_t detoured =
      add_code(index, atoms_[index].name + " (detour)", std::move(made->code));
  Atom& to = atoms_[detoured];
  Fixup word = operand.word, value = operand.value;
  word.offset = made->word;
  value.offset = made->value;
  to.fixups = {word, value};
  Atom& atom = atoms_[index];
  if (made->back)
    to.fixups.push_back({RelocationKind::pc32,
                         *made->back,
                         {Dest::What::atom, index},
                         static_cast<int64_t>(end - atom.offset) - 4});
  std::fill_n(atom.content.begin() + static_cast<std::ptrdiff_t>(from), end - start, nop);
  atom.content[from] = made->call ? call_opcode : jump_opcode;
  atom.fixups.push_back({RelocationKind::pc32, from + 1, {Dest::What::atom, detoured}, -4});
  return true;
}

// A reference to something outside of the image that four bytes may not reach.
void Linker::lower_far(uint32_t index, const elf::Relocation& relocation, RelocationKind kind,
                       Dest dest, int64_t addend, uint64_t start, uint64_t end) {
  const auto& symbol = output_.object.symbols[dest.index];
  const bool code =
      symbol.kind == patchfmt::SymbolKind::target_ifunc || versions_.is_function(symbol.name);
  if (code && addend == 0 && kind != RelocationKind::pc32) {
    const std::string name = symbol.name;
    atoms_[index].fixups.push_back({kind,
                                    relocation.offset - atoms_[index].offset,
                                    {Dest::What::stub, stub_for(dest, name)},
                                    0});
    return;
  }
  const Dest word = {Dest::What::got, got_entry({{RelocationKind::absolute64, 0, dest, 0}})};
  if (!take_detour(index, relocation, start, end,
                   {Far::address,
                    {RelocationKind::pc32, 0, word, -4},
                    {RelocationKind::absolute32s, 0, {}, addend}}))
    refuse_relocation(index, relocation, "needs its address within 2 GiB; compile with -fPIC");
}

Linker::ThreadLocals Linker::thread_locals_of(uint32_t index) {
  const uint32_t unit = atoms_[index].unit;
  const std::string name(without_cold(atoms_[index].name));
  auto known = thread_locals_.find({unit, name});
  if (known != thread_locals_.end()) return known->second;
  ThreadLocals found;
  auto look = [&](uint32_t section, uint64_t offset, uint64_t size) {
    for (const auto* relocation : units_[unit].model->relocations(section, offset, size)) {
      if (relocation->type != R_X86_64_DTPOFF32) continue;
      const auto dest = tls_dest(index, *relocation);
      if (dest) (dest->what == Dest::What::atom ? found.fresh : found.existing) = true;
    }
  };
  look(atoms_[index].section, atoms_[index].offset, atoms_[index].size);
  // The base is handed on to the parts of the function that are elsewhere.
  for (const match::Node& node : units_[unit].model->nodes())
    if (node.code && node.section && without_cold(node.name) == name)
      look(node.section, node.offset, node.size);
  return thread_locals_[{unit, name}] = found;
}

uint32_t Linker::distance_word() {
  if (!distance_word_) {
    Atom atom;
    atom.name = "(distance of the thread-local blocks)";
    atom.size = atom.alignment = 8;
    atom.place = Place::tls;
    distance_word_ = static_cast<uint32_t>(atoms_.size());
    atoms_.push_back(std::move(atom));
  }
  return *distance_word_;
}

void Linker::lower_base_call(uint32_t index, const elf::Relocation& relocation) {
  elf::Relocation bare = relocation;
  bare.addend = 0;
  const Reached reached = reach(index, bare, 0, Use::address);
  if (!reached.ok) return;
  if (!base_function_) {
    const uint32_t word = distance_word();
    const Dest callee = {Dest::What::got,
                         got_entry({{RelocationKind::absolute64, 0, reached.dest, 0}})};
    base_function_ = add_code(index, "(base of the thread-local block)",
                              Bytes(std::begin(base_code), std::end(base_code)));
    atoms_[*base_function_].fixups = {
        {RelocationKind::pc32, base_code_callee, callee, -4},
        {RelocationKind::tp_offset32, base_code_word, {Dest::What::atom, word}, 0}};
  }
  Atom& atom = atoms_[index];
  const uint64_t at = relocation.offset - atom.offset;
  if (at >= 2 && atom.content[at - 2] == 0xff && atom.content[at - 1] == 0x15) {
    atom.content[at - 2] = 0x67;  // call *word(%rip) -> addr32 call
    atom.content[at - 1] = call_opcode;
  } else if (at < 1 || atom.content[at - 1] != call_opcode) {
    return refuse_relocation(index, relocation, "is not the call that was expected");
  }
  atom.fixups.push_back({RelocationKind::pc32, at, {Dest::What::atom, *base_function_}, -4});
}

void Linker::add_base_unwind(uint32_t table) {
  if (!base_function_) return;
  Atom& atom = atoms_[table];
  const uint64_t cie = atom.content.size(), fde = cie + sizeof base_cie;
  atom.content.insert(atom.content.end(), std::begin(base_cie), std::end(base_cie));
  atom.content.insert(atom.content.end(), std::begin(base_fde), std::end(base_fde));
  store_le(atom.content, fde + fde_cie, static_cast<uint32_t>(fde + fde_cie - cie));
  atom.fixups.push_back(
      {RelocationKind::pc32, fde + fde_start, {Dest::What::atom, *base_function_}, 0});
}

}  // namespace livecare::builder
