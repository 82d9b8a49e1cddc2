// Tables whose entries belong to functions, written by inline assembly: the kernel's bug table and
// its like. The size of an entry is nowhere said; it follows from the references into code.
#pragma once

#include <string>
#include <vector>

#include "objdiff/context.h"

namespace livecare::objdiff {

struct TableEntry {
  AtomId function = no_atom;  // whose code it is about
  int64_t at = 0;             // in that function
  Bytes bytes;                // references masked
  std::vector<Ref> refs;      // offsets counted from the entry's start
};

// False when the content is not a table of equal entries with one reference to code each.
bool read_entries(const ObjectMap& map, const std::vector<AtomId>& atoms,
                  std::vector<TableEntry>& out);

// The first function whose entries differ in more than a line number, or that is replaced; empty
// when there is none.
std::string first_difference(Context& context, const std::vector<TableEntry>& original,
                             const std::vector<TableEntry>& patched);

}  // namespace livecare::objdiff
