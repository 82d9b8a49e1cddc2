// Thread-local variables. Existing ones live in the target's block, new ones in a block of the
// image that the engine adds to every thread; both are reached by the sequences that the compiler
// chose: general dynamic and local dynamic with __tls_get_addr, initial exec through a GOT word,
// local exec (programs). Descriptors (TLSDESC) are turned into initial exec, as linkers do.
#include <elf.h>

#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

using patchfmt::RelocationKind;

}  // namespace

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
// the new block; with both it is the target's block, which serves new ones only where both blocks
// lie at a fixed distance (the engine checks): authors can declare such a variable with
// LIVECARE_THREAD_LOCAL.
bool Linker::only_new_thread_locals(uint32_t index) {
  const Atom atom = atoms_[index];
  const auto relocations =
      units_[atom.unit].model->relocations(atom.section, atom.offset, atom.size);
  for (const auto* relocation : relocations) {
    if (relocation->type != R_X86_64_DTPOFF32) continue;
    const auto dest = tls_dest(index, *relocation);
    if (!dest || dest->what != Dest::What::atom) return false;
  }
  return true;
}

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

bool Linker::lower_tls(uint32_t index, const elf::Relocation& relocation) {
  auto fix = [&](RelocationKind kind, Dest dest, int64_t addend) {
    Atom& atom = atoms_[index];
    atom.fixups.push_back({kind, relocation.offset - atom.offset, dest, addend});
  };
  auto through_got = [&](std::vector<Fixup> words) {
    fix(RelocationKind::pc32, {Dest::What::got, got_entry(std::move(words))}, relocation.addend);
  };
  auto fix_block_offset = [&](Dest dest) {
    if (dest.what == Dest::What::symbol) {
      const auto& symbol = output_.object.symbols[dest.index];
      if (symbol.kind != patchfmt::SymbolKind::target_tls)
        return refuse_relocation(index, relocation, "is in another file's thread-local block");
      return fix(RelocationKind::tls_offset32, {},
                 relocation.addend + static_cast<int64_t>(symbol.value));
    }
    if (only_new_thread_locals(index)) dest.what = Dest::What::new_tls_offset;
    fix(RelocationKind::tls_offset32, dest, relocation.addend);
  };
  switch (relocation.type) {
    case R_X86_64_TLSGD:
      if (auto dest = tls_dest(index, relocation))
        through_got({{RelocationKind::tls_module64, 0, *dest, 0},
                     {RelocationKind::tls_offset64, 8, *dest, 0}});
      return true;
    case R_X86_64_TLSLD:
      through_got(
          {{RelocationKind::tls_module64, 0, tls_module_base(only_new_thread_locals(index)), 0},
           {RelocationKind::absolute64, 8, {}, 0}});
      return true;
    case R_X86_64_DTPOFF32:
      if (auto dest = tls_dest(index, relocation)) fix_block_offset(*dest);
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
