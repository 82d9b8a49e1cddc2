// Are two atoms the same, given which atom is which? Content is compared with relocated fields
// masked out, then what the fields refer to: named things by their pairing, unnamed read-only
// things by content, as deep as it goes.
//
// Borrows both maps and the pairing, which may grow between calls (forget() then).
// Not thread-safe (it remembers results).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "objdiff/line_noise.h"
#include "objdiff/object_map.h"
#include "objdiff/pairing.h"

namespace livecare::objdiff {

class Comparer {
 public:
  Comparer(const ObjectMap& original, const ObjectMap& patched, const Pairing& pairing)
      : original_(original),
        patched_(patched),
        pairing_(pairing),
        line_shifts_(original, patched, pairing) {}

  // Empty when the code is the same; otherwise why not, for people.
  std::optional<std::string> code_difference(AtomId original, AtomId patched);
  // The same bytes and the same places of references, whatever they refer to.
  bool same_shape(AtomId original, AtomId patched);
  // Data, with all it refers to.
  bool same_data(AtomId original, AtomId patched);
  bool same_target(const Ref& original, const Ref& patched);
  // To be called when the pairing changed.
  void forget();
  // Code may refer to its own entries of the kernel's tables, whose content is compared elsewhere
  // (KernelEntries), and to records of the sanitizer. An error for tables that cannot be read.
  Status know_kernel_tables();

 private:
  using Key = std::pair<AtomId, AtomId>;
  struct Piece {  // part of an atom that a reference reaches
    AtomId atom;
    uint64_t begin;
    uint64_t end;
  };
  bool settle(AtomId original, AtomId patched);
  bool same_data_once(AtomId original, AtomId patched);
  bool same_atom_target(const Ref& original, const Ref& patched);
  bool same_entry(const Ref& original, const Ref& patched) const;
  bool same_record(const Ref& original, const Ref& patched);
  bool same_read_only(const Ref& original, const Ref& patched);
  bool same_pieces(Piece original, Piece patched, bool tolerate_padding);
  bool same_strings(const Ref& original, const Ref& patched) const;
  bool same_exception_tables(const Atom& original, const Atom& patched);
  bool is_all_zero(const Atom& original, const Atom& patched) const;
  std::string describe(const Ref& original, const Ref& patched) const;

  const ObjectMap& original_;
  const ObjectMap& patched_;
  const Pairing& pairing_;
  LineShifts line_shifts_;
  // Of the entries of the kernel's tables, by section and offset: the code they are about.
  using EntryOwners = std::map<std::pair<uint32_t, uint64_t>, Place>;
  static Status read_owners(const ObjectMap& map, EntryOwners& owners);
  EntryOwners original_owners_, patched_owners_;
  bool knows_kernel_ = false;
  // Pairs that are proved different stay so; "the same" may rest on an assumption about a cycle,
  // so it holds for one round only.
  std::set<Key> different_;
  std::set<Key> assumed_same_;
  bool settling_ = false;
};

// Bytes of an atom with every reference's field zeroed; none for one that is all zero by nature.
Bytes masked_bytes(const ObjectMap& map, AtomId id);
// Same number, place and kind of references.
bool same_ref_places(const Atom& original, const Atom& patched);

}  // namespace livecare::objdiff
