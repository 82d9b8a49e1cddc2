#include "agent/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::agent {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Day now = *parse_day("2026-11-22");

std::string error_of(std::string_view text) {
  auto config = Config::parse(text, "kcare.conf", now);
  return config.ok() ? "was accepted" : config.error().text();
}

}  // namespace

TEST(Config, GivesValuesAndDefaults) {
  auto config = Config::parse(
      "# head\n\nAUTO_UPDATE = no\n  PATCH_SERVER=file:///srv/p  # ours\nUSERSPACE_PATCHES=\"libs, "
      "db\"\n"
      "PREFIX='test'\nPREFIX=12h\n",
      "kcare.conf", now);
  ASSERT_TRUE(config.ok()) << config.error().text();
  EXPECT_FALSE(config->flag("AUTO_UPDATE"));
  EXPECT_EQ(config->get("PATCH_SERVER"), "file:///srv/p");
  EXPECT_THAT(config->list("USERSPACE_PATCHES"), ElementsAre("libs", "db"));
  EXPECT_EQ(config->get("PREFIX"), "12h");
  EXPECT_EQ(config->get("UPDATE_POLICY"), "REMOTE");
  EXPECT_TRUE(config->flag("LOAD_KCARE_SYSCTL"));
  EXPECT_TRUE(config->warnings().empty());
}

TEST(Config, ReadsBooleansInEveryForm) {
  for (std::string value : {"YES", "yes", "True", "TRUE", "1"})
    EXPECT_TRUE(Config::parse("REPORT_FQDN=" + value, "c", now)->flag("REPORT_FQDN")) << value;
  for (std::string value : {"NO", "no", "False", "0"})
    EXPECT_FALSE(Config::parse("AUTO_UPDATE=" + value, "c", now)->flag("AUTO_UPDATE")) << value;
}

TEST(Config, AnUnknownKeyIsAWarningThatNamesTheLine) {
  auto config = Config::parse("PREFIX=x\nCOLOUR=red\n", "kcare.conf", now);
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->warnings(), ElementsAre("kcare.conf:2: unknown key COLOUR is ignored"));
}

TEST(Config, ABadValueNamesKeyValueAndWhatIsAllowed) {
  EXPECT_EQ(
      error_of("\nAUTO_UPDATE=maybe\n"),
      "kcare.conf:2: AUTO_UPDATE=maybe cannot be; allowed is YES or NO, True or False, 1 or 0");
  EXPECT_THAT(error_of("PATCH_METHOD=fast"), HasSubstr("normal, nofreeze or smart"));
  EXPECT_THAT(error_of("UPDATE_DELAY=2w"), HasSubstr("12h, 2d"));
  EXPECT_THAT(error_of("PREFIX=../x"), HasSubstr("PREFIX=../x cannot be"));
  EXPECT_THAT(error_of("USERSPACE_PATCHES=libs,java"), HasSubstr("libs, qemu and db"));
  EXPECT_THAT(error_of("PATCH_SERVER=ftp://x"), HasSubstr("https://"));
  EXPECT_THAT(error_of("FORCE_GID=www"), HasSubstr("a group ID"));
  EXPECT_THAT(error_of("AUTO_UPDATE YES"), HasSubstr("kcare.conf:1: is neither KEY=VALUE"));
  EXPECT_THAT(error_of("PREFIX=\"x"), HasSubstr("quote does not close"));
}

TEST(Config, StickyDaysLieBeforeToday) {
  for (std::string value : {"211126", "21112026", "2026-11-21", "KEY", "", "010120"})
    EXPECT_EQ(error_of("STICKY_PATCH=" + value), "was accepted") << value;
  for (std::string value : {"221126", "231126", "310226", "20261121", "x"})
    EXPECT_THAT(error_of("STICKY_PATCH=" + value), HasSubstr("a day before today")) << value;
}

TEST(Config, RewritingKeepsEverythingElse) {
  auto config =
      Config::parse("# ours\nPREFIX = 'old'  # why\n\nCOLOUR=red\nAUTO_UPDATE=YES", "c", now);
  ASSERT_TRUE(config.ok());
  ASSERT_TRUE(config->set("PREFIX", "test", now).ok());
  EXPECT_EQ(config->text(), "# ours\nPREFIX = test  # why\n\nCOLOUR=red\nAUTO_UPDATE=YES");
  EXPECT_EQ(config->get("PREFIX"), "test");
  ASSERT_TRUE(config->set("STICKY_PATCH", "211126", now).ok());
  EXPECT_EQ(config->text(),
            "# ours\nPREFIX = test  # why\n\nCOLOUR=red\nAUTO_UPDATE=YES\nSTICKY_PATCH=211126\n");
  ASSERT_TRUE(config->set("STICKY_PATCH", "", now).ok());
  EXPECT_THAT(config->text(), HasSubstr("STICKY_PATCH=\n"));
  EXPECT_EQ(config->get("STICKY_PATCH"), "");
}

TEST(Config, RewritingRefusesWhatReadingWould) {
  auto config = Config::parse("PREFIX=a\n", "c", now);
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->set("AUTO_UPDATE", "maybe", now).ok());
  EXPECT_FALSE(config->set("PREFIX", "a\nAUTO_UPDATE=NO", now).ok());
  EXPECT_FALSE(config->set("COLOUR", "red", now).ok());
  EXPECT_EQ(config->text(), "PREFIX=a\n");
}

TEST(Day, ReadsTheThreeForms) {
  EXPECT_EQ(to_string(*parse_day("010226")), "2026-02-01");
  EXPECT_EQ(parse_day("01022026"), parse_day("2026-02-01"));
  EXPECT_EQ(day_of_time("2026-02-01 10:00:00"), parse_day("2026-02-01"));
  EXPECT_FALSE(parse_day("2026-2-1"));
  EXPECT_FALSE(parse_day("290225"));
}

}  // namespace livecare::agent
