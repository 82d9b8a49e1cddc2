// The test of the test: each rule must find its breach in a tree that is written here.
#include "support/tree_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_system.h"

namespace livecare::tree {
namespace {

class TreeRules : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::make();
    ASSERT_TRUE(made.ok());
    directory_.emplace(std::move(made).value());
    write("src/base/result.h", "#pragma once\n");
    write("src/base/result.cc", "#include \"base/result.h\"\n");
  }

  void write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(
        write_file_atomic(directory_->path() / name, ByteView(std::string_view(text))).ok());
  }

  std::vector<std::string> findings() {
    std::vector<std::string> texts;
    for (const Finding& one : check(directory_->path())) {
      texts.push_back(one.file + ":" + std::to_string(one.line) + ": " + one.message);
    }
    return texts;
  }

  void expect_one(const std::string& words) {
    EXPECT_THAT(findings(), testing::ElementsAre(testing::HasSubstr(words)));
  }

  std::optional<TemporaryDirectory> directory_;
};

TEST_F(TreeRules, AcceptsACleanTree) {
  write("src/elf/image.cc", "#include \"base/result.h\"\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(TreeRules, FindsAnIncludeAgainstTheArrows) {
  write("src/elf/image.cc", "\n#include \"remote/maps.h\"\n");
  expect_one("src/elf/image.cc:2: elf may not include remote");
}

TEST_F(TreeRules, AllowsToReachAlongTheArrows) {
  write("src/engine/plan.cc", "#include \"base/result.h\"\n#include \"elf/image.h\"\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(TreeRules, AllowsTestsToUseAnyRoom) {
  write("src/insn/decode_test.cc", "#include \"elf/image.h\"\n#include <Zydis/Zydis.h>\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(TreeRules, KeepsLibrariesInTheirRoom) {
  write("src/objdiff/diff.cc", "#include <libelf.h>\n");
  expect_one("libelf.h is for the room elf only");
}

TEST_F(TreeRules, FindsCodeOutsideOfTheRooms) {
  write("src/misc/odds.cc", "int x;\n");
  expect_one("src/misc/odds.cc:0: lies in no room");
}

TEST_F(TreeRules, FindsLongFiles) {
  std::string text;
  for (size_t i = 0; i < file_lines_max; i++) text += "int x" + std::to_string(i) + ";\n";
  write("src/base/long.cc", text);
  EXPECT_THAT(findings(), testing::IsEmpty());
  write("src/base/long.cc", text + "int last;\n");
  expect_one("601 lines");
}

TEST_F(TreeRules, WantsTheOwnHeaderFirst) {
  write("src/base/result.cc", "#include <string>\n#include \"base/result.h\"\n");
  expect_one("src/base/result.cc:1: own header base/result.h must be included first");
}

TEST_F(TreeRules, FindsIncludesThatDoNotStartAtTheRoot) {
  write("src/base/more.cc", "#include \"../base/result.h\"\n");
  expect_one("includes start at the root");
}

TEST_F(TreeRules, FindsHeadersThatNobodyIncludes) {
  write("src/base/dead.h", "#pragma once\n");
  expect_one("src/base/dead.h:0: nobody includes it");
  write("src/base/CMakeLists.txt", "install(FILES dead.h DESTINATION include)\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(TreeRules, FindsHeadersWithoutAGuard) {
  write("src/base/result.h", "int x;\n");
  expect_one("#pragma once");
}

TEST_F(TreeRules, FindsMarksAndSwitchedOffTests) {
  write("docs/notes.md", std::string("TO") + "DO later\n");
  expect_one("docs/notes.md:1: a mark for later work");
  write("docs/notes.md", std::string("GTEST_") + "SKIP\n");
  expect_one("switched off");
}

TEST_F(TreeRules, FindsLinksThatLeadNowhere) {
  write("docs/a.md", "[b](b.md) [site](https://example.org/x) [top](#top)\n");
  expect_one("docs/a.md:1: links to b.md, which does not exist");
  write("docs/b.md", "[a](../docs/a.md#part)\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(TreeRules, FindsPathsOfOneMachine) {
  write("tools/run.sh", std::string("cd /ho") + "me/somebody/tree\n");
  expect_one("tools/run.sh:1: a path of one machine");
}

TEST_F(TreeRules, LeavesBuildDirectoriesAlone) {
  write("build/dev/x.cc", std::string("// TO") + "DO\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(TreeRules, KeepsDwarfToTheRoomsThatReadIt) {
  write("src/builder/type_layout.cc", "#include <dwarf.h>\n#include <elfutils/libdw.h>\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
  write("src/engine/plan.cc", "#include <elfutils/libdw.h>\n");
  expect_one("src/engine/plan.cc:1: elfutils/libdw.h is for the room builder or remote only");
}

TEST_F(TreeRules, FindsADocumentThatIsNotListed) {
  write("docs/README.md", "| [a.md](a.md) | a |\n");
  write("docs/a.md", "a\n");
  EXPECT_THAT(findings(), testing::IsEmpty());
  write("docs/internals/b.md", "b\n");
  expect_one("docs/internals/b.md:0: is not in docs/README.md");
}

}  // namespace
}  // namespace livecare::tree
