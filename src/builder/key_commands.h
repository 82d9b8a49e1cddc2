// `livecare-build keygen`, `sign` and `verify`: the maker's keys and the signatures of patch files.
// Results are written to out; an error is for what could not be done.
#pragma once

#include <filesystem>
#include <ostream>
#include <vector>

#include "base/result.h"
#include "trust/keys.h"

namespace livecare::builder {

// Writes PREFIX.key (mode 0600) and PREFIX.pub; never over an existing key.
Status keygen_command(const std::filesystem::path& prefix, std::ostream& out);

// Adds the key's signature to the file, in place and atomically. A file that has it already stays.
Status sign_command(const std::filesystem::path& file, const trust::PrivateKey& key,
                    std::ostream& out);

// True when a signature by one of the keys covers the file as it is; says on out by whom, or why
// not (no signature, unknown key, changed content).
Result<bool> verify_command(const std::filesystem::path& file,
                            const std::vector<std::filesystem::path>& public_keys,
                            std::ostream& out);

}  // namespace livecare::builder
