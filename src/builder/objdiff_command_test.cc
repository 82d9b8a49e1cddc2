#include "builder/objdiff_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace livecare::builder {
namespace {

objdiff::Diff example() {
  objdiff::Diff diff;
  objdiff::Function changed;
  changed.name = "f";
  changed.why = "code";
  changed.patched_parts = {7};
  diff.changed_functions.push_back(changed);
  objdiff::Function added;
  added.name = "helper_with_a_long_name";
  diff.new_functions.push_back(added);
  objdiff::Variable fresh, made;
  fresh.name = "counter";
  fresh.kind = objdiff::DataKind::zero_initialised;
  made.name = "__func__.0";
  made.compiler_made = true;
  diff.new_data = {fresh, made};
  return diff;
}

TEST(ObjdiffCommand, JsonHasTheWholeShape) {
  objdiff::Diff diff = example();
  diff.refused.push_back({"limit", ".data", "its initial value changed"});
  auto json = nlohmann::json::parse(objdiff_json(diff));
  EXPECT_EQ(json, nlohmann::json::parse(R"({
    "functions": {"changed": ["f"], "new": ["helper_with_a_long_name"]},
    "data": {"changed": [], "new": ["counter"]},
    "refused": [{"function": "limit", "section": ".data", "reason": "its initial value changed"}]
  })"));
}

TEST(ObjdiffCommand, ExitCodes) {
  objdiff::Diff diff;
  EXPECT_EQ(objdiff_exit_code(diff), 1);
  diff = example();
  EXPECT_EQ(objdiff_exit_code(diff), 0);
  diff.refused.push_back({"", ".init_array", "reason"});
  EXPECT_EQ(objdiff_exit_code(diff), 2);
}

TEST(ObjdiffCommand, TextIsAligned) {
  EXPECT_EQ(objdiff_text(example()),
            "changed function  f                        code (with 1 cold part)\n"
            "new function      helper_with_a_long_name\n"
            "new data          counter                  zero-initialised\n");
  EXPECT_EQ(objdiff_text({}), "nothing changed\n");
}

TEST(ObjdiffCommand, UnreadableIsRefused) {
  std::ostringstream out;
  auto code = objdiff_command("/nonexistent/a.o", "/nonexistent/b.o", true, out);
  ASSERT_TRUE(code.ok());
  EXPECT_EQ(*code, 2);
  EXPECT_THAT(out.str(), testing::HasSubstr("/nonexistent/a.o"));
}

TEST(ObjdiffCommand, AWrongCommandLineIsNotNothingChanged) {
  std::ostringstream text, json;
  EXPECT_EQ(objdiff_usage("patched is required", false, text), 2);
  EXPECT_EQ(text.str(), "");
  EXPECT_EQ(objdiff_usage("patched is required", true, json), 2);
  EXPECT_EQ(nlohmann::json::parse(json.str())["refused"][0]["reason"], "patched is required");
}

TEST(ObjdiffCommand, NamesThatAreNoTextDoNotThrow) {
  objdiff::Diff diff = example();
  diff.changed_functions[0].name = "\xff\xfe";
  EXPECT_FALSE(objdiff_json(diff).empty());
}

}  // namespace
}  // namespace livecare::builder
