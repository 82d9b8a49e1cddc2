#include "builder/publish.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "match/test_build.h"
#include "patchfmt/codec.h"
#include "patchfmt/samples.h"

namespace livecare::builder {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PublishTest : public testing::Test {
 protected:
  PublishTest() : out(build.path("out")) {
    auto made = trust::generate_key();
    EXPECT_TRUE(made.ok());
    key = *made;
  }
  std::string text(const std::string& name) const {
    auto content = read_text(out / name);
    return content.ok() ? *content : "(none)";
  }
  match::TestBuild build;
  fs::path out;
  trust::PrivateKey key;
};

TEST_F(PublishTest, MakesAServerThatAnAgentCanRead) {
  patchfmt::Patchset patchset = patchfmt::sample_patchset();
  patchset.objects.push_back(patchfmt::sample_object(std::string(40, 'a')));
  auto published = publish(out, patchset, key);
  ASSERT_TRUE(published.ok()) << published.error().text();
  EXPECT_EQ(published->file, out / "U20261122_01.lcpatch");
  EXPECT_EQ(published->bytes, fs::file_size(published->file));
  for (const auto& object : patchset.objects) {
    EXPECT_EQ(text(object.build_id + "/latest.v2"), "2\n");
    EXPECT_EQ(text(object.build_id + "/2/patch"), text("U20261122_01.lcpatch"));
    EXPECT_THAT(text(object.build_id + "/2/kpatch.info"), HasSubstr("CVE-2026-0001"));
    EXPECT_EQ(latest_level(out, object.build_id), 2u);
  }
  auto bytes = read_file(published->file);
  ASSERT_TRUE(bytes.ok());
  auto file = patchfmt::read(*bytes, "patch");
  ASSERT_TRUE(file.ok()) << file.error().text();
  ASSERT_EQ(file->signatures.size(), 1u);
  auto maker = trust::load_public_key(out / "maker.pub");
  ASSERT_TRUE(maker.ok()) << maker.error().text();
  EXPECT_EQ(file->signatures[0].key_id, maker->id());
  EXPECT_TRUE(trust::verify(*maker, *patchfmt::signed_bytes(*bytes, "patch"),
                            file->signatures[0].signature));
}

TEST_F(PublishTest, WhatAnAgentCouldNotReadIsNotPublished) {
  patchfmt::Patchset patchset = patchfmt::sample_patchset();
  patchset.objects[0].relocations[0].symbol = 99;
  auto published = publish(out, patchset, key);
  ASSERT_FALSE(published.ok());
  EXPECT_EQ(published.error().code, ErrorCode::internal);
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(PublishTest, KernelsLieByTheirIdAndTypesSideBySide) {
  patchfmt::Patchset patchset = patchfmt::sample_kernel_patchset();
  std::string id = patchset.modules[0].kernel_id;
  ASSERT_TRUE(publish(out, patchset, key).ok());
  patchset.modules[0].type = "extra";
  ASSERT_TRUE(publish(out, patchset, key).ok());
  EXPECT_EQ(latest_level(out, id), patchset.level);
  EXPECT_TRUE(fs::exists(out / id / "version"));
  fs::path level = out / id / std::to_string(patchset.level);
  for (const char* name : {"patch", "patch.extra", "kpatch.info", "kpatch.info.extra"})
    EXPECT_TRUE(fs::exists(level / name)) << name;
  auto file = patchfmt::read(*read_file(level / "patch.extra"), "patch.extra");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->patchset.modules[0].type, "extra");
  EXPECT_EQ(*next_patchset_name(out, "20261122", 'K'), "K20261122_02");
}

TEST_F(PublishTest, LevelsAndNamesGoOn) {
  EXPECT_EQ(latest_level(out, "abc"), 0u);
  build.write("out/abc/latest.v2", "17\n");
  EXPECT_EQ(latest_level(out, "abc"), 17u);
  build.write("out/abc/latest.v2", "rubbish");
  EXPECT_EQ(latest_level(out, "abc"), 0u);
  EXPECT_EQ(*next_patchset_name(out, "20261122"), "U20261122_01");
  build.write("out/U20261122_01.lcpatch", "");
  EXPECT_EQ(*next_patchset_name(out, "20261122"), "U20261122_02");
  for (unsigned i = 1; i <= patchsets_per_day_max; ++i)
    build.write(fmt::format("out/U20261122_{:02}.lcpatch", i), "");
  auto none = next_patchset_name(out, "20261122");
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().text(), HasSubstr("use another directory"));
  EXPECT_EQ(*next_patchset_name(out, "20261123"), "U20261123_01");
}

TEST_F(PublishTest, TheDirectoryMustBeWritable) {
  EXPECT_TRUE(check_output_directory(out / "sub").ok());
  EXPECT_TRUE(fs::is_empty(out / "sub"));
  build.write("file", "");
  auto checked = check_output_directory(build.path("file") + "/out");
  ASSERT_FALSE(checked.ok());
  EXPECT_THAT(checked.error().text(), HasSubstr("file/out"));
}

TEST_F(PublishTest, TheDefaultKeyIsMadeOnceAndANamedOneMustExist) {
  const char* before = std::getenv("XDG_CONFIG_HOME");
  std::string kept = before ? before : "";
  ::setenv("XDG_CONFIG_HOME", build.path("config").c_str(), 1);
  auto first = load_maker_key("");
  auto second = load_maker_key("");
  fs::path path = default_key();
  before ? ::setenv("XDG_CONFIG_HOME", kept.c_str(), 1) : ::unsetenv("XDG_CONFIG_HOME");
  ASSERT_TRUE(first.ok()) << first.error().text();
  ASSERT_TRUE(second.ok()) << second.error().text();
  EXPECT_EQ(first->seed, second->seed);
  EXPECT_EQ(path, build.path("config/livecare/maker.key"));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(trust::load_public_key(build.path("config/livecare/maker.pub"))->raw,
            first->public_key().raw);
  auto named = load_maker_key(build.path("none.key"));
  ASSERT_FALSE(named.ok());
  EXPECT_THAT(named.error().text(), HasSubstr("none.key"));
}

}  // namespace
}  // namespace livecare::builder
