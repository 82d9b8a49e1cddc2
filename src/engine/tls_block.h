// Brings a patch's new thread-local block into the process, or finds it there (see tls_carrier.h).
#pragma once

#include "engine/plan.h"
#include "engine/target.h"
#include "remote/borrow.h"

namespace livecare::engine {

// Fills in the values of SymbolKind::new_tls. `control` is staged: its scratch area is used. An
// error names what the dynamic linker did not do.
Status provide_tls_block(remote::BorrowedThread& thread, const Target& target,
                         const Control& control, const PlannedObject& planned,
                         std::vector<SymbolValue>& values);

}  // namespace livecare::engine
