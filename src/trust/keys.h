// Ed25519 keys of patch makers, and the ring of makers that a host trusts.
// Files: private key PKCS#8 PEM mode 0600, public key SubjectPublicKeyInfo PEM (what openssl
// writes and reads). A key ring is a directory of public key files NAME.pub.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::trust {

using KeyId = std::array<uint8_t, 32>;  // SHA-256 of the raw 32-byte public key

struct PublicKey {
  std::array<uint8_t, 32> raw{};
  std::string name;  // file name without .pub
  KeyId id() const;
};

struct PrivateKey {
  std::array<uint8_t, 32> seed{};
  PublicKey public_key() const;
};

Result<PrivateKey> generate_key();
Status save_private_key(const std::filesystem::path& path,
                        const PrivateKey& key);  // never overwrites
Status save_public_key(const std::filesystem::path& path, const PublicKey& key);
Result<PrivateKey> load_private_key(const std::filesystem::path& path);
Result<PublicKey> load_public_key(const std::filesystem::path& path);

Result<std::array<uint8_t, 64>> sign(const PrivateKey& key, ByteView message);
bool verify(const PublicKey& key, ByteView message, const std::array<uint8_t, 64>& signature);

// Every readable key of a directory; an empty ring when the directory is missing.
Result<std::vector<PublicKey>> load_ring(const std::filesystem::path& directory);

// SHA-256 in lowercase hex.
std::string sha256_hex(ByteView bytes);
std::array<uint8_t, 32> sha256(ByteView bytes);
// SHA-1 in lowercase hex: the name of a kernel on patch servers, never a proof of anything.
std::string sha1_hex(ByteView bytes);

}  // namespace livecare::trust
