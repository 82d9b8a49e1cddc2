// Ed25519 over OpenSSL's EVP. Every EVP object is owned by a unique_ptr; the seed of a private key
// is in memory only inside PrivateKey and while OpenSSL works with it.
#include "trust/keys.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "base/file_system.h"

namespace livecare::trust {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t key_file_bytes_max = 64 << 10;
constexpr size_t ring_keys_max = 1000;

using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
using Context = std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)>;
using Bio = std::unique_ptr<BIO, int (*)(BIO*)>;

Key own(EVP_PKEY* key) {
  return Key(key, EVP_PKEY_free);
}

Key private_evp(const PrivateKey& key) {
  return own(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, key.seed.data(), key.seed.size()));
}

Key public_evp(const PublicKey& key) {
  return own(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.raw.data(), key.raw.size()));
}

Result<std::string> bio_text(const Bio& bio, int wrote) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio.get(), &data);
  if (wrote != 1 || size <= 0)
    return make_error(ErrorCode::internal, "key", "OpenSSL cannot write it as PEM");
  return std::string(data, static_cast<size_t>(size));
}

// Created with O_EXCL and its final mode, so that nobody can read the key in between.
Status create_file(const fs::path& path, std::string_view text, unsigned mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd.valid() && errno == EEXIST)
    return make_error(ErrorCode::conflict, path.native(),
                      "exists already and is not overwritten; choose another name");
  if (!fd.valid()) return errno_error(path.native(), "cannot create", errno);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.get()) != 0)
    return errno_error(path.native(), "cannot write", errno);
  return ok_status();
}

Result<Key> read_pem(const fs::path& path, bool is_private) {
  TRY(std::string text, read_text(path, key_file_bytes_max));
  if (text.find("BEGIN PGP") != std::string::npos)
    return make_error(ErrorCode::unsupported, path.native(),
                      "is a GPG key; patches are signed with Ed25519 keys (give the .pub file that "
                      "livecare-build keygen wrote)");
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  // An encrypted key would make OpenSSL ask on the terminal: an empty password refuses it instead.
  auto no_password = [](char*, int, int, void*) { return -1; };
  Key key = own(is_private ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr)
                           : PEM_read_bio_PUBKEY(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (!key || EVP_PKEY_id(key.get()) != EVP_PKEY_ED25519)
    return make_error(ErrorCode::invalid_input, path.native(),
                      "is not an Ed25519 {} key in PEM; make one with livecare-build keygen",
                      is_private ? "private" : "public");
  return key;
}

}  // namespace

KeyId PublicKey::id() const {
  return sha256(ByteView(raw.data(), raw.size()));
}

PublicKey PrivateKey::public_key() const {
  PublicKey result;
  Key key = private_evp(*this);
  size_t size = result.raw.size();
  LIVECARE_ASSERT(key && EVP_PKEY_get_raw_public_key(key.get(), result.raw.data(), &size) == 1);
  return result;
}

Result<PrivateKey> generate_key() {
  PrivateKey key;
  if (RAND_priv_bytes(key.seed.data(), static_cast<int>(key.seed.size())) != 1)
    return make_error(ErrorCode::io, "key", "the system's random numbers are not available");
  return key;
}

Status save_private_key(const fs::path& path, const PrivateKey& key) {
  Key evp = private_evp(key);
  Bio bio(BIO_new(BIO_s_secmem()), BIO_free);
  TRY(std::string text, bio_text(bio, PEM_write_bio_PKCS8PrivateKey(bio.get(), evp.get(), nullptr,
                                                                    nullptr, 0, nullptr, nullptr)));
  return create_file(path, text, 0600);
}

Status save_public_key(const fs::path& path, const PublicKey& key) {
  Key evp = public_evp(key);
  Bio bio(BIO_new(BIO_s_mem()), BIO_free);
  TRY(std::string text, bio_text(bio, PEM_write_bio_PUBKEY(bio.get(), evp.get())));
  return write_file_atomic(path, ByteView(text), 0644);
}

Result<PrivateKey> load_private_key(const fs::path& path) {
  TRY(Key evp, read_pem(path, true));
  PrivateKey key;
  size_t size = key.seed.size();
  if (EVP_PKEY_get_raw_private_key(evp.get(), key.seed.data(), &size) != 1)
    return make_error(ErrorCode::invalid_input, path.native(), "holds no usable private key");
  return key;
}

Result<PublicKey> load_public_key(const fs::path& path) {
  TRY(Key evp, read_pem(path, false));
  PublicKey key;
  size_t size = key.raw.size();
  if (EVP_PKEY_get_raw_public_key(evp.get(), key.raw.data(), &size) != 1)
    return make_error(ErrorCode::invalid_input, path.native(), "holds no usable public key");
  key.name = path.extension() == ".pub" ? path.stem().native() : path.filename().native();
  return key;
}

Result<std::array<uint8_t, 64>> sign(const PrivateKey& key, ByteView message) {
  std::array<uint8_t, 64> signature{};
  size_t size = signature.size();
  Key evp = private_evp(key);
  Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!evp || !context ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, evp.get()) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1)
    return make_error(ErrorCode::internal, "key", "OpenSSL cannot sign with it");
  return signature;
}

bool verify(const PublicKey& key, ByteView message, const std::array<uint8_t, 64>& signature) {
  Key evp = public_evp(key);
  Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  bool good = evp && context &&
              EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, evp.get()) == 1 &&
              EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                               message.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<std::vector<PublicKey>> load_ring(const fs::path& directory) {
  std::vector<PublicKey> ring;
  std::error_code failure;
  fs::directory_iterator entries(directory, failure);
  if (failure == std::errc::no_such_file_or_directory) return ring;
  std::vector<fs::path> paths;
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure))
    if (entries->path().extension() == ".pub") paths.push_back(entries->path());
  if (failure)
    return make_error(ErrorCode::io, directory.native(), "cannot list: {}", failure.message());
  if (paths.size() > ring_keys_max)
    return make_error(ErrorCode::invalid_input, directory.native(),
                      "holds more than {} keys; remove those that are not needed", ring_keys_max);
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    auto key = load_public_key(path);
    if (key.ok()) ring.push_back(*key);
  }
  return ring;
}

std::array<uint8_t, 32> sha256(ByteView bytes) {
  std::array<uint8_t, 32> digest{};
  LIVECARE_ASSERT(
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

std::string sha256_hex(ByteView bytes) {
  auto digest = sha256(bytes);
  return to_hex(ByteView(digest.data(), digest.size()));
}

std::string sha1_hex(ByteView bytes) {
  std::array<uint8_t, 20> digest{};
  LIVECARE_ASSERT(
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha1(), nullptr) == 1);
  return to_hex(ByteView(digest.data(), digest.size()));
}

}  // namespace livecare::trust
