// A patch file that a maker on this host's key ring has signed. The only way from bytes to a
// Patchset in the agent: nothing is decompressed or parsed before a signature has been verified.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "patchfmt/patch.h"
#include "trust/keys.h"

namespace livecare::agent {

struct TrustedPatch {
  patchfmt::Patchset patchset;
  std::string signer;  // name of the key
};

// where is what messages call the ring. Errors: untrusted (no, wrong or unknown signature),
// invalid_input (damaged).
Result<TrustedPatch> open_trusted(ByteView file, std::string_view name,
                                  const std::vector<trust::PublicKey>& ring,
                                  std::string_view where);
Result<TrustedPatch> open_trusted_file(const std::filesystem::path& path,
                                       const std::vector<trust::PublicKey>& ring,
                                       std::string_view where);

}  // namespace livecare::agent
