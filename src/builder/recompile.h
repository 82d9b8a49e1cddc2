// Compiles the affected units again: as they were, and with the fixes applied.
//
// Each compile is the recorded one with function and data sections and without link-time
// optimisation, debugging information and side files. Originals are kept in the cache entry, keyed
// by everything that made them, so a second fix to the same files finds them there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/affected.h"
#include "builder/prepared_tree.h"

namespace livecare::builder {

struct CompiledUnit {
  std::filesystem::path original;  // empty: the fix adds the source
  std::filesystem::path patched;
};

struct RecompileOptions {
  unsigned jobs = 0;
  std::filesystem::path headers;  // directory that holds livecare/patch.h
};

// The tree must be pristine. Originals that are in the cache already are taken from there.
Result<std::vector<CompiledUnit>> compile_originals(const PreparedTree& tree,
                                                    const std::vector<AffectedUnit>& units,
                                                    const RecompileOptions& options);
// The fixes must be applied. Objects go to `into`; a compile error is one of the fix (refused) and
// quotes the compiler.
Status compile_patched(const PreparedTree& tree, const std::vector<AffectedUnit>& units,
                       const std::filesystem::path& into, const RecompileOptions& options,
                       std::vector<CompiledUnit>& compiled);

}  // namespace livecare::builder
