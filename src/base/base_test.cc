#include <gtest/gtest.h>

#include <fstream>

#include "base/bytes.h"
#include "base/file_system.h"
#include "base/process.h"

namespace livecare {

TEST(ByteView, RefusesToReadPastTheEnd) {
  Bytes bytes{1, 2, 3, 4};
  ByteView view(bytes);
  EXPECT_EQ(view.read<uint32_t>(0), 0x04030201u);
  EXPECT_FALSE(view.read<uint32_t>(1));
  EXPECT_FALSE(view.slice(2, ~uint64_t{0}));
  EXPECT_FALSE(view.c_string(0));
}

TEST(Hex, RoundTripsAndRefusesJunk) {
  Bytes bytes{0x00, 0xab, 0xff};
  EXPECT_EQ(to_hex(bytes), "00abff");
  EXPECT_EQ(from_hex("00ABff"), bytes);
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("zz"));
}

TEST(WriteFileAtomic, ReplacesWholeFilesAndLeavesNothingBehind) {
  auto directory = TemporaryDirectory::make();
  ASSERT_TRUE(directory.ok());
  auto path = directory->path() / "a" / "b";
  ASSERT_TRUE(write_file_atomic(path, ByteView(std::string_view("one"))).ok());
  ASSERT_TRUE(write_file_atomic(path, ByteView(std::string_view("two"))).ok());
  EXPECT_EQ(*read_text(path), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);
}

TEST(ReadFile, NamesTheFileAndTheLimit) {
  auto directory = TemporaryDirectory::make();
  ASSERT_TRUE(directory.ok());
  auto path = directory->path() / "big";
  ASSERT_TRUE(write_file_atomic(path, ByteView(std::string_view("12345"))).ok());
  auto result = read_file(path, 4);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().text().find("big: larger than the limit of 4 bytes"), std::string::npos);
}

TEST(Run, GivesOutputErrorsAndExitCode) {
  auto result = run({.arguments = {"sh", "-c", "cat; echo e >&2; exit 3"}, .input = "in"});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->output, "in");
  EXPECT_EQ(result->errors, "e\n");
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_FALSE(run({.arguments = {"/nonexistent/program"}}).ok());
}

}  // namespace livecare
