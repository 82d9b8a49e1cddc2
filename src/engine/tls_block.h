// Brings a patch's new thread-local block into the process, or finds it there (see tls_carrier.h).
#pragma once

#include "engine/stage.h"
#include "engine/target.h"
#include "remote/borrow.h"

namespace livecare::engine {

// Fills in the values of SymbolKind::new_tls; all others are there. `control` is staged: its
// scratch area is used. An error names what the dynamic linker did not do.
Status provide_tls_block(remote::BorrowedThread& thread, const Target& target,
                         const Control& control, const StageRequest& request,
                         std::vector<SymbolValue>& values);

// The same when the block is loaded already; false: it is not.
Result<bool> find_tls_block(const Target& target, const StageRequest& request,
                            std::vector<SymbolValue>& values);

}  // namespace livecare::engine
