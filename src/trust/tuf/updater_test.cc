// Attacks on hosts, by whoever holds the repository and perhaps some of its keys. Each test says
// who.
#include "trust/tuf/updater.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trust/tuf/test_host.h"

namespace livecare::trust::tuf {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using UpdaterTest = TestHost;

TEST_F(UpdaterTest, TakesARepositoryInOrderAndOnlyWhatIsNew) {
  ASSERT_TRUE(refresh().ok());
  EXPECT_THAT(repository_.requests,
              ElementsAre("2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"));
  ASSERT_TRUE(refresh().ok());
  EXPECT_THAT(repository_.requests, ElementsAre("2.root.json", "timestamp.json"));
  repository_.publish_next();
  ASSERT_TRUE(refresh().ok());
  EXPECT_EQ(version("targets"), 2u);
  EXPECT_EQ(*read_text(metadata() / "targets.json"), repository_.metadata_files["2.targets.json"]);
}

TEST_F(UpdaterTest, NeedsARootThatSignsItself) {
  Json file = Json::parse(repository_.root_file());
  file["signed"]["version"] = 7;
  auto status = Updater::init(directory_.path() / "other", ByteView(std::string_view(file.dump())));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::untrusted);
  auto updater = Updater::open(directory_.path() / "other", repository_, now_s_);
  EXPECT_THAT(updater->refresh().error().text(), HasSubstr("holds no root.json"));
  EXPECT_THAT(repository_.requests, IsEmpty());
}

// A package that is installed again must not bring back the root of its day.
TEST_F(UpdaterTest, AnotherRootIsNotPutOverATrustedOne) {
  EXPECT_TRUE(init().ok());
  repository_.root.version = 2;
  repository_.publish_root();
  ASSERT_TRUE(refresh().ok());
  Status again = init();
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_EQ(version("root"), 2u);
}

TEST_F(UpdaterTest, WorksWithoutConsistentSnapshotsToo) {
  repository_.root.consistent_snapshot = false;
  repository_.root.version = 2;
  repository_.delegate("role", {"*"});
  repository_.add_target(repository_.delegated["role"], "file", "content");
  repository_.publish_all();
  EXPECT_EQ(download("file"), "content");
  EXPECT_THAT(repository_.requests,
              ElementsAre("2.root.json", "3.root.json", "timestamp.json", "snapshot.json",
                          "targets.json", "role.json", "file"));
}

// --- Wrong signatures: somebody on the line, without a key ---

TEST_F(UpdaterTest, WhatIsNotSignedByTheRoleStopsTheCycleThere) {
  for (const char* role : {"timestamp", "snapshot", "targets"}) {
    TestRepository fresh;
    repository_ = fresh;
    std::filesystem::remove_all(metadata());
    ASSERT_TRUE(init().ok());
    repository_.signers[role] = {SigningKey::generate(Scheme::ed25519).value()};
    repository_.publish_next();
    expect_untrusted("is signed by 0 of the 1 keys");
    EXPECT_EQ(version(role), 0u);
  }
}

TEST_F(UpdaterTest, OneChangedByteIsNoticed) {
  std::string& file = repository_.metadata_files["timestamp.json"];
  file.replace(file.find("\"version\": 1"), 12, "\"version\": 9");
  expect_untrusted("timestamp.json: is signed by 0 of the 1 keys");
}

// --- Rollback: the repository, with the keys of timestamp and snapshot ---

TEST_F(UpdaterTest, RollbackOfTheTimestamp) {
  std::string old = repository_.metadata_files["timestamp.json"];
  repository_.publish_next();
  ASSERT_TRUE(refresh().ok());
  repository_.metadata_files["timestamp.json"] = old;
  expect_untrusted("timestamp.json: is of version 1, older than version 2");
  EXPECT_EQ(version("timestamp"), 2u);
}

TEST_F(UpdaterTest, RollbackOfTheSnapshot) {
  for (bool has_hashes : {false, true}) {
    repository_.has_hashes = has_hashes;
    repository_.snapshot.version = repository_.timestamp.version += 10;
    repository_.publish_all();
    ASSERT_TRUE(refresh().ok());
    repository_.snapshot.version--;
    repository_.timestamp.version++;
    repository_.publish_snapshot();
    repository_.publish_timestamp();
    expect_untrusted("of snapshot.json, older than version");
    EXPECT_EQ(version("snapshot"), repository_.snapshot.version + 1);
  }
}

