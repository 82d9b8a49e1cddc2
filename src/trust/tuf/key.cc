#include "trust/tuf/key.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

namespace livecare::trust::tuf {

namespace {

using Evp = std::shared_ptr<EVP_PKEY>;
using Context = std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)>;
using Bio = std::unique_ptr<BIO, int (*)(BIO*)>;

constexpr size_t p256_point_bytes = 65;  // 04, then both coordinates

Evp own(EVP_PKEY* key) {
  return Evp(key, EVP_PKEY_free);
}

Evp read_pem(const std::string& text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  auto no_password = [](char*, int, int, void*) { return -1; };
  return own(PEM_read_bio_PUBKEY(bio.get(), nullptr, no_password, nullptr));
}

Evp read_ed25519(const std::string& text) {
  auto raw = from_hex(text);
  if (!raw) return nullptr;
  return own(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw->data(), raw->size()));
}

bool is_p256(const Evp& key) {
  char group[32] = {};
  size_t size = 0;
  return EVP_PKEY_id(key.get()) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key.get(), group, sizeof(group), &size) == 1 &&
         std::string_view(group, size) == "prime256v1";
}

// The point in hex, wrapped into the fixed SubjectPublicKeyInfo of P-256 (RFC 5480, section 2).
Evp read_p256_point(const Bytes& point) {
  static constexpr std::string_view prefix_hex =
      "3059301306072a8648ce3d020106082a8648ce3d030107034200";
  if (point.size() != p256_point_bytes) return nullptr;
  Bytes der = from_hex(prefix_hex).value_or(Bytes());
  der.insert(der.end(), point.begin(), point.end());
  const uint8_t* at = der.data();
  return own(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
}

Evp read_p256(const std::string& text) {
  auto point = from_hex(text);
  Evp key = point ? read_p256_point(*point) : read_pem(text);
  return key && is_p256(key) ? key : nullptr;
}

Evp read_rsa(const std::string& text) {
  Evp key = read_pem(text);
  if (!key || EVP_PKEY_id(key.get()) != EVP_PKEY_RSA) return nullptr;
  int bits = EVP_PKEY_bits(key.get());
  return bits >= rsa_key_bits_min && bits <= rsa_key_bits_max ? key : nullptr;
}

Evp read_public(const std::string& type, const std::string& scheme, const std::string& text) {
  if (text.size() > public_key_text_bytes_max) return nullptr;
  if (type == "ed25519" && scheme == "ed25519") return read_ed25519(text);
  if ((type == "ecdsa" || type == "ecdsa-sha2-nistp256") && scheme == "ecdsa-sha2-nistp256")
    return read_p256(text);
  if (type == "rsa" && scheme == "rsassa-pss-sha256") return read_rsa(text);
  return nullptr;
}

std::string identity_of(const Evp& key) {
  uint8_t* der = nullptr;
  int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0) return {};
  std::string digest = sha256_hex(ByteView(der, static_cast<size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

const std::string* text_member(const Json& json, const char* name) {
  auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return nullptr;
  return found->get_ptr<const std::string*>();
}

// Ed25519 hashes by itself; the others are given SHA-256, RSA with PSS and the salt it finds.
bool set_up(EVP_PKEY_CTX* context, const Evp& key, int salt_length) {
  if (EVP_PKEY_id(key.get()) != EVP_PKEY_RSA) return true;
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt_length) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1;
}

const EVP_MD* digest_of(const Evp& key) {
  return EVP_PKEY_id(key.get()) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

Evp generate_evp(Scheme scheme) {
  switch (scheme) {
    case Scheme::ed25519:
      return own(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    case Scheme::ecdsa_sha2_nistp256:
      return own(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    case Scheme::rsassa_pss_sha256:
      return own(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{rsa_key_bits_min}));
  }
  return nullptr;
}

std::string public_pem(const Evp& key) {
  Bio bio(BIO_new(BIO_s_mem()), BIO_free);
  char* data = nullptr;
  if (PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) return {};
  long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string public_raw_hex(const Evp& key) {
  Bytes raw(32);
  size_t size = raw.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size) != 1) return {};
  return to_hex(raw);
}

Json public_json(const Evp& key, Scheme scheme) {
  switch (scheme) {
    case Scheme::ed25519:
      return {{"keytype", "ed25519"},
              {"scheme", "ed25519"},
              {"keyval", {{"public", public_raw_hex(key)}}}};
    case Scheme::ecdsa_sha2_nistp256:
      return {{"keytype", "ecdsa"},
              {"scheme", "ecdsa-sha2-nistp256"},
              {"keyval", {{"public", public_pem(key)}}}};
    case Scheme::rsassa_pss_sha256:
      return {{"keytype", "rsa"},
              {"scheme", "rsassa-pss-sha256"},
              {"keyval", {{"public", public_pem(key)}}}};
  }
  return {};
}

}  // namespace

Result<Key> Key::parse(const Json& json, std::string_view object) {
  const std::string* type = json.is_object() ? text_member(json, "keytype") : nullptr;
  const std::string* scheme = json.is_object() ? text_member(json, "scheme") : nullptr;
  auto value = json.is_object() ? json.find("keyval") : json.end();
  if (type == nullptr || scheme == nullptr || value == json.end() || !value->is_object())
    return make_error(ErrorCode::invalid_input, object,
                      "has a key without keytype, scheme or keyval");
  Key key;
  key.json_ = json;
  if (const std::string* text = text_member(*value, "public"))
    key.evp_ = read_public(*type, *scheme, *text);
  if (key.evp_) key.identity_ = identity_of(key.evp_);
  ERR_clear_error();
  return key;
}

bool Key::verify(ByteView message, ByteView signature) const {
  if (!evp_) return false;
  Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_PKEY_CTX* inner = nullptr;
  bool good =
      context &&
      EVP_DigestVerifyInit(context.get(), &inner, digest_of(evp_), nullptr, evp_.get()) == 1 &&
      set_up(inner, evp_, RSA_PSS_SALTLEN_AUTO) &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                       message.size()) == 1;
  ERR_clear_error();
  return good;
}

std::string Key::id() const {
  auto text = canonical_json(json_, "key");
  return text.ok() ? sha256_hex(ByteView(std::string_view(*text))) : std::string();
}

Result<SigningKey> SigningKey::from_evp(std::shared_ptr<EVP_PKEY> evp, Scheme scheme) {
  if (!evp) return make_error(ErrorCode::internal, "key", "OpenSSL cannot make it");
  SigningKey made;
  TRY(made.public_, Key::parse(public_json(evp, scheme), "key"));
  made.scheme_ = scheme;
  made.evp_ = std::move(evp);
  made.id_ = made.public_.id();
  return made;
}

Result<SigningKey> SigningKey::generate(Scheme scheme) {
  return from_evp(generate_evp(scheme), scheme);
}

Result<SigningKey> SigningKey::from_ed25519(const PrivateKey& key) {
  return from_evp(own(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, key.seed.data(),
                                                   key.seed.size())),
                  Scheme::ed25519);
}

Result<Bytes> SigningKey::sign(ByteView message) const {
  Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_PKEY_CTX* inner = nullptr;
  size_t size = 0;
  Bytes signature;
  bool good =
      evp_ && context &&
      EVP_DigestSignInit(context.get(), &inner, digest_of(evp_), nullptr, evp_.get()) == 1 &&
      set_up(inner, evp_, RSA_PSS_SALTLEN_DIGEST) &&
      EVP_DigestSign(context.get(), nullptr, &size, message.data(), message.size()) == 1;
  if (good) {
    signature.resize(size);
    good =
        EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1;
    signature.resize(size);
  }
  ERR_clear_error();
  if (!good) return make_error(ErrorCode::internal, id_, "OpenSSL cannot sign with this key");
  return signature;
}

}  // namespace livecare::trust::tuf
