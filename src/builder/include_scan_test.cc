#include "builder/include_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(IncludeLines, EverySpelling) {
  IncludeLines found = included_names(
      "#include <sys/a.h>\n  #  include \"../b.h\" // why\n#include_next <c.h>\n%: include "
      "\"d.h\"\n"
      "#include UNCLOSED\n#include \"unclosed\n#include CALL(x)\n#import <e.h>\n"
      "// include <no.h>\n#includes <no.h>\n#include");
  EXPECT_THAT(found.names, ElementsAre("a.h", "b.h", "c.h", "d.h", "e.h"));
  EXPECT_THAT(found.macros, ElementsAre("UNCLOSED", "CALL()"));
  EXPECT_THAT(found.spelt, ElementsAre("<sys/a.h>", "\"../b.h\"", "<c.h>", "\"d.h\"", "<e.h>"));
}

TEST(IncludeLines, DefinitionsThatNameFiles) {
  IncludeLines found = included_names(
      "#define WEIGHT_H \"../locale/weight.h\"\n#define STD <vector>\n#define PUT OTHER\n"
      "#define EMPTY\n#define CALL(x) x\n");
  EXPECT_THAT(found.definitions, ElementsAre(Pair("WEIGHT_H", "weight.h"), Pair("STD", "vector")));
  EXPECT_THAT(found.other_definitions, Contains("PUT"));
  EXPECT_THAT(found.other_definitions, Not(Contains("EMPTY")));
}

TEST(IncludeLines, AssemblerText) {
  IncludeLines found = included_names("__asm__(\".incbin \\\"data.h\\\"\");\n.include \"m.inc\"\n");
  EXPECT_THAT(found.names, UnorderedElementsAre("data.h", "m.inc"));
}

TEST(IncludeScan, FollowsIncludesOfIncludes) {
  match::TestBuild build;
  build.write("t/a.c", "#include \"a.h\"\n");
  build.write("t/sub/a.h", "#include <deep.h>\n");
  build.write("t/deep.h", "#include \"a.h\"\n");
  build.write("t/b.c", "#include \"other.h\"\n");
  build.write("t/notes.txt", "#include \"deep.h\"\n");
  IncludeScan scan(build.path("t"));
  EXPECT_THAT(scan.may_include({"deep.h"}), UnorderedElementsAre("deep.h", "a.h", "a.c"));
  EXPECT_THAT(scan.may_include({"unknown.h"}), UnorderedElementsAre("unknown.h"));
  EXPECT_THAT(IncludeScan(build.path("nowhere")).may_include({}), IsEmpty());
}

TEST(IncludeScan, MacrosStandForTheFilesThatTheyNameOrForAny) {
  match::TestBuild build;
  build.write("t/known.c", "#define H \"one.h\"\n#include H\n");
  build.write("t/command_line.c",
              "#ifndef CONFIG\n#define CONFIG \"default.h\"\n#endif\n"
              "#include CONFIG\n");
  build.write("t/through.c",
              "#define THROUGH \"x.h\"\n#undef THROUGH\n#define THROUGH Y\n"
              "#include THROUGH\n");
  build.write("t/call.c", "#include STRING(a)\n");
  IncludeScan scan(build.path("t"), {"CONFIG", "UNRELATED"});
  EXPECT_THAT(scan.may_include({"mine.h"}),
              UnorderedElementsAre("mine.h", "command_line.c", "through.c", "call.c"));
  EXPECT_THAT(scan.may_include({"one.h"}), Contains("known.c"));
  EXPECT_THAT(IncludeScan(build.path("t")).may_include({"default.h"}), Contains("command_line.c"));
}

}  // namespace
}  // namespace livecare::builder
