// The built front ends against a libcare-server whose engine is a fake (fake_server_main.cc): exit
// codes, JSON shapes, and that nothing untrusted ever reaches the engine. The test process itself
// is the "patched" process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "agent/date.h"
#include "agent/json.h"
#include "agent/paths.h"
#include "base/file_system.h"
#include "base/process.h"
#include "patchfmt/codec.h"
#include "patchfmt/samples.h"
#include "trust/keys.h"

namespace livecare::agent {

namespace {

namespace fs = std::filesystem;
using patchfmt::Patchset;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string build_id = "0123456789abcdef0123456789abcdef01234567";
const std::string me = std::to_string(::getpid());

class Cli : public ::testing::Test {
 protected:
  Cli()
      : directory_(TemporaryDirectory::make().value()),
        root_(directory_.path() / "root"),
        server_(directory_.path() / "server"),
        paths_(root_),
        maker_(trust::generate_key().value()) {
    EXPECT_TRUE(trust::save_public_key(directory_.path() / "maker.pub", maker_.public_key()).ok());
    set_fake({{"loaded", {{me, {build_id}}}}});
    fs::create_directories(server_);
  }

  fs::path path(std::string_view name) const { return directory_.path() / name; }

  void write(const fs::path& file, std::string_view text) {
    ASSERT_TRUE(write_file_atomic(file, ByteView(text)).ok());
  }

  void set_fake(Json state) {
    for (const char* key : {"loaded", "live", "fail"})
      if (!state.contains(key)) state[key] = Json::object();
    state["calls"] = Json::array();
    write(path("fake.json"), state.dump());
  }
  Json fake() const { return Json::parse(read_text(path("fake.json")).value()); }
  std::vector<std::string> calls() const { return texts_at(fake(), "calls"); }

  Bytes sign(Bytes file, const trust::PrivateKey& key) const {
    ByteView covered = patchfmt::signed_bytes(file, "f").value();
    patchfmt::Signature signature{key.public_key().id(), trust::sign(key, covered).value()};
    return patchfmt::add_signature(file, "f", signature).value();
  }

  fs::path write_patch(const Patchset& patchset, std::string_view name = "a.lcpatch") {
    Bytes file = sign(patchfmt::write(patchset), maker_);
    EXPECT_TRUE(write_file_atomic(path(name), file).ok());
    return path(name);
  }

  void publish(const Patchset& patchset, const fs::path& below = "") {
    for (const auto& object : patchset.objects) {
      fs::path base = server_ / below / object.build_id;
      write(base / "latest.v2", std::to_string(patchset.level) + "\n");
      Bytes file = sign(patchfmt::write(patchset), maker_);
      ASSERT_TRUE(write_file_atomic(base / std::to_string(patchset.level) / "patch", file).ok());
    }
  }

  CommandResult run_tool(const std::string& tool, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), tool);
    for (const std::string& more :
         {std::string("--server"), std::string(FAKE_SERVER), std::string("--root"), root_.native()})
      arguments.push_back(more);
    auto result = run({.arguments = arguments,
                       .environment = {{"LIVECARE_FAKE_ENGINE", path("fake.json").native()}}});
    EXPECT_TRUE(result.ok());
    return *result;
  }
  CommandResult ctl(std::vector<std::string> arguments) { return run_tool(LIBCARE_CTL, arguments); }
  CommandResult kcarectl(std::vector<std::string> arguments) {
    return run_tool(KCARECTL, arguments);
  }

  void trust_maker() {
    ASSERT_EQ(kcarectl({"--import-key", path("maker.pub").native()}).exit_code, 0);
  }
  void configure(std::string_view more = "") {
    trust_maker();
    write(paths_.configuration, fmt::format("PATCH_SERVER=file://{}\n{}", server_.native(), more));
  }

  TemporaryDirectory directory_;
  fs::path root_, server_;
  Paths paths_;
  trust::PrivateKey maker_;
};

Patchset level(uint32_t number, std::string time = "2026-11-22 04:30:00") {
  Patchset patchset = patchfmt::sample_patchset();
  patchset.name = fmt::format("U20261122_{:02}", number);
  patchset.level = number;
  patchset.time = std::move(time);
  return patchset;
}

}  // namespace

