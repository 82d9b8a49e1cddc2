#include "trust/tuf/key.h"

#include <gtest/gtest.h>

namespace livecare::trust::tuf {

namespace {

const ByteView message{std::string_view("message")};

Key reread(const Json& json) {
  return Key::parse(json, "root.json").value();
}

class EveryScheme : public ::testing::TestWithParam<Scheme> {};

}  // namespace

TEST_P(EveryScheme, VerifiesWhatItSignedAndNothingElse) {
  SigningKey key = SigningKey::generate(GetParam()).value();
  SigningKey other = SigningKey::generate(GetParam()).value();
  Bytes signature = key.sign(message).value();
  Key known = reread(key.key().json());
  EXPECT_TRUE(known.verify(message, signature));
  EXPECT_FALSE(known.verify(ByteView(std::string_view("messagE")), signature));
  EXPECT_FALSE(other.key().verify(message, signature));
  EXPECT_FALSE(known.verify(message, {}));
  signature[signature.size() / 2] ^= 1;
  EXPECT_FALSE(known.verify(message, signature));
  EXPECT_EQ(known.id(), key.id());
  EXPECT_EQ(key.id().size(), 64u);
}

INSTANTIATE_TEST_SUITE_P(Key, EveryScheme,
                         ::testing::Values(Scheme::ed25519, Scheme::ecdsa_sha2_nistp256,
                                           Scheme::rsassa_pss_sha256));

// RFC 8032, section 7.1, TEST 2, through the JSON form.
TEST(Key, Ed25519AgreesWithTheStandard) {
  Key key =
      reread({{"keytype", "ed25519"},
              {"scheme", "ed25519"},
              {"keyval",
               {{"public", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"}}}});
  Bytes signature = *from_hex(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(key.verify(ByteView(std::string_view("\x72")), signature));
}

TEST(Key, BothSpellingsOfEcdsaAndAPointInHexAreTheSameKey) {
  SigningKey signer = SigningKey::generate(Scheme::ecdsa_sha2_nistp256).value();
  Json json = signer.key().json();
  json["keytype"] = "ecdsa-sha2-nistp256";
  EXPECT_EQ(reread(json).identity(), signer.key().identity());
  EXPECT_TRUE(reread(json).verify(message, signer.sign(message).value()));
  json["keyval"]["public"] = "04" + std::string(128, '0');  // not on the curve
  EXPECT_FALSE(reread(json).is_usable());
  // NIST's base point.
  json["keyval"]["public"] =
      "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
      "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
  EXPECT_TRUE(reread(json).is_usable());
}

TEST(Key, UnknownKindsAreKeptAndVerifyNothing) {
  SigningKey signer = SigningKey::generate(Scheme::ed25519).value();
  Bytes signature = signer.sign(message).value();
  for (const auto& [member, value] :
       std::map<std::string, Json>{{"keytype", "sphincs"},
                                   {"scheme", "ed448"},
                                   {"keyval", {{"public", "not hex"}}},
                                   {"keyval ", 1}}) {
    Json json = signer.key().json();
    json[member] = value;
    Key key = reread(json);
    EXPECT_EQ(key.json(), json);
    EXPECT_EQ(key.verify(message, signature), member == "keyval ") << member;
  }
}

TEST(Key, WhatIsNoKeyIsRefused) {
  EXPECT_FALSE(Key::parse(Json::array(), "root.json").ok());
  EXPECT_FALSE(Key::parse({{"keytype", "rsa"}, {"scheme", "rsassa-pss-sha256"}}, "root.json").ok());
  EXPECT_FALSE(
      Key::parse({{"keytype", 1}, {"scheme", "x"}, {"keyval", Json::object()}}, "root.json").ok());
}

// Ed25519 under the name of ECDSA: the scheme that was signed for is the one that must be used.
TEST(Key, AKeyOfAnotherKindThanItSaysVerifiesNothing) {
  Json json = {{"keytype", "ecdsa"},
               {"scheme", "ecdsa-sha2-nistp256"},
               {"keyval",
                {{"public",
                  "-----BEGIN PUBLIC KEY-----\n"
                  "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n"
                  "-----END PUBLIC KEY-----\n"}}}};
  EXPECT_FALSE(reread(json).is_usable());
}

}  // namespace livecare::trust::tuf
