// Reads what every atom refers to (ObjectMap::make's second half): relocations, and the references
// that the assembler resolved itself inside one section.
#pragma once

#include <vector>

#include "objdiff/atom_cutter.h"
#include "objdiff/eh_frame.h"
#include "objdiff/object_map.h"

namespace livecare::objdiff {

class RefReader {
 public:
  explicit RefReader(ObjectMap& map) : map_(map) {}

  Status read_code();
  Status read_data();
  Status read_unwind();
  void mark_starts(AtomCutter& cutter) const;
  void bind();

  // Fills target, atom and at of a ref whose symbol is known; value is the addend as the CPU sees
  // it (the effective address relative to the symbol).
  static void bind_ref(const ObjectMap& map, Ref& ref, int64_t value);

 private:
  struct Raw {  // a reference before its target's atom is known
    uint32_t section = 0;
    uint64_t offset = 0;  // in the section
    Ref ref;
    int64_t value = 0;           // see bind_ref; for local references the place in the section
    bool self_relative = false;  // a PC-relative word of data
  };
  Status read_code_atom(AtomId id);
  Result<Raw> make_raw(const elf::Relocation& relocation, uint32_t section) const;
  void take_local_reference(const Atom& atom, const CodeInstruction& instruction);
  void bind_raw(const Raw& raw);
  bool table_relative(const Atom& atom) const;
  bool is_pointer_stub(const Atom& atom) const;

  ObjectMap& map_;
  std::vector<Raw> raws_;
  std::vector<UnwindEntry> unwind_;
};

}  // namespace livecare::objdiff
