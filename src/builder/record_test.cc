#include "builder/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Bytes record_of(const std::vector<std::string>& fields) {
  Bytes body;
  for (const std::string& field : fields) {
    body.insert(body.end(), field.begin(), field.end());
    body.push_back(0);
  }
  Bytes bytes = {'L', 'C', 'R', '1'};
  append_le(bytes, static_cast<uint32_t>(body.size()));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Bytes compile = record_of({"7", "3", "/tree", "/usr/bin/gcc", "3", "gcc", "-c", "a.c", "2",
                                 "PATH=/bin:/usr/bin", "LANG=", "0"});

std::string error_of(const Bytes& bytes) {
  auto calls = read_record(bytes, "ENTRY/record");
  return calls.ok() ? "none" : calls.error().text();
}

TEST(Record, ReadsCalls) {
  auto calls = read_record(compile + compile, "record");
  ASSERT_TRUE(calls.ok()) << calls.error().text();
  ASSERT_EQ(calls->size(), 2u);
  const Call& call = calls->front();
  EXPECT_EQ(call.pid, 7u);
  EXPECT_EQ(call.parent, 3u);
  EXPECT_EQ(call.directory, "/tree");
  EXPECT_EQ(call.executable, "/usr/bin/gcc");
  EXPECT_THAT(call.arguments, ElementsAre("gcc", "-c", "a.c"));
  EXPECT_EQ(call.environment.at("PATH"), "/bin:/usr/bin");
  EXPECT_EQ(call.environment.at("LANG"), "");
}

TEST(Record, ResponseFilesStandForTheirContent) {
  auto calls = read_record(record_of({"7", "3", "/", "ld", "3", "ld", "@objs", "@gone", "0", "2",
                                      "objs", "a.o \"b c.o\" @more", "more", "d.o"}),
                           "record");
  ASSERT_TRUE(calls.ok()) << calls.error().text();
  EXPECT_THAT(calls->front().arguments, ElementsAre("ld", "a.o", "b c.o", "d.o", "@gone"));
}

TEST(Record, ResponseFilesThatNameThemselvesAreDamage) {
  EXPECT_THAT(error_of(record_of({"7", "3", "/", "ld", "2", "ld", "@a", "0", "1", "a",
                                  "@a @a @a @a @a @a @a @a @a @a @a @a @a @a @a @a"})),
              HasSubstr("is damaged"));
}

TEST(Record, WhatWasCutShortAtTheEndIsLeftOut) {
  Bytes two = compile + compile;
  for (size_t size : {compile.size() + 1, compile.size() + 4, compile.size() + 8, two.size() - 1}) {
    auto calls = read_record(Bytes(two.begin(), two.begin() + static_cast<ptrdiff_t>(size)), "r");
    ASSERT_TRUE(calls.ok()) << calls.error().text();
    EXPECT_EQ(calls->size(), 1u) << size;
  }
  auto none = read_record(Bytes{}, "record");
  ASSERT_TRUE(none.ok());
  EXPECT_THAT(*none, IsEmpty());
}

TEST(Record, DamageIsNamedWithPlaceAndRemedy) {
  Bytes shifted = compile;
  shifted.push_back('x');
  EXPECT_THAT(error_of(shifted + compile),
              HasSubstr(fmt::format("ENTRY/record: damaged at byte {}", compile.size())));
  EXPECT_THAT(error_of(shifted + compile), HasSubstr("remove the entry"));
  EXPECT_THAT(error_of(record_of({"7", "3", "/", "gcc", "0", "0", "0"})), HasSubstr("is damaged"));
  EXPECT_THAT(error_of(record_of({"7", "3", "/", "gcc", "9", "gcc"})), HasSubstr("is damaged"));
  EXPECT_THAT(error_of(record_of({"x", "3", "/", "gcc", "1", "gcc", "0", "0"})),
              HasSubstr("is damaged"));
  EXPECT_THAT(error_of(record_of({"7", "3", "/", "gcc", "9999999999", "gcc", "0", "0"})),
              HasSubstr("is damaged"));
}

TEST(Record, SplitsResponseFilesAsTheCompilerDoes) {
  EXPECT_THAT(split_response(" a  b\n\tc\r\n"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(split_response("'a b' \"c 'd'\" e\\ f -D'X=\"1\"'"),
              ElementsAre("a b", "c 'd'", "e f", "-DX=\"1\""));
  EXPECT_THAT(split_response("'' \"\""), ElementsAre("", ""));
  EXPECT_THAT(split_response("\"a\\\"b\""), ElementsAre("a\"b"));
  EXPECT_THAT(split_response(" \n"), IsEmpty());
}

}  // namespace
}  // namespace livecare::builder
