// Thread-local variables. Existing ones live in the target's block, new ones in a block of the
// image that the engine adds to every thread; both are reached by the sequences that the compiler
// chose: general dynamic and local dynamic with __tls_get_addr, initial exec through a GOT word,
// local exec (programs). Descriptors (TLSDESC) are turned into initial exec, as linkers do.
#include <elf.h>

#include <algorithm>

#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

using patchfmt::RelocationKind;

// Functions that run when a thread ends, long after an undo perhaps. The C library keeps their
// addresses scrambled, so that nobody can see that they are still needed.
constexpr std::string_view registration = "__cxa_thread_atexit";

bool is_destructor(std::string_view name) {
  for (std::string_view mark : {"D0Ev", "D1Ev", "D2Ev", "__tcf_", "__cxx_global_array_dtor"})
    if (name.find(mark) != std::string_view::npos) return true;
  return false;
}

}  // namespace

// C++: one function of a file initialises all thread-local variables of the file that need code for
// it, when a thread first uses one of them. In threads that have done so it does not run again.
void Linker::check_thread_local_constructors(const UnitState& state) {
  const objdiff::Diff& diff = state.unit->diff;
  auto is_initialiser = [](const objdiff::Function& function) {
    return function.name == "__tls_init" || function.name.starts_with("_ZTH");
  };
  if (std::none_of(diff.changed_functions.begin(), diff.changed_functions.end(), is_initialiser))
    return;
  for (const objdiff::Variable& variable : diff.new_data)
    if (variable.kind == objdiff::DataKind::thread_local_zero)
      refuse(variable.name, "",
             fmt::format("{}: is a new thread-local variable in a file that has others with "
                         "constructors: threads that have run those never run its own; make it a "
                         "static variable of the function that uses it",
                         state.unit->source_file));
}

// An image whose destructors may be called after an undo has to stay where it is. The engine keeps
// an image to which a word of the process points: here is one, in the thread-local block.
void Linker::keep_for_destructors() {
  const auto& symbols = output_.object.symbols;
  if (std::none_of(symbols.begin(), symbols.end(), [](const patchfmt::Symbol& symbol) {
        return symbol.kind == patchfmt::SymbolKind::import && symbol.name == registration;
      }))
    return;
  for (uint32_t index = 0; index < atoms_.size(); ++index) {
    if (atoms_[index].place != Place::text || !is_destructor(atoms_[index].name)) continue;
    Atom keeper;
    keeper.name = "(keeps the image for its destructors)";
    keeper.size = keeper.alignment = 8;
    keeper.place = Place::tls;
    keeper.content.resize(8);
    keeper.fixups = {{RelocationKind::absolute64, 0, {Dest::What::atom, index}, 0}};
    atoms_.push_back(std::move(keeper));
    return;
  }
}

std::optional<Dest> Linker::tls_dest(uint32_t index, const elf::Relocation& relocation) {
  elf::Relocation bare = relocation;
  bare.addend = 0;
  const Reached reached = reach(index, bare, 0, Use::address);
  if (!reached.ok) return std::nullopt;
  bool thread_local_storage = false;
  if (reached.dest.what == Dest::What::atom)
    thread_local_storage = atoms_[reached.dest.index].place == Place::tls && reached.addend == 0;
  if (reached.dest.what == Dest::What::symbol) {
    const auto kind = output_.object.symbols[reached.dest.index].kind;
    thread_local_storage =
        kind == patchfmt::SymbolKind::target_tls || kind == patchfmt::SymbolKind::import;
  }
  if (!thread_local_storage) {
    refuse_relocation(index, relocation, "is thread-local, but what it refers to is not");
    return std::nullopt;
  }
  return reached.dest;
}

// A local-dynamic sequence has one base for all variables of a function. With only new ones it is
// the new block, else the target's; where both are used, instructions that name a new one are
// detoured (link_detour.cc).
Dest Linker::tls_module_base(bool only_new) {
  for (const auto& segment : input_.shipped->segments()) {
    if (segment.type != PT_TLS || only_new) continue;
    return {Dest::What::symbol, intern({.kind = patchfmt::SymbolKind::target_tls,
                                        .name = "(thread-local block of the target)",
                                        .size = segment.memory_size,
                                        .proof = "PT_TLS of the shipped file"})};
  }
  return {Dest::What::symbol, intern({.kind = patchfmt::SymbolKind::new_tls,
                                      .name = "(thread-local block of the image)"})};
}