TEST_F(Cli, CtlPatchesAndSaysSoInJson) {
  std::string file = write_patch(level(1)).native();
  auto result = ctl({"patch", "-p", me, "--json", "--key", path("maker.pub").native(), file});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  Json json = Json::parse(result.output);
  EXPECT_EQ(json["pid"], ::getpid());
  EXPECT_EQ(json["comm"], "fake");
  EXPECT_EQ(json["outcome"], "patched");
  EXPECT_EQ(json["threads"], 3);
  EXPECT_EQ(json["stop_us"], 111);
  EXPECT_EQ(json["total_us"], 222);
  EXPECT_EQ(json["reason"], "");
  ASSERT_EQ(json["objects"].size(), 1u);
  EXPECT_EQ(json["objects"][0]["build_id"], build_id);
  EXPECT_EQ(json["objects"][0]["level"], 1);

  result = ctl({"info", "-p", me, "--json"});
  EXPECT_EQ(Json::parse(result.output)["objects"][0]["state"], "live");
  result = ctl({"unpatch", "-p", me, "--json", file});
  EXPECT_EQ(Json::parse(result.output)["outcome"], "unpatched");
  EXPECT_THAT(calls(),
              ElementsAre("patch " + me + " U20261122_01", "unpatch " + me + " " + build_id));
}

// As in `libcare-ctl -v patch -p PID FILE`: said on standard error, so that --json stays JSON.
TEST_F(Cli, CtlVerboseSaysWhatTheServerLogs) {
  std::string file = write_patch(level(1)).native();
  std::string key = path("maker.pub").native();
  auto quiet = ctl({"patch", "-p", me, "--json", "--key", key, file});
  ASSERT_EQ(quiet.exit_code, 0) << quiet.errors;
  EXPECT_EQ(quiet.errors, "");
  auto result = ctl({"-v", "patch", "-p", me, "--json", "--key", key, file});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(Json::parse(result.output).is_object());
  EXPECT_THAT(result.errors, HasSubstr("request: patch"));
}

TEST_F(Cli, CtlAllTouchesOnlyProcessesThatMapTheObject) {
  trust_maker();
  auto result = ctl({"patch", "-p", "all", "--json", write_patch(level(1)).native()});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(number_at(Json::parse(result.output), "pid"), static_cast<uint64_t>(::getpid()));
  EXPECT_THAT(calls(), ElementsAre("patch " + me + " U20261122_01"));
  result = ctl({"unpatch", "-p", "all", build_id});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr(me + " fake: unpatched"));
}

TEST_F(Cli, CtlTakesADirectoryAndUsesTheHighestLevel) {
  trust_maker();
  write_patch(level(1), "patches/one.lcpatch");
  write_patch(level(3), "patches/three.lcpatch");
  EXPECT_EQ(ctl({"patch", "-p", me, path("patches").native()}).exit_code, 0);
  EXPECT_THAT(calls(), ElementsAre("patch " + me + " U20261122_03"));
  // Not back by itself, which is no failure.
  auto back = ctl({"patch", "-p", me, path("patches/one.lcpatch").native()});
  EXPECT_EQ(back.exit_code, 0);
  EXPECT_THAT(back.output, HasSubstr("level 3 is in memory, U20261122_01 has level 1"));
  EXPECT_EQ(calls().size(), 1u);
  publish(level(4));
  EXPECT_EQ(ctl({"patch", "-p", me, server_.native()}).exit_code, 0);
  EXPECT_THAT(calls(), Contains("patch " + me + " U20261122_04"));
  EXPECT_EQ(ctl({"patch", "-p", me, paths_.keys.native()}).exit_code, 2);
}

