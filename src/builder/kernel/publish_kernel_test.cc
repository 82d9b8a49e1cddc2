#include "builder/kernel/publish_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file_system.h"
#include "builder/publish.h"
#include "match/test_build.h"

namespace livecare::builder {
namespace {

namespace fs = std::filesystem;

TEST(PublishKernel, MakesAServerThatAnAgentCanRead) {
  match::TestBuild build;
  build.write("kpatch.ko", "a module");
  build.write("module.der", "a certificate");
  fs::path out = build.path("out");
  auto key = trust::generate_key();
  ASSERT_TRUE(key.ok());
  patchfmt::Patchset patchset;
  patchset.level = 3;
  auto name = next_kernel_patchset_name(out, "20261126");
  ASSERT_TRUE(name.ok());
  patchset.name = *name;
  patchset.fixes.push_back({"fix.patch", "", "", {"CVE-2026-0001"}, "", "", ""});
  auto file = publish_kernel(out, "abc", "default", patchset, build.path("kpatch.ko"),
                             build.path("module.der"), *key);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(*file, out / "K20261126_01.ko");
  EXPECT_EQ(*next_kernel_patchset_name(out, "20261126"), "K20261126_02");
  EXPECT_EQ(latest_level(out, "abc"), 3u);
  auto module = read_file(out / "abc/3/kpatch.ko");
  auto signature = read_file(out / "abc/3/kpatch.sig");
  auto information = read_text(out / "abc/3/kpatch.info");
  ASSERT_TRUE(module.ok() && signature.ok() && information.ok());
  EXPECT_THAT(*information, testing::HasSubstr("CVE-2026-0001"));
  ASSERT_EQ(signature->size(), 4u + 4 + 32 + 64);
  std::array<uint8_t, 64> raw{};
  std::copy(signature->begin() + 40, signature->end(), raw.begin());
  EXPECT_TRUE(trust::verify(key->public_key(), *module, raw));
  module->back() ^= 1;
  EXPECT_FALSE(trust::verify(key->public_key(), *module, raw));
}

TEST(PublishKernel, ALevelHoldsThoseBefore) {
  match::TestBuild build;
  build.write("kpatch.ko", "a module");
  build.write("module.der", "a certificate");
  fs::path out = build.path("out");
  auto key = trust::generate_key();
  ASSERT_TRUE(key.ok());
  patchfmt::Patchset first;
  first.level = 1;
  first.name = "K20261126_01";
  first.fixes.push_back({"a.patch", "", "", {"CVE-2026-0001", "CVE-2026-0002"}, "", "", ""});
  first.fixes.push_back({"b.patch", "", "", {}, "", "", ""});
  ASSERT_TRUE(check_kernel_cumulative(out, "abc", "default", first).ok());
  ASSERT_TRUE(publish_kernel(out, "abc", "default", first, build.path("kpatch.ko"),
                             build.path("module.der"), *key)
                  .ok());
  patchfmt::Patchset next;
  next.fixes.push_back({"other.patch", "", "", {"CVE-2026-0001"}, "", "", ""});
  auto missing = check_kernel_cumulative(out, "abc", "default", next);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, testing::HasSubstr("a.patch (CVE-2026-0001"));
  EXPECT_THAT(missing.error().message, testing::HasSubstr("b.patch"));
  next.fixes[0].cves.push_back("CVE-2026-0002");
  next.fixes.push_back({"b.patch", "", "", {"CVE-2026-0009"}, "", "", ""});
  EXPECT_TRUE(check_kernel_cumulative(out, "abc", "default", next).ok());
  EXPECT_TRUE(check_kernel_cumulative(out, "other", "default", {}).ok());
}

TEST(PublishKernel, TypesLieSideBySide) {
  match::TestBuild build;
  build.write("kpatch.ko", "a module");
  build.write("module.der", "a certificate");
  auto key = trust::generate_key();
  ASSERT_TRUE(key.ok());
  patchfmt::Patchset patchset;
  patchset.level = 1;
  patchset.name = "K20261126_01";
  auto file = publish_kernel(build.path("out"), "abc", "extra", patchset, build.path("kpatch.ko"),
                             build.path("module.der"), *key);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(fs::exists(fs::path(build.path("out")) / "abc/1/kpatch.ko.extra"));
  EXPECT_FALSE(fs::exists(fs::path(build.path("out")) / "abc/1/kpatch.ko"));
}

}  // namespace
}  // namespace livecare::builder
