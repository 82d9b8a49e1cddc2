// The process's own dynamic linker, called on a borrowed thread.
#pragma once

#include <string>

#include "engine/control.h"
#include "engine/target.h"
#include "remote/borrow.h"

namespace livecare::engine {

// dlopen(path) in the process: its handle, 0 when it did not want to. `control` is mapped: its
// stubs and scratch area are used. unsupported: the process has no dlopen (static executables).
Result<uint64_t> load_library(remote::BorrowedThread& thread, const Target& target,
                              const Control& control, const std::string& path);

}  // namespace livecare::engine
