#include "trust/tuf/utc_time.h"

#include <gtest/gtest.h>

namespace livecare::trust::tuf {

TEST(UtcTime, ComesBack) {
  EXPECT_EQ(parse_utc("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_utc("2027-01-15T08:00:00Z"), 1'800'000'000);
  EXPECT_EQ(parse_utc("2024-02-29T23:59:59Z"), 1'709'251'199);
  for (int64_t seconds :
       {int64_t{0}, int64_t{1'800'000'001}, int64_t{-1}, int64_t{253'402'300'799}})
    EXPECT_EQ(parse_utc(format_utc(seconds)), seconds);
}

TEST(UtcTime, RefusesOtherForms) {
  for (const char* text : {"", "2030-01-01", "2030-01-01T00:00:00", "2030-01-01T00:00:00+01:00",
                           "2030-01-01T00:00:00.5Z", "2030-02-30T00:00:00Z", "2030-13-01T00:00:00Z",
                           "2030-01-01T24:00:00Z", "2030-01-01T00:00:60Z", "2030-01-01 00:00:00Z",
                           "2030-01-01T00:00:00Z ", "+030-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_utc(text)) << text;
}

}  // namespace livecare::trust::tuf
