// The tables of kernel_tables.h in two objects, function by function. Borrows everything; not
// thread-safe (the comparer remembers results).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "objdiff/compare.h"
#include "objdiff/kernel_tables.h"
#include "objdiff/object_map.h"

namespace livecare::objdiff {

class KernelEntries {
 public:
  static Result<KernelEntries> make(const ObjectMap& original, const ObjectMap& patched,
                                    const Pairing& pairing, Comparer& comparer);

  // The table in which a function's entries differ, given that its code is the same; empty when
  // none does. A line number is no difference.
  std::string_view difference(AtomId original, AtomId patched);
  // The same for entries about code that is no function.
  std::string_view difference_elsewhere();

 private:
  struct Side {
    const ObjectMap* map = nullptr;
    std::map<AtomId, std::vector<KernelEntry>> by_atom;
  };
  KernelEntries(const Pairing& pairing, Comparer& comparer)
      : pairing_(pairing), comparer_(comparer) {}
  static Status read(const ObjectMap& map, Side& side);
  bool same(const KernelEntry& original, const KernelEntry& patched);
  bool same_piece(const Replacement& original, const Replacement& patched);
  bool same_range(uint32_t original_section, uint64_t original_offset, uint32_t patched_section,
                  uint64_t patched_offset, uint64_t size, int skipped_field, int masked_line);

  const Pairing& pairing_;
  Comparer& comparer_;
  Side original_, patched_;
};

}  // namespace livecare::objdiff
