// Which function has which exception table: read from the relocations of .eh_frame, because the
// tables themselves carry no symbol.
#pragma once

#include <vector>

#include "base/result.h"
#include "elf/image.h"

namespace livecare::objdiff {

struct UnwindEntry {                      // one FDE
  const elf::Relocation* code = nullptr;  // its pc_begin
  const elf::Relocation* lsda = nullptr;  // null: the function has no exception table
  const elf::Relocation* personality = nullptr;
};

// Entries without a relocation for their code are left out. Pointers live as long as the image.
Result<std::vector<UnwindEntry>> read_unwind_entries(const elf::Image& image);

}  // namespace livecare::objdiff
