#include "builder/fix_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class FixPlanTest : public testing::Test {
 protected:
  FixPlanTest() {
    build.write("tree/lib/url.c", "a\nb\nc\n");
    build.write("tree/tests/unit.c", "t\n");
    tree.root = fs::canonical(build.path("tree"));
    tree.source_package = "curl 7";
  }
  Result<FixPlan> plan(const std::vector<std::string>& fixes) {
    std::vector<fs::path> files;
    for (size_t i = 0; i < fixes.size(); ++i) {
      std::string name = "fix" + std::to_string(i) + ".patch";
      build.write(name, fixes[i]);
      files.emplace_back(build.path(name));
    }
    return plan_fixes(tree, files, 0);
  }
  std::string error(const std::vector<std::string>& fixes) {
    auto made = plan(fixes);
    return made.ok() ? "none" : made.error().text();
  }
  static std::string change(const std::string& file, const std::string& from,
                            const std::string& to) {
    return "--- a/" + file + "\n+++ b/" + file + "\n@@ -1 +1 @@\n-" + from + "\n+" + to + "\n";
  }
  match::TestBuild build;
  PreparedTree tree;
};

TEST_F(FixPlanTest, FixesFollowOneAnother) {
  auto made = plan({change("lib/url.c", "a", "x"), change("lib/url.c", "x", "y")});
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(made->contents.at(tree.root / "lib/url.c"), "y\nb\nc\n");
  ASSERT_EQ(made->touched.size(), 1u);
  EXPECT_EQ(made->touched[0].patches.size(), 2u);
}

TEST_F(FixPlanTest, TheSecondFixMayChangeWhatTheFirstAdds) {
  auto made =
      plan({"--- /dev/null\n+++ b/lib/new.h\n@@ -0,0 +1 @@\n+1\n", change("lib/new.h", "1", "2")});
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(made->contents.at(tree.root / "lib/new.h"), "2\n");
}

TEST_F(FixPlanTest, TheOldNameMayBeThatOfABackup) {
  auto made = plan({"--- lib/url.c.orig\n+++ lib/url.c\n@@ -1 +1 @@\n-a\n+x\n"});
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(made->touched[0].name, "lib/url.c");
}

TEST_F(FixPlanTest, EqualCopiesAndMirrorsChangeToo) {
  for (const char* name : {"configure", "README", "Makefile", "COPYING"}) {
    build.write(std::string("tree/") + name, name);
    build.write(std::string("tree/debian/build-gnutls/") + name, name);
  }
  build.write("tree/debian/build-gnutls/lib/url.c", "a\nflavour\nc\n");
  build.write("tree/lib/copy/url.c", "a\nb\nc\n");
  build.write("tree/lib/other/url.c", "a\nunlike\n");
  EXPECT_THAT(find_mirrors(tree.root), ElementsAre(tree.root / "debian/build-gnutls"));
  auto made = plan({change("lib/url.c", "a", "x")});
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_EQ(made->contents.size(), 3u);
  EXPECT_EQ(made->contents.at(tree.root / "debian/build-gnutls/lib/url.c"), "x\nflavour\nc\n");
  EXPECT_EQ(made->contents.at(tree.root / "lib/copy/url.c"), "x\nb\nc\n");
}

TEST_F(FixPlanTest, RenamesAreRefusedUnlessNothingIsCompiledFromThem) {
  auto rename = [](const std::string& from, const std::string& to) {
    return "diff --git a/" + from + " b/" + to + "\nsimilarity index 90%\nrename from " + from +
           "\nrename to " + to + "\n--- a/" + from + "\n+++ b/" + to + "\n@@ -1 +1 @@\n-a\n+x\n";
  };
  auto refused = plan({rename("lib/url.c", "lib/url2.c")});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_THAT(refused.error().text(), HasSubstr("lib/url.c: fix0.patch renames or copies it"));
  auto made = plan({rename("tests/unit.c", "tests/unit2.c")});
  ASSERT_TRUE(made.ok()) << made.error().text();
  EXPECT_TRUE(made->contents.empty());
}

TEST_F(FixPlanTest, ErrorsNameFixFileAndRemedy) {
  EXPECT_THAT(error({change("lib/none.c", "a", "x")}),
              HasSubstr("fix0.patch: there is no lib/none.c in curl 7"));
  EXPECT_THAT(error({change("lib/url.c", "q", "x")}), HasSubstr("fix0.patch: lib/url.c: hunk"));
  EXPECT_THAT(error({"--- /dev/null\n+++ b/lib/url.c\n@@ -0,0 +1 @@\n+1\n"}),
              HasSubstr("creates lib/url.c, which is there already"));
  EXPECT_THAT(error({change("../../etc/passwd", "a", "x")}),
              HasSubstr("no file inside the source tree"));
  auto missing = plan_fixes(tree, {build.path("nowhere.patch")}, 0);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().text(), HasSubstr("nowhere.patch"));
}

}  // namespace
}  // namespace livecare::builder
