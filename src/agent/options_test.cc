#include "agent/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "agent/processes.h"

namespace livecare::agent {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<Option> table = {
    {"pid", 'p', Takes::value}, {"json"}, {"userspace-update", 0, Takes::maybe_value}};

}  // namespace

TEST(CommandLine, TakesOptionsAndOperandsInAnyOrder) {
  auto line = parse_command_line({"patch", "-p", "12", "a", "--json", "-pall", "b"}, table);
  ASSERT_TRUE(line.ok());
  EXPECT_THAT(line->operands, ElementsAre("patch", "a", "b"));
  EXPECT_THAT(line->values("pid"), ElementsAre("12", "all"));
  EXPECT_TRUE(line->has("json"));
}

TEST(CommandLine, MayBeEmpty) {
  auto line = parse_command_line({}, table);
  ASSERT_TRUE(line.ok());
  EXPECT_TRUE(line->options.empty());
  EXPECT_TRUE(line->operands.empty());
}

TEST(CommandLine, AnOptionalValueMayFollow) {
  EXPECT_EQ(parse_command_line({"--userspace-update", "libs"}, table)->value("userspace-update"),
            "libs");
  EXPECT_EQ(parse_command_line({"--userspace-update=db"}, table)->value("userspace-update"), "db");
  auto bare = parse_command_line({"--userspace-update", "--json"}, table);
  EXPECT_TRUE(bare->has("userspace-update"));
  EXPECT_EQ(bare->value("userspace-update"), "");
  EXPECT_TRUE(bare->has("json"));
}

TEST(CommandLine, EverythingAfterTwoDashesIsAnOperand) {
  auto line = parse_command_line({"--json", "--", "-p", "--x"}, table);
  ASSERT_TRUE(line.ok());
  EXPECT_THAT(line->operands, ElementsAre("-p", "--x"));
}

TEST(CommandLine, NamesTheOptionThatIsWrong) {
  EXPECT_EQ(parse_command_line({"a", "--colour"}, table).error().object, "--colour");
  EXPECT_THAT(parse_command_line({"-p"}, table).error().text(), HasSubstr("-p: needs a value"));
  EXPECT_FALSE(parse_command_line({"--json=1"}, table).ok());
}

TEST(Processes, StatIsReadWhateverTheName) {
  auto process =
      parse_stat("42 (a) (b c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2");
  ASSERT_TRUE(process);
  EXPECT_EQ(process->pid, 42);
  EXPECT_EQ(process->parent, 1);
  EXPECT_EQ(process->comm, "a) (b c");
  EXPECT_EQ(process->start_time, 9876u);
  EXPECT_FALSE(process->kernel_thread);
  EXPECT_TRUE(parse_stat("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0")
                  ->kernel_thread);
  EXPECT_TRUE(parse_stat("3 (x) Z 1 3 3 0 -1 4228108 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0")->dead);
  EXPECT_FALSE(parse_stat("42 (cut"));
  EXPECT_FALSE(parse_stat("42 (cut) S 1 2"));
}

TEST(Processes, FindsItself) {
  auto self = read_process(::getpid());
  ASSERT_TRUE(self);
  EXPECT_THAT(self->executable, HasSubstr("agent_test"));
  EXPECT_FALSE(read_process(0x3fffffff));
}

}  // namespace livecare::agent
