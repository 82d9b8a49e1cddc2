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
  EXPECT_TRUE(fs::exists(build.path("out") / "abc/1/kpatch.ko.extra"));
  EXPECT_FALSE(fs::exists(build.path("out") / "abc/1/kpatch.ko"));
}

}  // namespace
}  // namespace livecare::builder
