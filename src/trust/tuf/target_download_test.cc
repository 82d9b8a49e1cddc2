// Targets: who may speak about them, and how they come to a host.
#include "trust/tuf/target_download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trust/tuf/test_host.h"

namespace livecare::trust::tuf {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using TargetTest = TestHost;

// The portal is taken over, with the keys of timestamp and snapshot: it can choose, not invent.
TEST_F(TargetTest, ATakenOverPortalCanOnlySelectAmongWhatIsSigned) {
  repository_.add_target(repository_.targets, "U1.lcpatch", "level 1");
  repository_.publish_next();
  EXPECT_EQ(download("U1.lcpatch"), "level 1");
  // Another content under the name that was signed.
  for (auto& [name, content] : repository_.target_files) content = "LEVEL 1";
  std::filesystem::remove_all(targets());
  EXPECT_THAT(download("U1.lcpatch"), HasSubstr("is not the file that was signed for"));
  // Targets of its own: the targets key is not at the portal.
  std::vector<SigningKey> makers = repository_.signers["targets"];
  repository_.signers["targets"] = repository_.signers["snapshot"];
  repository_.add_target(repository_.targets, "U2.lcpatch", "code of the attacker");
  repository_.publish_next();
  EXPECT_THAT(download("U2.lcpatch"), HasSubstr("is signed by 0 of the 1 keys"));
  EXPECT_THAT(download("U1.lcpatch"), HasSubstr("is signed by 0 of the 1 keys"));
  EXPECT_FALSE(std::filesystem::exists(targets() / "U1.lcpatch"));
}

TEST_F(TargetTest, ATargetHasTheSignedLength) {
  repository_.add_target(repository_.targets, "f", "content");
  repository_.publish_next();
  std::string& served = repository_.target_files.begin()->second;
  served = "conten";
  EXPECT_THAT(download("f"), HasSubstr("f: has 6 bytes, 7 were signed for"));
  served = "content and more";
  EXPECT_THAT(download("f"), HasSubstr("f: is larger than the 7 bytes that may come"));
  EXPECT_TRUE(std::filesystem::is_empty(targets()));
}

TEST_F(TargetTest, ATargetIsFetchedOnceAndKeepsItsName) {
  repository_.add_target(repository_.targets, "dir/a file", "content");
  repository_.publish_next();
  EXPECT_EQ(download("dir/a file"), "content");
  EXPECT_THAT(repository_.requests.back(), HasSubstr("dir/"));
  EXPECT_TRUE(std::filesystem::exists(targets() / "dir%2Fa%20file"));
  EXPECT_EQ(download("dir/a file"), "content");
  EXPECT_EQ(repository_.requests.back(), "timestamp.json");
  repository_.add_target(repository_.targets, "dir/a file", "another");
  repository_.publish_next();
  EXPECT_EQ(download("dir/a file"), "another");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(targets()), {}), 1);
}

// Neither out of its directory by its name, nor through a link that somebody put there.
TEST_F(TargetTest, ATargetStaysInItsDirectory) {
  for (const char* path : {"..", ".", "", "../x"})
    repository_.add_target(repository_.targets, path, "content");
  repository_.publish_next();
  for (const char* path : {"..", ".", ""})
    EXPECT_THAT(download(path), HasSubstr("is not a name of a file"));
  std::filesystem::create_directories(targets());
  auto outside = directory_.path() / "x", link = targets() / "..%2Fx";
  ASSERT_TRUE(write_file_atomic(outside, ByteView(std::string_view("kept"))).ok());
  std::filesystem::create_symlink(outside, link);
  EXPECT_EQ(download("../x"), "content");
  EXPECT_EQ(read_text(outside).value(), "kept");
  EXPECT_FALSE(std::filesystem::is_symlink(link));
}

TEST_F(TargetTest, WhatAKilledDownloadLeftIsRemoved) {
  repository_.add_target(repository_.targets, "f", "content");
  repository_.publish_next();
  const auto part = targets() / "%part-abcdef";
  ASSERT_TRUE(write_file_atomic(part, ByteView(std::string_view("cont"))).ok());
  EXPECT_EQ(download("f"), "content");
  EXPECT_FALSE(std::filesystem::exists(part));
}

TEST_F(TargetTest, ADelegatedRoleSpeaksForItsPathsOnly) {
  repository_.delegate("role", {"its/*"});
  repository_.add_target(repository_.delegated["role"], "its/file", "its");
  repository_.add_target(repository_.delegated["role"], "other/file", "not its");
  repository_.publish_next();
  EXPECT_EQ(download("its/file"), "its");
  EXPECT_EQ(download("other/file"), "nobody knows it");
}

TEST_F(TargetTest, AskedInOrderUntilOneKnowsOrIsTheLast) {
  repository_.delegate("a", {"*"});
  repository_.delegate("b", {"*"}, true);
  repository_.delegate("c", {"*"});
  repository_.add_target(repository_.delegated["c"], "file", "of c");
  repository_.publish_next();
  EXPECT_EQ(download("file"), "nobody knows it");
  EXPECT_THAT(std::vector<std::string>(repository_.requests.end() - 2, repository_.requests.end()),
              ElementsAre("1.a.json", "1.b.json"));
  repository_.targets.delegations.roles[1].terminating = false;
  repository_.publish_next();
  EXPECT_EQ(download("file"), "of c");
}

TEST_F(TargetTest, CirclesEndAndSoDoesTheSearch) {
  repository_.delegate("a", {"*"});
  repository_.delegated["a"].delegations = repository_.targets.delegations;  // to itself
  repository_.publish_next();
  EXPECT_EQ(download("file"), "nobody knows it");
  limits_.roles_visited_max = 1;
  repository_.add_target(repository_.delegated["a"], "file", "of a");
  repository_.delegated["a"].version++;
  repository_.publish_next();
  EXPECT_EQ(download("file"), "nobody knows it");
  limits_.roles_visited_max = 2;
  EXPECT_EQ(download("file"), "of a");
}

TEST_F(TargetTest, ADelegatedRoleOfAnotherKeyOrThatExpiredEndsTheSearch) {
  repository_.delegate("role", {"*"}).expires_s = test_now_s + test_day_s;
  repository_.add_target(repository_.delegated["role"], "file", "content");
  repository_.publish_next();
  EXPECT_EQ(download("file"), "content");
  now_s_ += test_day_s;
  EXPECT_THAT(download("file"), HasSubstr("role.json: expired"));
  now_s_ -= test_day_s;
  repository_.signers["role"] = repository_.signers["snapshot"];
  repository_.delegated["role"].version++;
  repository_.publish_next();
  EXPECT_THAT(download("file"), HasSubstr("role.json: is signed by 0 of the 1 keys of the role"));
}

TEST_F(TargetTest, NamesOfRolesAreNamesOfFilesAndNoMore) {
  for (const char* name : {"../x", "?", "#", "/y", "."}) repository_.delegate(name, {"*"});
  repository_.publish_next();
  EXPECT_EQ(download("file"), "nobody knows it");
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "x.json"));
  EXPECT_TRUE(std::filesystem::exists(metadata() / "..%2Fx.json"));
  EXPECT_TRUE(std::filesystem::exists(metadata() / "..json"));
}

}  // namespace livecare::trust::tuf
