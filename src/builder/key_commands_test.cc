#include "builder/key_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file_system.h"
#include "builder/inspect_command.h"
#include "patchfmt/samples.h"

namespace livecare::builder {

namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Commands : public ::testing::Test {
 protected:
  Commands() : directory_(TemporaryDirectory::make().value()) {
    EXPECT_TRUE(keygen_command(path("one"), out_).ok());
    EXPECT_TRUE(keygen_command(path("two"), out_).ok());
    EXPECT_TRUE(write_file_atomic(path("p"), patchfmt::write(patchfmt::sample_patchset())).ok());
    out_.str("");
  }
  fs::path path(std::string_view name) const { return directory_.path() / name; }
  void sign(std::string_view name) {
    auto key = trust::load_private_key(path(name));
    ASSERT_TRUE(key.ok());
    ASSERT_TRUE(sign_command(path("p"), *key, out_).ok());
  }

  TemporaryDirectory directory_;
  std::ostringstream out_;
};

}  // namespace

TEST_F(Commands, KeysAreNotOverwritten) {
  EXPECT_EQ(keygen_command(path("one"), out_).error().code, ErrorCode::conflict);
}

TEST_F(Commands, WhatWasSignedVerifies) {
  EXPECT_FALSE(*verify_command(path("p"), {path("one.pub")}, out_));
  EXPECT_THAT(out_.str(), HasSubstr("not signed"));
  sign("one.key");
  EXPECT_TRUE(*verify_command(path("p"), {path("one.pub")}, out_));
  EXPECT_THAT(out_.str(), HasSubstr("good signature by one"));
  EXPECT_FALSE(*verify_command(path("p"), {path("two.pub")}, out_));
  EXPECT_THAT(out_.str(), HasSubstr("unknown key"));
  sign("two.key");
  sign("two.key");
  EXPECT_THAT(out_.str(), HasSubstr("signed already"));
  EXPECT_TRUE(*verify_command(path("p"), {path("two.pub")}, out_));
  EXPECT_EQ(patchfmt::read(*read_file(path("p")), "p")->signatures.size(), 2u);
}

TEST_F(Commands, AChangedFileDoesNotVerify) {
  sign("one.key");
  Bytes bytes = *read_file(path("p"));
  bytes[bytes.size() - 110] ^= 1;
  ASSERT_TRUE(write_file_atomic(path("p"), bytes).ok());
  EXPECT_FALSE(*verify_command(path("p"), {path("one.pub")}, out_));
  EXPECT_THAT(out_.str(), HasSubstr("BAD signature"));
  auto key = trust::load_private_key(path("two.key"));
  EXPECT_FALSE(sign_command(path("p"), *key, out_).ok());
}

TEST_F(Commands, InspectShowsEverything) {
  sign("one.key");
  out_.str("");
  ASSERT_TRUE(inspect_command(path("p"), true, out_).ok());
  auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["patchset"], "U20261122_01");
  EXPECT_EQ(json["level"], 2);
  EXPECT_EQ(json["fixes"][0]["cves"][1], "CVE-2026-0002");
  const auto& object = json["objects"][0];
  EXPECT_EQ(object["functions"][0]["name"], "parse");
  EXPECT_EQ(object["functions"][0]["proof"], "build-ID equal");
  EXPECT_EQ(object["symbols"][0]["kind"], "import");
  EXPECT_EQ(object["symbols"][1]["proof"], "unique match");
  EXPECT_EQ(object["relocations"]["pc32"], 1);
  EXPECT_EQ(object["hooks"][0]["when"], "before-switch");
  EXPECT_EQ(json["signatures"].size(), 1u);
  out_.str("");
  ASSERT_TRUE(inspect_command(path("p"), false, out_).ok());
  EXPECT_THAT(out_.str(), HasSubstr("U20261122_01 level 2 (user)"));
  EXPECT_THAT(out_.str(), HasSubstr("libsample.so.1 0123456789abcdef"));
  EXPECT_THAT(out_.str(), HasSubstr("32 ->     32  build-ID equal"));
}

}  // namespace livecare::builder
