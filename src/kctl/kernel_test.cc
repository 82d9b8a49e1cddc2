#include "kctl/kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include "base/file_system.h"

namespace livecare::kctl {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Patches, AreReadLineByLine) {
  auto patches = parse_patches(
      "kpatch_1 11 K20261122_01 applied tcp_rcv vfs_read\n"
      "kpatch_2 12 K20261123_01 staged\nkpatch_0 10 K20261121_01 kept f\n");
  ASSERT_TRUE(patches.ok());
  ASSERT_EQ(patches->size(), 3u);
  EXPECT_TRUE(patches->at(2).is_kept);
  EXPECT_FALSE(patches->at(2).is_applied);
  EXPECT_EQ(patches->at(0).module, "kpatch_1");
  EXPECT_EQ(patches->at(0).level, 11u);
  EXPECT_EQ(patches->at(0).name, "K20261122_01");
  EXPECT_TRUE(patches->at(0).is_applied);
  EXPECT_THAT(patches->at(0).functions, ElementsAre("tcp_rcv", "vfs_read"));
  EXPECT_FALSE(patches->at(1).is_applied);
  EXPECT_THAT(patches->at(1).functions, IsEmpty());
}

TEST(Patches, WhatIsNotUnderstoodIsAnError) {
  for (const char* text : {"kpatch_1", "kpatch_1 x K1 applied", "kpatch_1 1 K1 perhaps",
                           "kpatch_1 99999999999 K1 applied", "kpatch_1 1 K1"})
    EXPECT_FALSE(parse_patches(text).ok()) << text;
  EXPECT_TRUE(parse_patches("").ok());
}

TEST(Log, TheNewestRefusalOfAModuleIsFound) {
  std::string_view log =
      "<3>[    1.5] kcare: k1 is refused (-22): f: overlaps with g\n"
      "<3>[    1.6] kcare: k2 is refused (-16): f: has another user\n"
      "<3>[    1.7] kcare: k1 is refused (-11): module zram is being loaded\n<6>[ 2.0] other\n";
  EXPECT_EQ(refusal_in_log(log, "k1"), "module zram is being loaded");
  EXPECT_EQ(refusal_in_log(log, "k2"), "f: has another user");
  EXPECT_EQ(refusal_in_log(log, "k3"), "");
  EXPECT_EQ(refusal_in_log("kcare: k1 is refused", "k1"), "");
}

class BelowARoot : public ::testing::Test {
 protected:
  void write(const char* name, std::string_view text) {
    ASSERT_TRUE(write_file_atomic(directory_.path() / name, ByteView(text)).ok());
  }
  TemporaryDirectory directory_ = TemporaryDirectory::make().value();
};

TEST_F(BelowARoot, WithoutKcareTheReleaseIsTheEffectiveOne) {
  auto state = open_kernel(directory_.path())->state();
  ASSERT_TRUE(state.ok());
  utsname names{};
  ::uname(&names);
  EXPECT_FALSE(state->has_kcare);
  EXPECT_EQ(state->effective, names.release);
  EXPECT_EQ(state->applied(), nullptr);
}

TEST_F(BelowARoot, WhatKcareSaysIsRead) {
  write("proc/kcare/version", "0.1.0 abi 1\n");
  write("proc/kcare/effective_version", "6.1.0-48-cloud-amd64\n");
  write("proc/kcare/cvelist", "CVE-2026-1\nCVE-2026-2\n");
  write("proc/kcare/patches", "kpatch_1 3 K20261122_01 applied f\n");
  auto state = open_kernel(directory_.path())->state();
  ASSERT_TRUE(state.ok());
  EXPECT_TRUE(state->has_kcare);
  EXPECT_EQ(state->effective, "6.1.0-48-cloud-amd64");
  EXPECT_THAT(state->cves, ElementsAre("CVE-2026-1", "CVE-2026-2"));
  ASSERT_NE(state->applied(), nullptr);
  EXPECT_EQ(state->applied()->level, 3u);
}

TEST_F(BelowARoot, WithoutADeviceASwitchSaysWhatToDo) {
  auto done = open_kernel(directory_.path())->switch_to({.module = "kpatch_1"});
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, ErrorCode::not_found);
  EXPECT_THAT(done.error().text(), HasSubstr("modprobe kcare"));
}

TEST_F(BelowARoot, ANameThatIsTooLongIsNotCut) {
  auto done = open_kernel(directory_.path())->switch_to({.module = std::string(64, 'x')});
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, ErrorCode::invalid_input);
}

}  // namespace

}  // namespace livecare::kctl
