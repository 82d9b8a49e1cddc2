// A patch for the target of stop_time, made by hand: stop_target_work returns one more.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::perf {

Result<patchfmt::Patchset> stop_target_patch(const std::filesystem::path& program);

}  // namespace livecare::perf
