// A level replaces the one before as a whole, so it must hold everything that the one before holds:
// a fix that was left out would be undone in every process by the next update.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::builder {

// Compares a finished patchset with the newest level that `directory` has for each of its objects.
// The error (conflict) names the fixes or objects that are missing and what to do about it.
Status check_cumulative(const std::filesystem::path& directory, const patchfmt::Patchset& patchset);

}  // namespace livecare::builder