TEST_F(Cli, CtlReportsAFailedProcessWithItsThreads) {
  trust_maker();
  set_fake({{"loaded", {{me, {build_id}}}}, {"fail", {{me, "threads never left"}}}});
  auto result = ctl({"patch", "-p", me, write_patch(level(1)).native()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("failed: threads never left"));
  EXPECT_THAT(result.errors, HasSubstr("worker is in parse"));
  EXPECT_THAT(result.errors, HasSubstr("libfake.so!parse+0x4"));
}

TEST_F(Cli, CtlCountsAVanishedProcessOnlyWhenItWasNamed) {
  trust_maker();
  set_fake({{"loaded", {{me, {build_id}}}}, {"die", {me}}});
  std::string file = write_patch(level(1)).native();
  EXPECT_EQ(ctl({"patch", "-p", "all", file}).exit_code, 0);
  auto named = ctl({"patch", "-p", me, "--json", file});
  EXPECT_EQ(named.exit_code, 1);
  EXPECT_EQ(Json::parse(named.output)["code"], "process-died");
  EXPECT_THAT(ctl({"info", "-p", "99999999"}).errors, HasSubstr("no such process"));
}

TEST_F(Cli, CtlNamesProcessesThatItMayNotLookInto) {
  trust_maker();
  set_fake({{"loaded", {{me, {build_id}}}}, {"deny", {me}}});
  std::string file = write_patch(level(1)).native();
  auto all = ctl({"patch", "-p", "all", file});
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_THAT(all.errors, HasSubstr("1 processes may not be looked into (" + me + " "));
  auto named = ctl({"patch", "-p", me, file});
  EXPECT_EQ(named.exit_code, 1);
  EXPECT_THAT(named.errors, HasSubstr("failed: process 7: denied"));
  set_fake({{"deny", {"all"}}});
  for (const char* what : {"patch", "unpatch", "info"})
    EXPECT_EQ(ctl({what, "-p", "all", what == std::string("patch") ? file : "--json"}).exit_code, 1)
        << what;
}

TEST_F(Cli, CtlRefusesTwoPatchsetsOfOneLevel) {
  trust_maker();
  Patchset other = level(1);
  other.name = "U20261123_01";
  std::string first = write_patch(level(1)).native();
  auto result = ctl({"patch", "-p", me, first, write_patch(other, "b.lcpatch").native()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("U20261122_01 and U20261123_01 are both level 1"));
  EXPECT_THAT(calls(), IsEmpty());
  EXPECT_EQ(ctl({"patch", "-p", me, first, first}).exit_code, 0);
}

TEST_F(Cli, CtlRefusesBadUsageWithTwo) {
  std::string file = write_patch(level(1)).native();
  for (std::vector<std::string> arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"patch", file},
                                             {"patch", "-p", me},
                                             {"frob", "-p", me},
                                             {"patch", "-p", "x", file},
                                             {"patch", "-p", "-1", file},
                                             {"patch", "-p", me, "--colour", file},
                                             {"info"},
                                             {"patch", "-p", me, path("missing").native()},
                                             {"info", "-p", me, file}}) {
    auto result = ctl(arguments);
    EXPECT_EQ(result.exit_code, 2) << fmt::format("{}", fmt::join(arguments, " "));
    EXPECT_THAT(result.errors, HasSubstr("libcare-ctl: "));
  }
  EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(Cli, NothingUntrustedReachesAProcess) {
  auto stranger = trust::generate_key().value();
  Bytes plain = patchfmt::write(level(1));
  Bytes tampered = sign(plain, maker_);
  // The level, inside what the signature covers: the last byte of the body.
  tampered[tampered.size() - 105] ^= 1;
  Bytes forged = sign(plain, stranger);
  std::copy_n(maker_.public_key().id().begin(), 32, forged.end() - 96);
  trust_maker();
  const std::pair<Bytes, std::string> cases[] = {
      {plain, "is not signed"},
      {sign(plain, stranger), "which is not in"},
      {tampered, "is not what maker signed"},
      {forged, "is not what maker signed"},
  };
  for (const auto& [bytes, why] : cases) {
    ASSERT_TRUE(write_file_atomic(path("bad.lcpatch"), bytes).ok());
    auto result = ctl({"patch", "-p", me, path("bad.lcpatch").native()});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.errors, HasSubstr(why));
    // One bad file spoils the request, the good one beside it is not applied either.
    result = ctl({"patch", "-p", me, write_patch(level(1)).native(), path("bad.lcpatch").native()});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(calls(), IsEmpty());

    fs::path published = server_ / build_id / "1" / "patch";
    publish(level(1));
    ASSERT_TRUE(write_file_atomic(published, bytes).ok());
    configure();
    result = kcarectl({"--lib-update"});
    EXPECT_EQ(result.exit_code, 4) << result.output;
    EXPECT_THAT(result.errors, HasSubstr(why));
    EXPECT_THAT(calls(), IsEmpty());
    EXPECT_FALSE(fs::exists(paths_.cache / build_id / "1" / "patch"));
  }
}

TEST_F(Cli, AKeyMustBeImportedFirst) {
  publish(level(1));
  write(paths_.configuration, "PATCH_SERVER=file://" + server_.native() + "\n");
  auto result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.errors, HasSubstr("--import-key"));
  result = kcarectl({"--import-key", path("maker.pub").native()});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("Key maker ("));
  EXPECT_THAT(kcarectl({"--import-key", path("maker.pub").native()}).output, HasSubstr("already"));
  // Another key of the same name does not take its place.
  ASSERT_TRUE(
      trust::save_public_key(path("x/maker.pub"), trust::generate_key()->public_key()).ok());
  EXPECT_THAT(kcarectl({"--import-key", path("x/maker.pub").native()}).output,
              HasSubstr("Key maker-"));
  EXPECT_EQ(trust::load_ring(paths_.keys)->size(), 2u);
  write(path("gpg.asc"), "-----BEGIN PGP PUBLIC KEY BLOCK-----");
  EXPECT_EQ(kcarectl({"--import-key", path("gpg.asc").native()}).exit_code, 5);
  EXPECT_EQ(kcarectl({"--import-key", path("missing").native()}).exit_code, 1);
  EXPECT_EQ(kcarectl({"--lib-update"}).exit_code, 0);
}

