// Decisions about the kernel, against a kernel that is a list: what is loaded, in which order, what
// is left behind when a step fails, and what the next boot makes of it.
#include "agent/kernel_patches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/json.h"
#include "agent/kcare_uname.h"
#include "base/file_system.h"
#include "patchfmt/codec.h"
#include "patchfmt/samples.h"
#include "trust/keys.h"

namespace livecare::agent {

namespace {

namespace fs = std::filesystem;
using kctl::KernelState;
using kctl::LoadedPatch;
using kctl::SwitchReport;
using kctl::SwitchRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* release = "6.1.0-47-cloud-amd64";
constexpr const char* version_line = "Linux version 6.1.0-47-cloud-amd64 (someone)\n";

class FakeKernel final : public kctl::Kernel {
 public:
  Result<std::string> version_text() const override { return std::string(version_line); }
  Result<KernelState> state() const override {
    KernelState state = now;
    state.release = release;
    state.effective = state.applied() != nullptr ? "6.1.0-48-cloud-amd64" : release;
    return state;
  }
  Status load_kcare() override {
    calls.emplace_back("kcare");
    now.has_kcare = true;
    return ok_status();
  }
  Status load_patch(const std::string& module, ByteView) override {
    calls.push_back("load " + module);
    if (fail_load) return make_error(ErrorCode::refused, module, "does not fit");
    now.patches.push_back({module, level, "K20261122_01", false, {"f"}});
    return ok_status();
  }
  Status unload_patch(const std::string& module) override {
    calls.push_back("unload " + module);
    std::erase_if(now.patches, [&](const LoadedPatch& patch) { return patch.module == module; });
    return ok_status();
  }
  Result<SwitchReport> switch_to(const SwitchRequest& request) override {
    calls.push_back("switch " + request.module);
    if (fail_switch) return make_error(ErrorCode::busy, request.module, "task 12 is in f");
    for (LoadedPatch& patch : now.patches) patch.is_applied = patch.module == request.module;
    return SwitchReport{1500, 1, 1, 2};
  }
  Result<SwitchReport> switch_back(const SwitchRequest&) override {
    calls.emplace_back("switch back");
    for (LoadedPatch& patch : now.patches) patch.is_applied = false;
    return SwitchReport{1200, 1, 1, 2};
  }
  Result<std::string> obstacles(const SwitchRequest&) override { return obstacle; }

  KernelState now;
  std::vector<std::string> calls;
  uint32_t level = 2;  // that modules say of themselves
  bool fail_load = false, fail_switch = false;
  std::string obstacle;
};

class Kernels : public ::testing::Test {
 protected:
  Kernels() : maker_(trust::generate_key().value()) {
    EXPECT_TRUE(trust::save_public_key(paths_.keys / "maker.pub", maker_.public_key()).ok());
    fs::create_directories(server_);
    request_.server = "file://" + server_.native();
    request_.load_sysctl = false;
  }

  Bytes signed_file(const patchfmt::Patchset& patchset, const trust::PrivateKey& key) {
    Bytes file = patchfmt::write(patchset);
    ByteView covered = patchfmt::signed_bytes(file, "f").value();
    patchfmt::Signature signature{key.public_key().id(), trust::sign(key, covered).value()};
    return patchfmt::add_signature(file, "f", signature).value();
  }

  patchfmt::Patchset patchset(uint32_t level) const {
    patchfmt::Patchset patchset = patchfmt::sample_kernel_patchset();
    patchset.level = level;
    patchset.modules[0].kernel_id = kernel_;
    patchset.modules[0].module = "kpatch_" + std::to_string(level);
    return patchset;
  }

  void publish(const patchfmt::Patchset& patchset, const trust::PrivateKey& key,
               const std::string& file = "patch") {
    fs::path base = server_ / kernel_;
    std::string number = std::to_string(patchset.level);
    ASSERT_TRUE(write_file_atomic(base / number / file, signed_file(patchset, key)).ok());
    ASSERT_TRUE(write_file_atomic(base / "latest.v2", ByteView(number + "\n")).ok());
  }
  void publish(uint32_t level) { publish(patchset(level), maker_); }