TEST_F(UpdaterTest, RollbackOfTheTargetsByANewSnapshot) {
  repository_.publish_next();
  ASSERT_TRUE(refresh().ok());
  repository_.targets.version = 0;
  repository_.publish_next();
  expect_untrusted("snapshot.json: names version 1 of targets.json, older than version 2");
  EXPECT_EQ(version("snapshot"), 2u);
  EXPECT_EQ(version("targets"), 2u);
}

TEST_F(UpdaterTest, RollbackOfADelegatedRole) {
  repository_.delegate("role", {"*"}).version = 5;
  repository_.publish_next();
  ASSERT_TRUE(refresh().ok());
  repository_.delegated["role"].version = 4;
  repository_.publish_next();
  expect_untrusted("names version 4 of role.json, older than version 5");
}

TEST_F(UpdaterTest, AFileMayNotDisappearFromTheSnapshot) {
  repository_.delegate("role", {"*"});
  repository_.publish_next();
  ASSERT_TRUE(refresh().ok());
  repository_.delegated.clear();
  repository_.snapshot.files.erase("role.json");
  repository_.publish_next();
  expect_untrusted("snapshot.json: no longer names role.json");
}

// 3.root.json in the place of 2.root.json, and an old one in the place of a new.
TEST_F(UpdaterTest, RootsComeOneByOne) {
  repository_.root.version = 3;
  repository_.publish_root();
  repository_.metadata_files["2.root.json"] = repository_.root_file(3);
  expect_untrusted("2.root.json: is of version 3; after 1 only 2 can be taken");
  repository_.root.version = 2;
  repository_.publish_root();
  ASSERT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 3u);
  repository_.metadata_files["4.root.json"] = repository_.root_file(2);
  expect_untrusted("4.root.json: is of version 2; after 3 only 4 can be taken");
  repository_.metadata_files["4.root.json"] = repository_.root_file(3);
  expect_untrusted("4.root.json: is of version 3; after 3 only 4 can be taken");
}

// --- Freeze: the repository stands still ---

TEST_F(UpdaterTest, FreezeIsNoticedWhenTheTimestampExpires) {
  repository_.timestamp.expires_s = test_now_s + test_day_s;
  repository_.publish_timestamp();
  ASSERT_TRUE(refresh().ok());
  now_s_ += test_day_s - 1;
  EXPECT_TRUE(refresh().ok());
  now_s_ += 1;
  expect_untrusted("timestamp.json: expired at 2027-01-16T08:00:00Z");
  // A later one ends it; the expired one is still good enough to compare with.
  repository_.timestamp.expires_s = now_s_ + test_day_s;
  repository_.timestamp.version++;
  repository_.publish_timestamp();
  EXPECT_TRUE(refresh().ok());
}

TEST_F(UpdaterTest, AnExpiredFileIsNotTaken) {
  ASSERT_TRUE(refresh().ok());
  for (Common* common : std::initializer_list<Common*>{&repository_.targets, &repository_.snapshot,
                                                       &repository_.timestamp}) {
    int64_t before = std::exchange(common->expires_s, test_now_s);
    repository_.publish_next();
    expect_untrusted("expired at");
    common->expires_s = before;
  }
  repository_.publish_next();
  EXPECT_TRUE(refresh().ok());
}

TEST_F(UpdaterTest, KeptSnapshotAndTargetsExpireToo) {
  repository_.snapshot.expires_s = test_now_s + test_day_s;
  repository_.targets.expires_s = test_now_s + 2 * test_day_s;
  repository_.publish_all();
  ASSERT_TRUE(refresh().ok());
  now_s_ += test_day_s;
  expect_untrusted("snapshot.json: expired");
  repository_.snapshot.expires_s = test_now_s + 30 * test_day_s;
  repository_.snapshot.version++;
  repository_.timestamp.version++;
  repository_.publish_snapshot();
  repository_.publish_timestamp();
  ASSERT_TRUE(refresh().ok());
  now_s_ += test_day_s;
  expect_untrusted("targets.json: expired");
}

TEST_F(UpdaterTest, AnExpiredRootIsKeptAndStopsTheCycle) {
  repository_.root.version = 2;
  repository_.root.expires_s = test_now_s - 1;
  repository_.publish_root();
  expect_untrusted("root.json: expired");
  EXPECT_EQ(version("root"), 2u);
  EXPECT_EQ(version("timestamp"), 0u);
  // As a step on the way it does no harm.
  repository_.root.version = 3;
  repository_.root.expires_s = test_now_s + test_day_s;
  repository_.publish_root();
  EXPECT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 3u);
}

// --- Mix and match: files of different releases, each one signed ---

