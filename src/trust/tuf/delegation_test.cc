#include "trust/tuf/delegation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trust/keys.h"

namespace livecare::trust::tuf {

namespace {

using ::testing::ElementsAre;

std::vector<std::string> names(const Delegations& delegations, std::string_view path) {
  std::vector<std::string> found;
  for (const RoleForPath& role : roles_for_path(delegations, path)) found.push_back(role.name);
  return found;
}

}  // namespace

// The examples of the specification, section 4.5, first.
TEST(PathPattern, MatchesBySegments) {
  EXPECT_TRUE(path_matches("targets/*.tgz", "targets/foo.tgz"));
  EXPECT_FALSE(path_matches("targets/*.tgz", "targets/foo.txt"));
  EXPECT_TRUE(path_matches("foo-version-?.tgz", "foo-version-2.tgz"));
  EXPECT_FALSE(path_matches("foo-version-?.tgz", "foo-version-alpha.tgz"));
  EXPECT_TRUE(path_matches("*.tgz", "bar.tgz"));
  EXPECT_FALSE(path_matches("*.tgz", "targets/foo.tgz"));
  EXPECT_TRUE(path_matches("foo.tgz", "foo.tgz"));
  EXPECT_FALSE(path_matches("*", "a/b"));
  EXPECT_TRUE(path_matches("*/*", "a/b"));
  EXPECT_FALSE(path_matches("*/*", "a"));
  EXPECT_FALSE(path_matches("a?b", "a/b"));
  EXPECT_FALSE(path_matches("a[/]b", "a/b"));
  EXPECT_TRUE(path_matches("*", ".hidden"));
  EXPECT_TRUE(path_matches("*", ""));
  EXPECT_FALSE(path_matches("a/*", "a"));
  EXPECT_TRUE(path_matches("a/*", "a/"));
}

TEST(PathPattern, StarsAndSets) {
  EXPECT_TRUE(path_matches("a*b*c", "axxbyybzzc"));
  EXPECT_FALSE(path_matches("a*b*c", "axxbyybzzd"));
  EXPECT_TRUE(path_matches("**a", "ba"));
  EXPECT_TRUE(path_matches("[a-c]x[!0-9]", "bxz"));
  EXPECT_FALSE(path_matches("[a-c]x[!0-9]", "bx5"));
  EXPECT_TRUE(path_matches("[]]", "]"));
  EXPECT_TRUE(path_matches("[", "["));
  EXPECT_TRUE(path_matches("?.md", "\xc3\xa9.md"));
  EXPECT_FALSE(path_matches("??.md", "\xc3\xa9.md"));
}

TEST(PathPattern, IsNotExponential) {
  std::string stars;
  for (int i = 0; i < 200; ++i) stars += "a*";
  EXPECT_FALSE(path_matches(stars + "b", std::string(5000, 'a')));
}

TEST(RolesForPath, KeepTheirOrder) {
  Delegations delegations;
  delegations.roles = {{"b", {}, false, {"*.md"}, {}},
                       {"a", {}, true, {"x", "*"}, {}},
                       {"c", {}, false, {"*.py"}, {}},
                       {"nobody", {}, false, {}, {}}};
  EXPECT_THAT(names(delegations, "read.md"), ElementsAre("b", "a"));
  EXPECT_TRUE(roles_for_path(delegations, "read.md")[1].terminating);
}

TEST(RolesForPath, ByTheHashOfThePath) {
  const std::string hash = sha256_hex(ByteView(std::string_view("some/target")));
  Delegations delegations;
  delegations.roles = {{"other", {}, false, {}, {hash[0] == '0' ? "1" : "0"}},
                       {"bin", {}, false, {}, {"zz", hash.substr(0, 3)}}};
  EXPECT_THAT(names(delegations, "some/target"), ElementsAre("bin"));
}

// The bins of TAP 15: names as long as that of the last one.
TEST(RolesForPath, Succinct) {
  Delegations delegations;
  delegations.succinct = SuccinctRoles{"bin", {}, 1};
  const std::string path = "some/target";
  uint8_t first = sha256(ByteView(std::string_view(path)))[0];
  EXPECT_THAT(names(delegations, path), ElementsAre(fmt::format("bin-{:x}", first >> 7)));
  delegations.succinct->bits = 8;
  EXPECT_THAT(names(delegations, path), ElementsAre(fmt::format("bin-{:02x}", first)));
  EXPECT_TRUE(roles_for_path(delegations, path)[0].terminating);
  delegations.succinct->bits = 32;
  EXPECT_EQ(names(delegations, path)[0].size(), 12u);
}

}  // namespace livecare::trust::tuf
