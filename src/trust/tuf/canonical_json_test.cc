#include "trust/tuf/canonical_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::trust::tuf {

namespace {

using ::testing::HasSubstr;

std::string canonical(std::string_view text) {
  auto value = parse_json(ByteView(text), "x.json");
  if (!value.ok()) return value.error().text();
  auto out = canonical_json(*value, "x.json");
  return out.ok() ? *out : out.error().text();
}

}  // namespace

TEST(CanonicalJson, SortsDropsBlanksAndEscapesTwoCharactersOnly) {
  EXPECT_EQ(canonical(R"( {"b": [1, -2, true, false, null], "a": {}, "": []} )"),
            R"({"":[],"a":{},"b":[1,-2,true,false,null]})");
  EXPECT_EQ(canonical(R"({"a": "x\ny\"\\\u00e9\/"})"), "{\"a\":\"x\ny\\\"\\\\\xc3\xa9/\"}");
}

// Capital letters before small ones, U+FFFF before U+10000 although UTF-16 has it the other way.
TEST(CanonicalJson, SortsByCodePoints) {
  EXPECT_EQ(canonical(R"({"b":1,"A":2,"\uffff":3,"\ud800\udc00":4})"),
            "{\"A\":2,\"b\":1,\"\xef\xbf\xbf\":3,\"\xf0\x90\x80\x80\":4}");
}

TEST(CanonicalJson, HasNoNumbersButIntegers) {
  EXPECT_THAT(canonical("{\"a\": 1.5}"), HasSubstr("not an integer"));
  EXPECT_THAT(canonical("{\"a\": 1e2}"), HasSubstr("not an integer"));
  EXPECT_THAT(canonical("[18446744073709551616]"), HasSubstr("not an integer"));
  EXPECT_EQ(canonical("[18446744073709551615]"), "[18446744073709551615]");
}

TEST(ParseJson, RefusesWhatTwoReadersCouldReadDifferently) {
  EXPECT_THAT(canonical(R"({"a": 1, "a": 2})"), HasSubstr("names a member twice: a"));
  EXPECT_THAT(canonical(R"([{"x": {"a": 1}}, {"x": {"b": 1, "b": 1}}])"), HasSubstr("twice: b"));
  EXPECT_EQ(canonical(R"([{"a": 1}, {"a": 2}])"), R"([{"a":1},{"a":2}])");
  EXPECT_THAT(canonical("{\"a\": \"\xff\"}"), HasSubstr("is not JSON"));
  EXPECT_THAT(canonical("{\"a\": 1} {}"), HasSubstr("is not JSON"));
  EXPECT_THAT(canonical(""), HasSubstr("is not JSON"));
}

TEST(ParseJson, RefusesDepth) {
  std::string deep(json_depth_max, '['), deeper(100'000, '[');
  EXPECT_EQ(canonical(deep + std::string(json_depth_max, ']')),
            deep + std::string(json_depth_max, ']'));
  EXPECT_THAT(canonical("[" + deep + std::string(json_depth_max, ']') + "]"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(canonical(deeper), HasSubstr("nested too deeply"));
}

}  // namespace livecare::trust::tuf
