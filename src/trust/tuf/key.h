// Public keys of update metadata, and the keys that sign it. Values: copy freely; the OpenSSL key
// inside is shared and only read, so any thread may use a copy.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/keys.h"
#include "trust/tuf/canonical_json.h"

struct evp_pkey_st;

namespace livecare::trust::tuf {

inline constexpr size_t public_key_text_bytes_max = 16 << 10;
inline constexpr int rsa_key_bits_min = 2048;
inline constexpr int rsa_key_bits_max = 8192;  // above, one check costs milliseconds

// What section 4.2 of the specification names, by its scheme:
//   ed25519              keytype ed25519, public: 64 hex digits
//   ecdsa-sha2-nistp256  keytype ecdsa or ecdsa-sha2-nistp256, public: PEM (SubjectPublicKeyInfo),
//                        or the uncompressed point in hex, as early Sigstore roots have it
//   rsassa-pss-sha256    keytype rsa, public: PEM
// Any other kind, and one of these that cannot be read, is kept as it is and verifies nothing: a
// repository may introduce a new kind of key while old clients are about.
class Key {
 public:
  // Refuses (invalid_input) only what has not the shape of a key object at all.
  static Result<Key> parse(const Json& json, std::string_view object);

  bool verify(ByteView message, ByteView signature) const;

  bool is_usable() const { return evp_ != nullptr; }
  // Says which key it is, whatever key ID it goes under; empty for one that is not usable.
  const std::string& identity() const { return identity_; }
  // As it stood in the metadata, with members that we do not know.
  const Json& json() const { return json_; }
  // SHA-256 of the canonical form, in hex: how a writer names it. A reader takes a key ID as opaque
  // (TAP 12): what was not computed so is no reason to refuse.
  std::string id() const;

 private:
  Json json_;
  std::shared_ptr<evp_pkey_st> evp_;
  std::string identity_;
};

enum class Scheme { ed25519, ecdsa_sha2_nistp256, rsassa_pss_sha256 };

// A key pair. The private half is only in memory here and in files of trust/keys.h; it is never
// written to a log or into an error.
class SigningKey {
 public:
  static Result<SigningKey> generate(Scheme scheme);
  static Result<SigningKey> from_ed25519(const PrivateKey& key);

  const Key& key() const { return public_; }
  const std::string& id() const { return id_; }
  Result<Bytes> sign(ByteView message) const;

 private:
  static Result<SigningKey> from_evp(std::shared_ptr<evp_pkey_st> evp, Scheme scheme);

  Scheme scheme_ = Scheme::ed25519;
  std::shared_ptr<evp_pkey_st> evp_;
  Key public_;
  std::string id_;
};

}  // namespace livecare::trust::tuf