TEST_F(Cli, UpdateInfoPatchInfoUnload) {
  configure();
  publish(level(1));
  auto result = kcarectl({"--lib-update"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("Downloading updates"));
  EXPECT_THAT(result.output, HasSubstr("applied to 1 newly discovered processes"));
  EXPECT_THAT(result.output, HasSubstr("Object `libfake.so' is patched for 1 processes."));

  result = kcarectl({"--userspace-update", "libs"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("Updates already downloaded"));
  EXPECT_THAT(result.output, HasSubstr("applied to 0 newly discovered processes"));

  result = kcarectl({"--lib-info"});
  EXPECT_THAT(result.output, HasSubstr("pid: " + me +
                                       "\ncomm: fake\nlibs: libfake.so U20261122_01 "
                                       "level 1 live (CVE-2026-0001)\n"));
  Json info = Json::parse(kcarectl({"--lib-info", "--json"}).output);
  EXPECT_EQ(info["processes"][0]["libs"][0]["level"], 1);

  result = kcarectl({"--lib-patch-info"});
  EXPECT_EQ(result.output, patchfmt::kpatch_info(level(1)));
  Json patches = Json::parse(kcarectl({"--lib-patch-info", "--json"}).output);
  EXPECT_EQ(patches["patches"][0]["build_id"], build_id);
  EXPECT_EQ(patches["patches"][0]["processes"], 1);

  result = kcarectl({"--lib-unload"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("removed from 1 processes"));
  EXPECT_EQ(kcarectl({"--lib-info"}).output, "No userspace processes are patched\n");
  EXPECT_EQ(kcarectl({"--lib-patch-info"}).output, "No userspace patches are in memory\n");
}

TEST_F(Cli, PatchInfoComesFromMemoryWhenTheCacheIsGone) {
  set_fake({{"loaded", {{me, {build_id}}}}, {"live", {{me, {{build_id, 1}}}}}});
  auto result = kcarectl({"--lib-patch-info"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("kpatch-name: U20261122_01 level 1\n"));
  EXPECT_THAT(result.output, HasSubstr("kpatch-cve: CVE-2026-0001\n"));
}

TEST_F(Cli, ANewerLevelReplacesAndAnOlderOneDoesNot) {
  configure();
  publish(level(1));
  EXPECT_EQ(kcarectl({"--lib-update"}).exit_code, 0);
  publish(level(2));
  auto result = kcarectl({"--lib-update"});
  EXPECT_THAT(result.output, HasSubstr("Downloading updates"));
  EXPECT_EQ(fake()["live"][me][build_id], 2);
  publish(level(1));
  EXPECT_EQ(kcarectl({"--lib-update"}).exit_code, 0);
  EXPECT_EQ(fake()["live"][me][build_id], 2);
}

TEST_F(Cli, BlacklistedProcessesAreLeftAlone) {
  configure();
  publish(level(1));
  write(paths_.packaged_blacklist, "filename:agent_test\n");
  auto result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("1 processes are blacklisted"));
  EXPECT_THAT(calls(), IsEmpty());
  write(paths_.local_blacklist, "agent_test\n");
  result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("blacklist:1: is no rule"));
  EXPECT_THAT(calls(), IsEmpty());
  write(paths_.local_blacklist, "");
  EXPECT_EQ(kcarectl({"--lib-update"}).exit_code, 0);
  EXPECT_EQ(calls().size(), 1u);
}

TEST_F(Cli, OnlyTheWantedTypesAndPrefixes) {
  configure("USERSPACE_PATCHES=libs\n");
  Patchset qemu = level(1);
  qemu.product = "qemu";
  publish(qemu);
  kcarectl({"--userspace-update"});
  EXPECT_THAT(calls(), IsEmpty());
  kcarectl({"--userspace-update", "db,qemu"});
  EXPECT_EQ(calls().size(), 1u);
  EXPECT_EQ(kcarectl({"--userspace-update", "java"}).exit_code, 2);
  publish(level(7), "test");
  EXPECT_EQ(kcarectl({"--lib-update", "--test"}).exit_code, 0);
  EXPECT_EQ(fake()["live"][me][build_id], 7);
  EXPECT_EQ(kcarectl({"--lib-update", "--prefix", "12h"}).exit_code, 3);
  EXPECT_EQ(kcarectl({"--lib-update", "--prefix", "../x"}).exit_code, 2);
}

TEST_F(Cli, StickyTakesTheNewestOfThatDay) {
  configure("# kept\n");
  Day yesterday{today().number - 1};
  publish(level(1, to_string(Day{yesterday.number - 5}) + " 10:00:00"));
  publish(level(2, to_string(yesterday) + " 10:00:00"));
  publish(level(3, to_string(today()) + " 00:00:01"));
  EXPECT_EQ(kcarectl({"--set-sticky-patch", to_string(yesterday), "--lib-update"}).exit_code, 0);
  EXPECT_EQ(fake()["live"][me][build_id], 2);
  EXPECT_THAT(*read_text(paths_.configuration), HasSubstr("# kept\nSTICKY_PATCH="));
  EXPECT_EQ(kcarectl({"--set-sticky-patch", to_string(today())}).exit_code, 2);
  EXPECT_EQ(kcarectl({"--set-sticky-patch", to_string(Day{today().number - 61})}).exit_code, 2);
  EXPECT_EQ(kcarectl({"--set-sticky-patch", "KEY"}).exit_code, 5);
  EXPECT_EQ(kcarectl({"--set-sticky-patch", "", "--lib-update"}).exit_code, 0);
  EXPECT_EQ(fake()["live"][me][build_id], 3);
}

TEST_F(Cli, FailuresOfSingleProcessesAndPatchesGiveOne) {
  configure();
  publish(level(1));
  set_fake({{"loaded", {{me, {build_id}}}}, {"fail", {{me, "threads never left"}}}});
  auto result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr(me + " fake: threads never left"));
  write(server_ / build_id / "latest.v2", "9\n");
  result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("names level 9, which is not there"));
}