TEST_F(UpdaterTest, MixAndMatchOfSnapshotAndTargets) {
  for (bool has_hashes : {false, true}) {
    repository_.has_hashes = has_hashes;
    repository_.publish_next();
    ASSERT_TRUE(refresh().ok());
    std::string of_before = fmt::format("{}.snapshot.json", repository_.snapshot.version);
    repository_.publish_next();
    std::string now = fmt::format("{}.snapshot.json", repository_.snapshot.version);
    repository_.metadata_files[now] = repository_.metadata_files[of_before];
    expect_untrusted("snapshot.json: is");
    repository_.publish_next();
    std::string targets = fmt::format("{}.targets.json", repository_.targets.version);
    std::string old = fmt::format("{}.targets.json", repository_.targets.version - 1);
    repository_.metadata_files[targets] = repository_.metadata_files[old];
    expect_untrusted("targets.json: is");
  }
}

// Of one version and one length, both signed by the maker: the digest tells them apart.
TEST_F(UpdaterTest, DigestsOfTheTargetsAreChecked) {
  repository_.add_target(repository_.targets, "a", "content");
  repository_.publish_next();
  std::string described = repository_.metadata_files["2.targets.json"];
  repository_.targets.files["b"] = repository_.targets.files["a"];
  repository_.targets.files.erase("a");
  repository_.metadata_files["2.targets.json"] =
      repository_.sign("targets", to_json(repository_.targets));
  ASSERT_EQ(repository_.metadata_files["2.targets.json"].size(), described.size());
  expect_untrusted("targets.json: is not the file that was signed for");
}

// The timestamp key alone cannot give a snapshot another content.
TEST_F(UpdaterTest, DigestsOfTheSnapshotAreChecked) {
  repository_.timestamp.snapshot.digests["sha256"] = std::string(64, '0');
  repository_.publish_timestamp();
  expect_untrusted("snapshot.json: is not the file that was signed for");
}

// --- Endless data ---

TEST_F(UpdaterTest, EndlessDataIsCutOffAtTheLimit) {
  limits_.root_bytes_max = 100'000;
  repository_.is_endless = true;
  expect_untrusted("2.root.json: is larger than the 100000 bytes that may come");
  EXPECT_LE(repository_.endless_bytes, 100'000u);
}

TEST_F(UpdaterTest, ALengthThatWasSignedIsTheLimit) {
  repository_.metadata_files["1.targets.json"] += ' ';
  expect_untrusted("1.targets.json: is larger than the");
  repository_.timestamp.snapshot.bytes = uint64_t{1} << 40;
  repository_.timestamp.version++;
  repository_.publish_timestamp();
  limits_.snapshot_bytes_max = 10;
  std::filesystem::remove(metadata() / "snapshot.json");
  expect_untrusted("snapshot.json: is larger than the 10 bytes");
}

// --- Keys that are rotated ---

TEST_F(UpdaterTest, ANewRootIsSignedByTheOldKeysAndByItsOwn) {
  std::vector<SigningKey> old = repository_.signers["root"];
  repository_.rotate("root");
  repository_.root.version = 2;
  repository_.publish_root();  // by the new key only
  expect_untrusted("2.root.json: is signed by 0 of the 1 keys of the role root");
  std::vector<SigningKey> fresh = std::exchange(repository_.signers["root"], old);
  repository_.publish_root();  // by the old key only
  expect_untrusted("2.root.json: is signed by 0 of the 1 keys of the role root");
  repository_.signers["root"].push_back(fresh[0]);
  repository_.publish_root();
  EXPECT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 2u);
}

// A root in the middle is lost: the host stays where it was, it does not jump.
TEST_F(UpdaterTest, AGapInTheChainOfRootsIsTheEndOfTheWay) {
  std::vector<SigningKey> all = repository_.signers["root"];
  for (uint64_t next = 2; next <= 4; ++next) {
    repository_.rotate("root");
    std::vector<SigningKey> fresh = repository_.signers["root"];
    repository_.signers["root"].insert(repository_.signers["root"].end(), all.begin(), all.end());
    repository_.root.version = next;
    repository_.publish_root();
    all = repository_.signers["root"] = fresh;
  }
  std::string lost = repository_.metadata_files["3.root.json"];
  repository_.metadata_files.erase("3.root.json");
  EXPECT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 2u);
  repository_.metadata_files["3.root.json"] = repository_.metadata_files["4.root.json"];
  expect_untrusted("3.root.json: is signed by 0");
  repository_.metadata_files["3.root.json"] = lost;
  EXPECT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 4u);
}

