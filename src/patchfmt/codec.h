// Writes and reads the patch file (docs/formats/patch.md): header, zstd-compressed body, digest,
// signature block. read() checks every limit and every cross reference (offsets inside the image,
// symbol numbers, page alignment, overlaps) before it returns, so users need not.
// The signature is verified by trust/ over signed_bytes(); patchfmt knows no keys.
#pragma once

#include <array>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::patchfmt {

inline constexpr uint64_t patch_file_bytes_max = uint64_t{256} << 20;

struct Signature {
  std::array<uint8_t, 32> key_id{};     // SHA-256 of the raw public key
  std::array<uint8_t, 64> signature{};  // Ed25519 over signed_bytes
};

struct PatchFile {
  Patchset patchset;
  std::vector<Signature> signatures;
};

// Unsigned file; add_signature() appends. Same patchset, same bytes (reproducible).
Bytes write(const Patchset& patchset);
Result<PatchFile> read(ByteView file, std::string_view name);
// The signatures alone: nothing is decompressed or parsed, so a verifier can decide before it
// looks at what an unknown maker wrote.
Result<std::vector<Signature>> signatures(ByteView file, std::string_view name);
// The part of a file that signatures cover (header and body, without the signature block).
Result<ByteView> signed_bytes(ByteView file, std::string_view name);
Result<Bytes> add_signature(ByteView file, std::string_view name, const Signature& signature);

// The text of kpatch.info for a patchset, as in the seeds.
std::string kpatch_info(const Patchset& patchset);

}  // namespace livecare::patchfmt