TEST_F(Cli, APatchForAnotherBinaryIsNotTakenFromTheServer) {
  configure();
  Patchset other = level(1);
  publish(other);
  other.objects[0].build_id = "ffff" + build_id.substr(4);
  ASSERT_TRUE(
      write_file_atomic(server_ / build_id / "1" / "patch", sign(patchfmt::write(other), maker_))
          .ok());
  auto result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.errors, HasSubstr("damaged or lies"));
}

TEST_F(Cli, ConfigurationErrorsAreNamed) {
  configure("AUTO_UPDATE=maybe\n");
  auto result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("AUTO_UPDATE=maybe cannot be; allowed is YES or NO"));
  configure("COLOUR=red\n");
  EXPECT_THAT(kcarectl({"--lib-update"}).errors, HasSubstr("kcare.conf:2: unknown key COLOUR"));
  write(paths_.configuration, "");
  result = kcarectl({"--lib-update"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.errors, HasSubstr("PATCH_SERVER is not set"));
  write(paths_.configuration, "PATCH_SERVER=https://patches.example.org/\n");
  EXPECT_EQ(kcarectl({"--lib-update"}).exit_code, 5);
}

TEST_F(Cli, OptionsOfOtherPartsSayWhatIsMissing) {
  for (std::string option : {"--doctor", "--license-info", "--unregister"}) {
    auto result = kcarectl({option});
    EXPECT_EQ(result.exit_code, 5) << option;
    EXPECT_THAT(result.errors, HasSubstr("not in this build")) << option;
  }
  EXPECT_THAT(kcarectl({"--register", "KEY1"}).errors,
              HasSubstr("--register: registration and licences is not in this build"));
  auto unknown = kcarectl({"--colour"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.errors, Not(HasSubstr("not in this build")));
  EXPECT_EQ(kcarectl({}).exit_code, 2);
  EXPECT_EQ(kcarectl({"--version"}).exit_code, 0);
}

TEST_F(Cli, AServerThatDiesIsAnError) {
  write(path("dies"),
        "#!/bin/sh\nread x\necho '{\"pid\":1,\"outcome\":\"patched\"}'\nkill -9 $$\n");
  fs::permissions(path("dies"), fs::perms::owner_all);
  auto result =
      run({.arguments = {LIBCARE_CTL, "info", "-p", "1", "--server", path("dies").native()}});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 1);
  EXPECT_THAT(result->errors, HasSubstr("ended with code 137 before its work was done"));
  result = run({.arguments = {LIBCARE_CTL, "info", "-p", "1", "--server", path("no").native()}});
  EXPECT_EQ(result->exit_code, 2);
}

}  // namespace livecare::agent