void Linker::lower_block_offset(uint32_t index, const elf::Relocation& relocation, Dest dest,
                                uint64_t start, uint64_t end) {
  auto fix = [&](Dest to, int64_t addend) {
    Atom& atom = atoms_[index];
    atom.fixups.push_back(
        {RelocationKind::tls_offset32, relocation.offset - atom.offset, to, addend});
  };
  if (dest.what == Dest::What::symbol) {
    const auto& symbol = output_.object.symbols[dest.index];
    if (symbol.kind != patchfmt::SymbolKind::target_tls)
      return refuse_relocation(index, relocation, "is in another file's thread-local block");
    return fix({}, relocation.addend + static_cast<int64_t>(symbol.value));
  }
  if (!thread_locals_of(index).existing)
    return fix({Dest::What::new_tls_offset, dest.index}, relocation.addend);
  const Dest word = {Dest::What::atom, distance_word()};
  if (!take_detour(index, relocation, start, end,
                   {Far::distance,
                    {RelocationKind::tp_offset32, 0, word, 0},
                    {RelocationKind::tp_offset32, 0, dest, relocation.addend}}))
    refuse_relocation(index, relocation,
                      "is in an instruction that cannot reach a new variable from the base of "
                      "existing ones; declare the variable with LIVECARE_THREAD_LOCAL");
}

bool Linker::lower_tls(uint32_t index, const elf::Relocation& relocation, uint64_t start,
                       uint64_t end) {
  auto fix = [&](RelocationKind kind, Dest dest, int64_t addend) {
    Atom& atom = atoms_[index];
    atom.fixups.push_back({kind, relocation.offset - atom.offset, dest, addend});
  };
  auto through_got = [&](std::vector<Fixup> words) {
    fix(RelocationKind::pc32, {Dest::What::got, got_entry(std::move(words))}, relocation.addend);
  };
  switch (relocation.type) {
    case R_X86_64_TLSGD:
      if (auto dest = tls_dest(index, relocation))
        through_got({{RelocationKind::tls_module64, 0, *dest, 0},
                     {RelocationKind::tls_offset64, 8, *dest, 0}});
      return true;
    case R_X86_64_TLSLD: {
      const ThreadLocals used = thread_locals_of(index);
      base_call_follows_ = used.existing && used.fresh;
      through_got(
          {{RelocationKind::tls_module64, 0, tls_module_base(used.fresh && !used.existing), 0},
           {RelocationKind::absolute64, 8, {}, 0}});
      return true;
    }
    case R_X86_64_DTPOFF32:
      if (auto dest = tls_dest(index, relocation))
        lower_block_offset(index, relocation, *dest, start, end);
      return true;
    case R_X86_64_DTPOFF64:
      if (auto dest = tls_dest(index, relocation))
        fix(RelocationKind::tls_offset64, *dest, relocation.addend);
      return true;
    case R_X86_64_GOTTPOFF:
      if (auto dest = tls_dest(index, relocation))
        through_got({{RelocationKind::tp_offset64, 0, *dest, 0}});
      return true;
    case R_X86_64_TPOFF32:
      if (auto dest = tls_dest(index, relocation))
        fix(RelocationKind::tp_offset32, *dest, relocation.addend);
      return true;
    case R_X86_64_TPOFF64:
      if (auto dest = tls_dest(index, relocation))
        fix(RelocationKind::tp_offset64, *dest, relocation.addend);
      return true;
    case R_X86_64_GOTPC32_TLSDESC: {  // lea x@tlsdesc(%rip), %rax -> mov x@gottpoff(%rip), %rax
      auto dest = tls_dest(index, relocation);
      Atom& atom = atoms_[index];
      const uint64_t at = relocation.offset - atom.offset;
      if (!dest || at < 2 || atom.content[at - 2] != 0x8d) return dest.has_value() ? false : true;
      atom.content[at - 2] = 0x8b;
      through_got({{RelocationKind::tp_offset64, 0, *dest, 0}});
      return true;
    }
    case R_X86_64_TLSDESC_CALL: {  // call *(%rax) -> xchg %ax, %ax
      Atom& atom = atoms_[index];
      const uint64_t at = relocation.offset - atom.offset;
      if (at + 2 > atom.content.size() || atom.content[at] != 0xff || atom.content[at + 1] != 0x10)
        return false;
      atom.content[at] = 0x66;
      atom.content[at + 1] = 0x90;
      return true;
    }
    default:
      return false;
  }
}

}  // namespace livecare::builder
