#include "builder/cumulative.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_system.h"
#include "builder/publish.h"
#include "patchfmt/samples.h"

namespace livecare::builder {
namespace {

using patchfmt::Patchset;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Cumulative : public ::testing::Test {
 protected:
  Cumulative() : directory_(TemporaryDirectory::make().value()) {}

  static patchfmt::Fix fix(std::string name, std::vector<std::string> cves = {}) {
    return {std::move(name), "", "", std::move(cves), "", "", ""};
  }
  static Patchset patchset(uint32_t level, std::vector<patchfmt::Fix> fixes) {
    Patchset made = patchfmt::sample_patchset();
    made.level = level;
    made.name = "U20261122_0" + std::to_string(level);
    made.fixes = std::move(fixes);
    return made;
  }
  void publish_level(const Patchset& patchset) {
    auto key = trust::generate_key();
    ASSERT_TRUE(key.ok());
    auto published = publish(directory_.path(), patchset, *key);
    ASSERT_TRUE(published.ok()) << published.error().text();
  }
  std::string problem(const Patchset& patchset) const {
    Status status = check_cumulative(directory_.path(), patchset);
    return status.ok() ? "" : status.error().text();
  }

  TemporaryDirectory directory_;
};

TEST_F(Cumulative, AFirstLevelMayHoldAnything) {
  EXPECT_EQ(problem(patchset(1, {fix("a.patch")})), "");
}

TEST_F(Cumulative, AFixThatIsLeftOutIsNamed) {
  publish_level(patchset(1, {fix("a.patch", {"CVE-2026-0001"}), fix("plain.patch")}));
  EXPECT_THAT(problem(patchset(2, {fix("b.patch", {"CVE-2026-0002"})})),
              AllOf(HasSubstr("a.patch (CVE-2026-0001)"), HasSubstr("plain.patch"),
                    HasSubstr("level 1"), HasSubstr("--fix"), HasSubstr("--out")));
  EXPECT_THAT(problem(patchset(2, {fix("a.patch"), fix("b.patch")})),
              AllOf(HasSubstr("plain.patch"), Not(HasSubstr("a.patch"))));
  EXPECT_EQ(problem(patchset(2, {fix("a.patch"), fix("plain.patch"), fix("b.patch")})), "");
}

TEST_F(Cumulative, KernelsToo) {
  Patchset first = patchfmt::sample_kernel_patchset();
  first.fixes = {fix("a.patch", {"CVE-2026-0001"})};
  publish_level(first);
  Patchset next = first;
  next.level = first.level + 1;
  next.fixes = {fix("b.patch", {"CVE-2026-0002"})};
  EXPECT_THAT(problem(next), HasSubstr("a.patch (CVE-2026-0001)"));
  next.modules[0].type = "extra";  // of which nothing is published
  EXPECT_EQ(problem(next), "");
  next.modules[0].type = "default";
  next.fixes.push_back(fix("other.patch", {"CVE-2026-0001"}));
  EXPECT_EQ(problem(next), "");
}

TEST_F(Cumulative, TheCveCountsUnderAnotherFileName) {
  publish_level(patchset(1, {fix("a.patch", {"CVE-2026-0001"})}));
  EXPECT_EQ(problem(patchset(2, {fix("all.patch", {"CVE-2026-0001", "CVE-2026-0002"})})), "");
}

TEST_F(Cumulative, TwoFixesOfOneFileNameAreToldApart) {
  publish_level(patchset(1, {fix("fix.patch", {"CVE-2026-0001"})}));
  Patchset other = patchset(2, {fix("fix.patch", {"CVE-2026-0002"})});
  EXPECT_EQ(problem(other), "");  // the same functions are replaced again
  other.objects[0].functions[0].address += 0x100;
  EXPECT_THAT(problem(other), HasSubstr("fix.patch (CVE-2026-0001)"));
}

TEST_F(Cumulative, AnObjectThatIsLeftOutIsNamed) {
  Patchset first = patchset(1, {fix("a.patch")});
  first.objects.push_back(patchfmt::sample_object(std::string(40, 'b')));
  first.objects[1].soname = "libother.so.3";
  publish_level(first);
  EXPECT_THAT(problem(patchset(2, {fix("a.patch"), fix("b.patch")})),
              AllOf(HasSubstr("libother.so.3"), HasSubstr("--target")));
}

TEST_F(Cumulative, OnlyTheNewestLevelIsAsked) {
  publish_level(patchset(1, {fix("withdrawn.patch")}));
  publish_level(patchset(2, {fix("a.patch")}));
  EXPECT_EQ(problem(patchset(3, {fix("a.patch")})), "");
}

TEST_F(Cumulative, ALevelThatCannotBeReadIsAnError) {
  Patchset first = patchset(1, {fix("a.patch")});
  publish_level(first);
  std::filesystem::remove(directory_.path() / first.objects[0].build_id / "1" / "patch");
  EXPECT_THAT(problem(patchset(2, {fix("a.patch")})), HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace livecare::builder
