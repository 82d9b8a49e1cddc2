#include "builder/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::builder {
namespace {

TEST(Suite, MirrorsOfSourcesFiles) {
  Mirrors deb822 = mirrors_of(
      "Types: deb\n# http://old.example/debian\nURIs: http://a.example/x/debian/\n"
      "Suites: bookworm\n\nTypes: deb\nURIs: http://a.example/debian-security\n");
  EXPECT_EQ(deb822.main, "http://a.example/x/debian");
  EXPECT_EQ(deb822.security, "http://a.example/debian-security");
  Mirrors one_line = mirrors_of(
      "deb [signed-by=/k] https://b.example/apt x main\ndeb https://c.example/debian stable "
      "main\n");
  EXPECT_EQ(one_line.main, "https://c.example/debian");
  EXPECT_EQ(one_line.security, "");
}

TEST(Suite, SourcesOfASuite) {
  Mirrors mirrors{"http://a.example/debian", "http://a.example/debian-security"};
  EXPECT_EQ(suite_sources(mirrors, "bullseye"),
            "deb http://a.example/debian bullseye main\n"
            "deb http://a.example/debian-security bullseye-security main\n");
  EXPECT_EQ(suite_sources(mirrors, "sid"), "deb http://a.example/debian sid main\n");
  EXPECT_EQ(suite_sources(mirrors, "woody"), "");
  EXPECT_EQ(suite_sources({}, "sid"), "");
  EXPECT_THAT(suite_names(), testing::Contains("trixie"));
}

}  // namespace
}  // namespace livecare::builder