TEST_F(UpdaterTest, OneCycleTakesALimitedNumberOfRoots) {
  limits_.root_rotations_max = 3;
  for (repository_.root.version = 2; repository_.root.version <= 6; repository_.root.version++)
    repository_.publish_root();
  ASSERT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 4u);
  ASSERT_TRUE(refresh().ok());
  EXPECT_EQ(version("root"), 6u);
}

TEST_F(UpdaterTest, RecoversFromAFastForwardOfEachRole) {
  for (const char* role : {"timestamp", "snapshot"}) {
    repository_.targets.version += 1000;
    repository_.snapshot.version += 1000;
    repository_.timestamp.version += 1000;
    repository_.publish_next();
    ASSERT_TRUE(refresh().ok());
    // The maker's answer: the versions as they should be, and another key for one of both roles.
    repository_.targets.version -= 1000;
    repository_.snapshot.version -= 1000;
    repository_.timestamp.version -= 1000;
    repository_.root.version++;
    repository_.publish_next();
    expect_untrusted("older than version");
    repository_.rotate(role);
    repository_.publish_root();
    repository_.publish_next();
    ASSERT_TRUE(refresh().ok());
    EXPECT_EQ(version("targets"), repository_.targets.version);
    EXPECT_EQ(version("timestamp"), repository_.timestamp.version);
  }
}

// The process is killed after it wrote the root: what the old key signed is gone by then.
TEST_F(UpdaterTest, ARotationIsNotForgottenWhenTheCycleIsCutOff) {
  repository_.timestamp.version = 1000;
  repository_.publish_timestamp();
  ASSERT_TRUE(refresh().ok());
  repository_.timestamp.version = 2;
  std::string good = repository_.metadata_files["timestamp.json"];
  repository_.add_signer("timestamp");
  repository_.root.roles["timestamp"].key_ids.erase(
      repository_.root.roles["timestamp"].key_ids.begin());
  repository_.root.version = 2;
  repository_.publish_root();
  repository_.metadata_files.erase("timestamp.json");
  EXPECT_FALSE(refresh().ok());
  EXPECT_EQ(version("root"), 2u);
  EXPECT_EQ(version("timestamp"), 0u);
  repository_.publish_timestamp();
  EXPECT_TRUE(refresh().ok());
  EXPECT_EQ(version("timestamp"), 2u);
}

// A key that is added leaves the old one in force: nothing is forgotten, going back stays
// impossible.
TEST_F(UpdaterTest, AnAddedKeyIsNoRotation) {
  repository_.timestamp.version = 10;
  repository_.publish_timestamp();
  ASSERT_TRUE(refresh().ok());
  repository_.add_signer("timestamp");
  repository_.root.version = 2;
  repository_.publish_root();
  repository_.timestamp.version = 9;
  repository_.publish_timestamp();
  expect_untrusted("timestamp.json: is of version 9, older than version 10");
}

// --- A host that was switched off at the wrong moment ---

TEST_F(UpdaterTest, GoesOnAfterAnyRequestThatFailed) {
  repository_.publish_next();
  for (const char* lost : {"2.targets.json", "2.snapshot.json", "timestamp.json"}) {
    std::string file = repository_.metadata_files[lost];
    repository_.metadata_files.erase(lost);
    EXPECT_FALSE(refresh().ok()) << lost;
    repository_.metadata_files[lost] = file;
    EXPECT_TRUE(refresh().ok()) << lost;
    EXPECT_EQ(version("targets"), 2u);
    std::filesystem::remove_all(metadata());
    ASSERT_TRUE(init().ok());
  }
}

TEST_F(UpdaterTest, DamagedOrHalfWrittenFilesAreReplaced) {
  ASSERT_TRUE(refresh().ok());
  for (const char* role : {"timestamp", "snapshot", "targets"}) {
    const auto path = metadata() / (std::string(role) + ".json");
    ASSERT_TRUE(write_file_atomic(path, ByteView(std::string_view("{\"signed"))).ok());
    EXPECT_TRUE(refresh().ok()) << role;
    EXPECT_EQ(version(role), 1u);
  }
  const auto half = metadata() / "root.json.Ab3xYz";
  ASSERT_TRUE(write_file_atomic(half, ByteView()).ok());
  ASSERT_TRUE(write_file_atomic(metadata() / "a.json.b.json", ByteView()).ok());
  ASSERT_TRUE(refresh().ok());
  EXPECT_FALSE(std::filesystem::exists(half));
  EXPECT_TRUE(std::filesystem::exists(metadata() / "a.json.b.json"));
}

}  // namespace livecare::trust::tuf
