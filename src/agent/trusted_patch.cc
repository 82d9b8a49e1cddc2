#include "agent/trusted_patch.h"

#include <algorithm>

#include "base/file_system.h"
#include "patchfmt/codec.h"

namespace livecare::agent {

namespace {

constexpr size_t key_id_digits_shown = 16;

std::string short_id(const trust::KeyId& id) {
  return to_hex(ByteView(id.data(), id.size())).substr(0, key_id_digits_shown);
}

Result<trust::PublicKey> find_signer(ByteView file, std::string_view name,
                                     const std::vector<trust::PublicKey>& ring,
                                     std::string_view where) {
  TRY(auto signatures, patchfmt::signatures(file, name));
  TRY(ByteView covered, patchfmt::signed_bytes(file, name));
  if (signatures.empty())
    return make_error(ErrorCode::untrusted, name,
                      "is not signed; sign it with livecare-build sign, only signed patches are "
                      "applied");
  std::string unknown;
  for (const patchfmt::Signature& signature : signatures) {
    auto key = std::find_if(ring.begin(), ring.end(),
                            [&](const auto& known) { return known.id() == signature.key_id; });
    if (key == ring.end()) {
      unknown += (unknown.empty() ? "" : ", ") + short_id(signature.key_id);
      continue;
    }
    if (trust::verify(*key, covered, signature.signature)) return *key;
    return make_error(
        ErrorCode::untrusted, name,
        "its content is not what {} signed: it was changed or damaged; fetch it again", key->name);
  }
  return make_error(ErrorCode::untrusted, name,
                    "is signed by key {}, which is not in {}; import the maker's key with kcarectl "
                    "--import-key",
                    unknown, where);
}

}  // namespace

Result<TrustedPatch> open_trusted(ByteView file, std::string_view name,
                                  const std::vector<trust::PublicKey>& ring,
                                  std::string_view where) {
  TRY(trust::PublicKey signer, find_signer(file, name, ring, where));
  TRY(patchfmt::PatchFile opened, patchfmt::read(file, name));
  return TrustedPatch{std::move(opened.patchset), signer.name};
}

Result<TrustedPatch> open_trusted_file(const std::filesystem::path& path,
                                       const std::vector<trust::PublicKey>& ring,
                                       std::string_view where) {
  TRY(Bytes file, read_file(path, patchfmt::patch_file_bytes_max));
  return open_trusted(file, path.native(), ring, where);
}

}  // namespace livecare::agent
