#include "trust/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file_system.h"
#include "base/process.h"

namespace livecare::trust {

namespace {

using ::testing::HasSubstr;

class Keys : public ::testing::Test {
 protected:
  Keys() : directory_(TemporaryDirectory::make().value()), key_(generate_key().value()) {}
  std::filesystem::path path(std::string_view name) const { return directory_.path() / name; }

  TemporaryDirectory directory_;
  PrivateKey key_;
};

ByteView text(std::string_view value) {
  return ByteView(value);
}

}  // namespace

// RFC 8032, section 7.1, TEST 2.
TEST(Ed25519, AgreesWithTheStandard) {
  PrivateKey key;
  Bytes seed = *from_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  std::copy(seed.begin(), seed.end(), key.seed.begin());
  auto raw = key.public_key().raw;
  EXPECT_EQ(to_hex(ByteView(raw.data(), raw.size())),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  auto signature = sign(key, text("\x72"));
  ASSERT_TRUE(signature.ok());
  EXPECT_EQ(to_hex(ByteView(signature->data(), signature->size())),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(Sha256, AgreesWithTheStandard) {
  EXPECT_EQ(sha1_hex(text("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha256_hex(text("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(Keys, VerifyKnowsMessageKeyAndSignature) {
  auto signature = *sign(key_, text("message"));
  PublicKey known = key_.public_key();
  EXPECT_TRUE(verify(known, text("message"), signature));
  EXPECT_FALSE(verify(known, text("messagE"), signature));
  EXPECT_FALSE(verify(generate_key()->public_key(), text("message"), signature));
  signature[5] ^= 1;
  EXPECT_FALSE(verify(known, text("message"), signature));
}

TEST_F(Keys, FilesComeBackAndThePrivateOneIsPrivate) {
  ASSERT_TRUE(save_private_key(path("maker.key"), key_).ok());
  ASSERT_TRUE(save_public_key(path("maker.pub"), key_.public_key()).ok());
  EXPECT_EQ(load_private_key(path("maker.key"))->seed, key_.seed);
  auto known = load_public_key(path("maker.pub"));
  ASSERT_TRUE(known.ok());
  EXPECT_EQ(known->raw, key_.public_key().raw);
  EXPECT_EQ(known->name, "maker");
  struct stat info {};
  ASSERT_EQ(::stat(path("maker.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(Keys, APrivateKeyIsNeverOverwritten) {
  ASSERT_TRUE(save_private_key(path("maker.key"), key_).ok());
  auto again = save_private_key(path("maker.key"), *generate_key());
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_EQ(load_private_key(path("maker.key"))->seed, key_.seed);
}

TEST_F(Keys, OtherKindsOfFilesAreRefusedByName) {
  ASSERT_TRUE(
      write_file_atomic(path("gpg.pub"), text("-----BEGIN PGP PUBLIC KEY BLOCK-----")).ok());
  EXPECT_THAT(load_public_key(path("gpg.pub")).error().text(), HasSubstr("is a GPG key"));
  ASSERT_TRUE(write_file_atomic(path("junk.pub"), text("junk")).ok());
  EXPECT_THAT(load_public_key(path("junk.pub")).error().text(),
              HasSubstr("junk.pub: is not an Ed25519 public key"));
  ASSERT_TRUE(save_private_key(path("maker.key"), key_).ok());
  EXPECT_FALSE(load_public_key(path("maker.key")).ok());
}

TEST_F(Keys, ARingIsEveryReadableKeyOfADirectory) {
  EXPECT_TRUE(load_ring(path("missing"))->empty());
  ASSERT_TRUE(save_public_key(path("ring/b.pub"), key_.public_key()).ok());
  ASSERT_TRUE(save_public_key(path("ring/a.pub"), generate_key()->public_key()).ok());
  ASSERT_TRUE(write_file_atomic(path("ring/junk.pub"), text("junk")).ok());
  ASSERT_TRUE(write_file_atomic(path("ring/readme"), text("junk")).ok());
  auto ring = load_ring(path("ring"));
  ASSERT_TRUE(ring.ok());
  ASSERT_EQ(ring->size(), 2u);
  EXPECT_EQ((*ring)[0].name, "a");
  EXPECT_EQ((*ring)[1].id(), key_.public_key().id());
}

}  // namespace livecare::trust