  KernelUpdate update() {
    auto update = patches_.update(request_);
    EXPECT_TRUE(update.ok()) << update.error().text();
    return update.ok() ? *update : KernelUpdate{};
  }
  Error failure() {
    auto update = patches_.update(request_);
    return update.ok() ? Error{ErrorCode::internal, "", "no error"} : update.error();
  }
  std::string attempt(std::string_view key) const {
    return text_at(Json::parse(read_text(paths_.kernel_attempt).value()), key);
  }
  void reboot_during_attempt(uint32_t level) {
    Json json{{"patchset", "K20261122_01"}, {"level", level}, {"boot", "old"}, {"state", "trying"}};
    ASSERT_TRUE(write_file_atomic(paths_.kernel_attempt, ByteView(json.dump())).ok());
  }

  TemporaryDirectory directory_ = TemporaryDirectory::make().value();
  fs::path server_ = directory_.path() / "server";
  Paths paths_{directory_.path() / "root"};
  trust::PrivateKey maker_;
  std::string kernel_ = trust::sha1_hex(ByteView(std::string_view(version_line)));
  FakeKernel kernel_module_;
  KernelPatches patches_{paths_, kernel_module_};
  KernelUpdateRequest request_;
};

TEST_F(Kernels, TheGroupOfSymlinkOwnerMatchIsSetWhereThePatchHasOne) {
  request_.force_gid = "33";
  ASSERT_TRUE(write_file_atomic(paths_.symlink_group, ByteView(std::string_view("48\n"))).ok());
  publish(2);
  EXPECT_THAT(update().notes, IsEmpty());
  EXPECT_EQ(read_text(paths_.symlink_group).value(), "33\n");
}

TEST_F(Kernels, WithoutSymlinkOwnerMatchThereIsNoGroupToSet) {
  request_.force_gid = "33";
  publish(2);
  EXPECT_THAT(update().notes, IsEmpty());
  EXPECT_FALSE(fs::exists(paths_.symlink_group));
}

TEST_F(Kernels, TheNewestLevelIsSwitchedTo) {
  publish(1);
  publish(2);
  KernelUpdate done = update();
  EXPECT_EQ(done.outcome, KernelOutcome::applied);
  EXPECT_EQ(done.level, 2u);
  EXPECT_EQ(done.effective, "6.1.0-48-cloud-amd64");
  EXPECT_EQ(done.stop_ns, 1500u);
  EXPECT_THAT(kernel_module_.calls, ElementsAre("kcare", "load kpatch_2", "switch kpatch_2"));
  EXPECT_EQ(attempt("state"), "applied");
  EXPECT_EQ(*patches_.status(), KernelStatus::latest);
  kernel_module_.calls.clear();
  EXPECT_EQ(update().outcome, KernelOutcome::unchanged);
  EXPECT_THAT(kernel_module_.calls, IsEmpty());
}

TEST_F(Kernels, TheLevelBeforeIsUnloadedAfterTheSwitch) {
  kernel_module_.now.patches = {{"kpatch_1", 1, "K1", true, {}}};
  publish(2);
  update();
  EXPECT_THAT(kernel_module_.calls,
              ElementsAre("kcare", "load kpatch_2", "switch kpatch_2", "unload kpatch_1"));
}

TEST_F(Kernels, ALowerLevelIsNotGoneBackTo) {
  kernel_module_.now.patches = {{"kpatch_3", 3, "K3", true, {}}};
  publish(2);
  KernelUpdate done = update();
  EXPECT_EQ(done.outcome, KernelOutcome::unchanged);
  EXPECT_EQ(done.level, 3u);
  EXPECT_THAT(done.notes, ElementsAre(HasSubstr("unload first")));
  EXPECT_THAT(kernel_module_.calls, IsEmpty());
}

TEST_F(Kernels, ASwitchThatFailsLeavesNothingBehind) {
  publish(2);
  kernel_module_.fail_switch = true;
  Error error = failure();
  EXPECT_EQ(error.code, ErrorCode::busy);
  EXPECT_THAT(error.text(), HasSubstr("task 12 is in f"));
  EXPECT_THAT(kernel_module_.now.patches, IsEmpty());
  EXPECT_EQ(attempt("state"), "failed");
}

TEST_F(Kernels, WhatAKilledRunStagedIsUnloadedFirst) {
  kernel_module_.now.patches = {{"kpatch_1", 1, "K1", false, {}}};
  publish(2);
  update();
  EXPECT_THAT(kernel_module_.calls,
              ElementsAre("kcare", "unload kpatch_1", "load kpatch_2", "switch kpatch_2"));
}

TEST_F(Kernels, WhatBroughtTheMachineDownIsNotTriedAgainByItself) {
  publish(2);
  reboot_during_attempt(2);
  request_.by_itself = true;
  Error error = failure();
  EXPECT_EQ(error.code, ErrorCode::refused);
  EXPECT_THAT(error.text(), HasSubstr("when the machine went down"));
  EXPECT_THAT(kernel_module_.calls, IsEmpty());
  publish(3);  // another level is another matter
  kernel_module_.level = 3;
  EXPECT_EQ(update().outcome, KernelOutcome::applied);
}

TEST_F(Kernels, APersonMayTryItAgain) {
  publish(2);
  reboot_during_attempt(2);
  EXPECT_EQ(update().outcome, KernelOutcome::applied);
}

TEST_F(Kernels, NothingUntrustedReachesTheKernel) {
  publish(patchset(2), trust::generate_key().value());
  EXPECT_EQ(failure().code, ErrorCode::untrusted);
  patchfmt::Patchset other = patchset(2);  // signed, but for another kernel
  other.modules[0].kernel_id = std::string(40, 'f');
  publish(other, maker_);
  EXPECT_EQ(failure().code, ErrorCode::untrusted);
  patchfmt::Patchset extra = patchset(2);  // signed, but of another type
  extra.modules[0].type = "extra";
  publish(extra, maker_);
  EXPECT_EQ(failure().code, ErrorCode::untrusted);
  EXPECT_THAT(kernel_module_.calls, IsEmpty());
}

TEST_F(Kernels, AnotherReleaseIsRefused) {
  patchfmt::Patchset other = patchset(2);
  other.modules[0].release = "6.1.0-48-cloud-amd64";
  publish(other, maker_);
  EXPECT_EQ(failure().code, ErrorCode::conflict);
  EXPECT_THAT(kernel_module_.calls, ElementsAre("kcare"));
}

TEST_F(Kernels, TypesHaveFilesOfTheirOwn) {
  patchfmt::Patchset extra = patchset(2);
  extra.modules[0].type = "extra";
  publish(extra, maker_, "patch.extra");
  request_.type = "extra";
  EXPECT_EQ(update().outcome, KernelOutcome::applied);
}

TEST_F(Kernels, AnUnknownKernelIsSaidToBe) {
  KernelUpdate done = update();
  EXPECT_EQ(done.outcome, KernelOutcome::no_patch);
  EXPECT_FALSE(done.is_known);
  EXPECT_EQ(*patches_.status(), KernelStatus::unsupported);
  EXPECT_EQ(patches_.is_newer_available(request_).error().code, ErrorCode::unsupported);
}

TEST_F(Kernels, TheCacheServesWithoutAServer) {
  publish(2);
  update();
  kernel_module_.now = {};  // a reboot
  EXPECT_EQ(*patches_.status(), KernelStatus::nothing);
  fs::remove_all(server_);
  request_.from = PatchesFrom::cache;
  request_.by_itself = true;
  EXPECT_EQ(update().outcome, KernelOutcome::applied);
  kernel_module_.now = {};
  fs::remove_all(paths_.kernel_cache);
  EXPECT_EQ(update().outcome, KernelOutcome::no_patch);
  request_.from = PatchesFrom::cache_first;
  EXPECT_EQ(failure().code, ErrorCode::io);
}

TEST_F(Kernels, WhatIsInTheCacheIsVerifiedAgain) {
  publish(2);
  update();
  kernel_module_.now = {};
  fs::path cached = paths_.kernel_cache / kernel_ / "2/patch";
  Bytes bytes = read_file(cached).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(write_file_atomic(cached, bytes).ok());
  request_.from = PatchesFrom::cache;
  EXPECT_EQ(update().outcome, KernelOutcome::no_patch);
}

TEST_F(Kernels, ANewerLevelIsSeen) {
  publish(2);
  EXPECT_TRUE(*patches_.is_newer_available(request_));
  update();
  EXPECT_FALSE(*patches_.is_newer_available(request_));
  publish(3);
  EXPECT_EQ(*patches_.status(), KernelStatus::latest);  // nobody has asked the server yet
  EXPECT_TRUE(*patches_.is_newer_available(request_));
  EXPECT_EQ(*patches_.status(), KernelStatus::outdated);
}

TEST_F(Kernels, UnloadGoesBackAndUnloads) {
  EXPECT_FALSE(patches_.unload(kctl::Freezer::none, false)->has_value());
  publish(2);
  update();
  kernel_module_.calls.clear();
  auto report = patches_.unload(kctl::Freezer::none, false);
  ASSERT_TRUE(report.ok() && report->has_value());
  EXPECT_EQ((*report)->stop_ns, 1200u);
  EXPECT_THAT(kernel_module_.calls, ElementsAre("switch back", "unload kpatch_2"));
}

TEST_F(Kernels, WhatIsAppliedHasItsMetadata) {
  publish(2);
  update();
  auto applied = patches_.applied_patchset("extra");
  ASSERT_TRUE(applied.ok() && applied->has_value());
  EXPECT_EQ((*applied)->fixes.size(), 1u);
}

TEST_F(Kernels, ObstaclesAreNamedAndNothingStays) {
  auto lines = patches_.obstacles(request_);
  ASSERT_TRUE(lines.ok());
  EXPECT_THAT(*lines, ElementsAre(HasSubstr("no patch for this kernel is in the cache")));
  publish(2);
  kernel_module_.fail_switch = true;
  failure();
  kernel_module_.obstacle = "f: traced by bpf";
  lines = patches_.obstacles(request_);
  ASSERT_TRUE(lines.ok());
  EXPECT_THAT(*lines, ElementsAre("f: traced by bpf"));
  EXPECT_THAT(kernel_module_.now.patches, IsEmpty());
  fs::create_directories(paths_.root / "sys/kernel/livepatch/other");
  EXPECT_THAT(*patches_.obstacles(request_), SizeIs(2));
}

TEST_F(Kernels, UnameSaysTheEffectiveRelease) {
  EXPECT_EQ(kcare_uname({"-r"}, kernel_module_).output, "6.1.0-47-cloud-amd64\n");
  publish(2);
  update();
  EXPECT_EQ(kcare_uname({"-r"}, kernel_module_).output, "6.1.0-48-cloud-amd64\n");
  EXPECT_EQ(kcare_uname({}, kernel_module_).output, "Linux\n");
  EXPECT_THAT(kcare_uname({"-s", "-o"}, kernel_module_).output, "Linux GNU/Linux\n");
  EXPECT_THAT(kcare_uname({"-p"}, kernel_module_).output, "unknown\n");
  std::string all = kcare_uname({"--all"}, kernel_module_).output;
  EXPECT_THAT(all, HasSubstr(" 6.1.0-48-cloud-amd64 "));
  EXPECT_EQ(all.find("unknown"), std::string::npos);
  EXPECT_EQ(kcare_uname({"--colour"}, kernel_module_).exit_code, 1);
}

}  // namespace

}  // namespace livecare::agent
