#include "trust/tuf/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace livecare::trust::tuf {

namespace {

const EVP_MD* algorithm(const std::string& name) {
  if (name == "sha256") return EVP_sha256();
  if (name == "sha384") return EVP_sha384();
  if (name == "sha512") return EVP_sha512();
  return nullptr;
}

}  // namespace

Result<DigestCheck> DigestCheck::make(const Digests& wanted, std::string_view object) {
  DigestCheck check;
  check.object_ = object;
  for (const auto& [name, hex] : wanted) {
    const EVP_MD* kind = algorithm(name);
    if (kind == nullptr) continue;
    One one{name, from_hex(hex).value_or(Bytes()), {EVP_MD_CTX_new(), EVP_MD_CTX_free}};
    LIVECARE_ASSERT(one.context && EVP_DigestInit_ex(one.context.get(), kind, nullptr) == 1);
    check.checks_.push_back(std::move(one));
  }
  if (check.checks_.empty())
    return make_error(ErrorCode::unsupported, object,
                      "has no digest that this version can check (sha256, sha384, sha512)");
  return check;
}

void DigestCheck::update(ByteView piece) {
  for (One& one : checks_)
    LIVECARE_ASSERT(EVP_DigestUpdate(one.context.get(), piece.data(), piece.size()) == 1);
}

Status DigestCheck::finish() {
  for (One& one : checks_) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    LIVECARE_ASSERT(EVP_DigestFinal_ex(one.context.get(), digest, &size) == 1);
    if (one.wanted.size() != size || CRYPTO_memcmp(one.wanted.data(), digest, size) != 0)
      return make_error(ErrorCode::untrusted, object_,
                        "is not the file that was signed for: its {} is {}, not {}", one.name,
                        to_hex(ByteView(digest, size)), to_hex(one.wanted));
  }
  return ok_status();
}

std::string known_digest(const Digests& wanted) {
  for (const auto& [name, hex] : wanted)  // sorted: sha256 comes before its longer kin
    if (algorithm(name) != nullptr) return hex;
  return {};
}

Status check_digests(ByteView bytes, const Digests& wanted, std::string_view object) {
  TRY(DigestCheck check, DigestCheck::make(wanted, object));
  check.update(bytes);
  return check.finish();
}

}  // namespace livecare::trust::tuf
