// `livecare-build objdiff ORIGINAL PATCHED [--json]`.
#pragma once

#include <filesystem>
#include <ostream>

#include "base/result.h"
#include "objdiff/diff.h"

namespace livecare::builder {

// Exit codes of the command.
inline constexpr int objdiff_changed = 0;
inline constexpr int objdiff_nothing = 1;
inline constexpr int objdiff_refused = 2;

// Writes the result for people or as JSON and gives the exit code. An object that cannot be read is
// refused, so that nobody takes it for "nothing changed".
Result<int> objdiff_command(const std::filesystem::path& original,
                            const std::filesystem::path& patched, bool json, std::ostream& out,
                            bool kernel = false);

// For a command line that is not understood: 1 would say that nothing changed. With `json` the
// problem is the one entry of `refused`, otherwise nothing is written.
int objdiff_usage(const std::string& problem, bool json, std::ostream& out);

// The parts of it, for tests and for other commands that print a diff.
int objdiff_exit_code(const objdiff::Diff& diff);
std::string objdiff_json(const objdiff::Diff& diff);
std::string objdiff_text(const objdiff::Diff& diff);

}  // namespace livecare::builder
