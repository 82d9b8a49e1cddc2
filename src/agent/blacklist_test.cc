#include "agent/blacklist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_system.h"

namespace livecare::agent {

namespace {

using ::testing::HasSubstr;

bool blocks(std::string_view rule, const std::string& executable) {
  auto list = Blacklist::parse(rule, "blacklist");
  EXPECT_TRUE(list.ok()) << list.error().text();
  return list.ok() && !list->match(executable).empty();
}

std::string error_of(std::string_view text) {
  auto list = Blacklist::parse(text, "blacklist");
  return list.ok() ? "was accepted" : list.error().text();
}

}  // namespace

TEST(Blacklist, PathsMatchWholeWithWildcards) {
  EXPECT_TRUE(blocks("path:/usr/sbin/mysqld", "/usr/sbin/mysqld"));
  EXPECT_FALSE(blocks("path:/usr/sbin/mysqld", "/usr/sbin/mysqld2"));
  EXPECT_TRUE(blocks("path:/opt/*", "/opt/a/b/c"));
  EXPECT_TRUE(blocks("path: /usr/bin/python3.[0-9]? ", "/usr/bin/python3.11"));
  EXPECT_FALSE(blocks("path:mysqld", "/usr/sbin/mysqld"));
}

TEST(Blacklist, FileNamesMatchTheLastComponent) {
  EXPECT_TRUE(blocks("filename:qemu-*", "/usr/bin/qemu-system-x86_64"));
  EXPECT_FALSE(blocks("filename:qemu-*", "/opt/qemu-7/run"));
  EXPECT_TRUE(blocks("filename:nginx", "nginx"));
}

TEST(Blacklist, ExpressionsAreFoundAnywhere) {
  EXPECT_TRUE(blocks("regex:^/opt/(a|b)/", "/opt/b/x"));
  EXPECT_TRUE(blocks("regex:sql", "/usr/sbin/mysqld"));
  EXPECT_FALSE(blocks("regex:^sql", "/usr/sbin/mysqld"));
}

TEST(Blacklist, SkipsCommentsAndBlankLinesAndNamesTheRule) {
  auto list = Blacklist::parse("# why\n\n  # more\r\npath:/a\r\nfilename:b\n", "blacklist");
  ASSERT_TRUE(list.ok());
  EXPECT_EQ(list->size(), 2u);
  EXPECT_EQ(list->match("/x/b"), "filename:b");
}

TEST(Blacklist, RefusesWhatItDoesNotUnderstand) {
  EXPECT_THAT(error_of("path:/a\n/usr/bin/x\n"), HasSubstr("blacklist:2: is no rule"));
  EXPECT_THAT(error_of("path:"), HasSubstr("has no pattern"));
  EXPECT_THAT(error_of("regex:("), HasSubstr("blacklist:1: pattern"));
  EXPECT_THAT(error_of("regex:(a)\\1"), HasSubstr("blacklist:1: pattern"));
  EXPECT_THAT(error_of("regex:((a{1,200}){1,200}){1,200}"), HasSubstr("repetition"));
  EXPECT_EQ(error_of("regex:^/(opt|srv)/[a-z]+/(v[0-9]+)+$"), "was accepted");
  EXPECT_THAT(error_of("regex:a{2000}"), HasSubstr("repetition"));
  EXPECT_THAT(error_of("path:" + std::string(2000, 'a')), HasSubstr("longer than 1024"));
}

// Patterns on which glibc's regcomp or regexec takes minutes or gigabytes.
TEST(Blacklist, HostilePatternsCostNothing) {
  EXPECT_TRUE(blocks("regex:a" + std::string(60, '*'), "/usr/bin/x"));
  EXPECT_TRUE(blocks("regex:a" + std::string(40, '+') + "b", "/aab"));
  EXPECT_TRUE(blocks("regex:" + std::string(200, '(') + "x" + std::string(200, ')'), "/x"));
  EXPECT_FALSE(blocks("regex:^(/a*)*$", "/" + std::string(4000, 'a') + "b"));
}

TEST(Blacklist, ExpressionsAreBytes) {
  EXPECT_TRUE(blocks("regex:^/\xe9.$", "/\xe9\xff"));
  EXPECT_FALSE(blocks("regex:^b$", "/a\nb\n"));
}

TEST(Blacklist, TheLocalListReplacesThePackagedOne) {
  auto directory = TemporaryDirectory::make();
  ASSERT_TRUE(directory.ok());
  Paths paths(directory->path());
  EXPECT_EQ(Blacklist::load(paths)->size(), 0u);
  ASSERT_TRUE(
      write_file_atomic(paths.packaged_blacklist, ByteView(std::string_view("path:/a\npath:/b\n")))
          .ok());
  EXPECT_EQ(Blacklist::load(paths)->size(), 2u);
  ASSERT_TRUE(
      write_file_atomic(paths.local_blacklist, ByteView(std::string_view("path:/c\n"))).ok());
  auto list = Blacklist::load(paths);
  EXPECT_EQ(list->match("/a"), "");
  EXPECT_EQ(list->match("/c"), "path:/c");
  ASSERT_TRUE(write_file_atomic(paths.local_blacklist, ByteView(std::string_view(""))).ok());
  EXPECT_EQ(Blacklist::load(paths)->size(), 0u);
}

}  // namespace livecare::agent
