// An ELF file around the call frame information of code that comes from no file. Internal.
#pragma once

#include "base/bytes.h"
#include "remote/unwind.h"

namespace livecare::remote {

// Addresses in it are those of the process (bias 0).
Bytes make_unwind_elf(const UnwindInfo& info);

}  // namespace livecare::remote
