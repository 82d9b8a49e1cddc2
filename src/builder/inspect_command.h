// `livecare-build inspect FILE [--json]`: what a patch file holds. Trusts nothing and needs no key.
#pragma once

#include <filesystem>
#include <ostream>
#include <string>

#include "base/result.h"
#include "patchfmt/codec.h"

namespace livecare::builder {

// Writes to out; an error when the file cannot be read as a patch.
Status inspect_command(const std::filesystem::path& file, bool json, std::ostream& out);

// Everything, with proofs, symbols and the number of relocations of each kind.
std::string inspect_json(const patchfmt::PatchFile& file);
// A screen or two.
std::string inspect_text(const patchfmt::PatchFile& file);

}  // namespace livecare::builder
