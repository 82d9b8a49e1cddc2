#include "builder/tree_edit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Stat {
  mode_t mode;
  timespec time;
  ino_t inode;
};

class TreeEditTest : public testing::Test {
 protected:
  TreeEditTest() {
    build.write("entry/tree/lib/a.c", "old a\n");
    build.write("entry/tree/lib/b.h", "old b\n");
    build.sh(
        "touch -d '2020-01-02 03:04:05.678' entry/tree/lib/a.c; chmod 0444 entry/tree/lib/a.c");
    entry = build.path("entry");
    contents = {{file("lib/a.c"), "new a\n"},
                {file("lib/b.h"), ""},
                {file("fresh/sub/c.c"), "new c\n"},
                {file("fresh/sub/d.c"), "new d\n"},
                {file("lib/e.h"), "new e\n"}};
    before = stat_of("lib/a.c");
  }
  fs::path file(const std::string& name) const { return entry / "tree" / name; }
  std::string text(const std::string& name) const {
    auto content = read_text(file(name));
    return content.ok() ? *content : "(" + std::string(to_string(content.error().code)) + ")";
  }
  Stat stat_of(const std::string& name) const {
    struct stat info {};
    EXPECT_EQ(::stat(file(name).c_str(), &info), 0);
    return {info.st_mode, info.st_mtim, info.st_ino};
  }
  void expect_changed() const {
    EXPECT_EQ(text("lib/a.c"), "new a\n");
    EXPECT_EQ(text("lib/b.h"), "");
    EXPECT_EQ(text("fresh/sub/c.c"), "new c\n");
    EXPECT_EQ(text("lib/e.h"), "new e\n");
  }
  void expect_pristine() const {
    EXPECT_EQ(text("lib/a.c"), "old a\n");
    EXPECT_EQ(text("lib/b.h"), "old b\n");
    EXPECT_FALSE(fs::exists(file("fresh")));
    EXPECT_FALSE(fs::exists(file("lib/e.h")));
    EXPECT_FALSE(fs::exists(entry / "journal.json"));
    EXPECT_FALSE(fs::exists(entry / "saved"));
    Stat now = stat_of("lib/a.c");
    EXPECT_EQ(now.mode, before.mode);
    EXPECT_EQ(now.inode, before.inode);
    EXPECT_EQ(now.time.tv_sec, before.time.tv_sec);
    EXPECT_EQ(now.time.tv_nsec, before.time.tv_nsec);
  }
  match::TestBuild build;
  fs::path entry;
  std::map<fs::path, std::string> contents;
  Stat before{};
};

TEST_F(TreeEditTest, ChangesAndPutsBack) {
  auto edit = TreeEdit::begin(entry, contents);
  ASSERT_TRUE(edit.ok()) << edit.error().text();
  expect_changed();
  ASSERT_EQ(::chmod(file("lib/a.c").c_str(), 0644), 0);  // as for a user who is not root
  ASSERT_TRUE(edit->restore().ok());
  expect_pristine();
  EXPECT_TRUE(edit->restore().ok());
}

TEST_F(TreeEditTest, PutsBackWhenItGoes) {
  {
    auto edit = TreeEdit::begin(entry, contents);
    ASSERT_TRUE(edit.ok()) << edit.error().text();
    TreeEdit moved = std::move(*edit);
    expect_changed();
  }
  expect_pristine();
}

TEST_F(TreeEditTest, TheNextRunRepairsWhatAKillLeft) {
  pid_t child = ::fork();
  if (child == 0) {
    auto edit = TreeEdit::begin(entry, contents);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  expect_changed();
  ASSERT_TRUE(restore_tree(entry).ok());
  expect_pristine();
  ASSERT_TRUE(restore_tree(entry).ok());
}

TEST_F(TreeEditTest, AKillBeforeTheJournalLeavesNothingToDo) {
  build.write("entry/saved/0", "rubbish");
  ASSERT_TRUE(restore_tree(entry).ok());
  auto edit = TreeEdit::begin(entry, contents);
  ASSERT_TRUE(edit.ok()) << edit.error().text();
  ASSERT_TRUE(edit->restore().ok());
  expect_pristine();
}

TEST_F(TreeEditTest, AnEditRepairsTheOneBeforeFirst) {
  {
    auto edit = TreeEdit::begin(entry, contents);
    ASSERT_TRUE(edit.ok());
    build.sh("cp -a entry/journal.json entry/saved entry/tree .");
  }
  build.sh("rm -rf entry/tree; cp -a tree journal.json saved entry/");
  before = stat_of("lib/a.c");
  before.time = {};
  auto second = TreeEdit::begin(entry, {{file("lib/b.h"), "third b\n"}});
  ASSERT_TRUE(second.ok()) << second.error().text();
  EXPECT_EQ(text("lib/a.c"), "old a\n");
  EXPECT_EQ(text("lib/b.h"), "third b\n");
  EXPECT_FALSE(fs::exists(file("fresh")));
  ASSERT_TRUE(second->restore().ok());
  EXPECT_EQ(text("lib/b.h"), "old b\n");
}

TEST_F(TreeEditTest, WhatFailsHalfWayIsPutBack) {
  contents[file("lib/b.h/below_a_file")] = "x";
  auto edit = TreeEdit::begin(entry, contents);
  ASSERT_FALSE(edit.ok());
  EXPECT_THAT(edit.error().text(), HasSubstr("below_a_file"));
  expect_pristine();
}

TEST_F(TreeEditTest, ADamagedJournalIsAnErrorWithARemedy) {
  for (const char* journal : {"", "{}", "[1]", "[{\"path\":5}]", "[{\"path\":\"\",\"saved\":\"\"}]",
                              "[{\"path\":\"/x\",\"saved\":\"\"}]"}) {
    build.write("entry/journal.json", journal);
    auto restored = restore_tree(entry);
    ASSERT_FALSE(restored.ok()) << journal;
    EXPECT_THAT(restored.error().text(), HasSubstr("is damaged; remove " + entry.native()));
  }
}

TEST_F(TreeEditTest, WhatCannotBePutBackSaysWhatToRemove) {
  {
    auto edit = TreeEdit::begin(entry, contents);
    ASSERT_TRUE(edit.ok());
    fs::remove_all(entry / "saved");
  }
  auto restored = restore_tree(entry);
  ASSERT_FALSE(restored.ok());
  EXPECT_THAT(restored.error().text(), HasSubstr("remove " + entry.native()));
}

TEST_F(TreeEditTest, ANameThatIsNotUtf8IsRefused) {
  build.write("entry/tree/lib/\xff.c", "old\n");
  auto edit = TreeEdit::begin(entry, {{file("lib/\xff.c"), "new\n"}});
  ASSERT_FALSE(edit.ok());
  EXPECT_THAT(edit.error().text(), HasSubstr("not UTF-8"));
  EXPECT_EQ(text("lib/\xff.c"), "old\n");
  EXPECT_FALSE(fs::exists(entry / "journal.json"));
}

}  // namespace
}  // namespace livecare::builder
