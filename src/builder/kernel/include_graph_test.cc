#include "builder/kernel/include_graph.h"

#include <gmock/gmock.h>

#include "match/test_build.h"

namespace livecare::builder {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

TEST(IncludeGraph, AQuotedNameIsTheFileBesideIt) {
  match::TestBuild build;
  build.write("t/fs/one/internal.h", "");
  build.write("t/fs/one/a.c", "#include \"internal.h\"\n");
  build.write("t/fs/two/internal.h", "");
  build.write("t/fs/two/b.c", "#include \"internal.h\"\n");
  build.write("t/fs/three/c.c", "#include \"internal.h\"\n");  // of a -I directory
  build.write("t/fs/three/d.c", "#include <one/internal.h>\n#include \"../two/internal.h\"\n");
  build.write("t/fs/one/deep.h", "#include \"internal.h\"\n");
  build.write("t/fs/four/e.c", "#include \"../one/deep.h\"\n");
  IncludeGraph graph(build.path("t"));
  EXPECT_THAT(graph.may_include({"fs/one/internal.h"}),
              UnorderedElementsAre("fs/one/a.c", "fs/three/c.c", "fs/three/d.c", "fs/four/e.c"));
  EXPECT_THAT(graph.may_include({"fs/two/internal.h"}),
              UnorderedElementsAre("fs/two/b.c", "fs/three/c.c", "fs/three/d.c"));
  EXPECT_THAT(graph.may_include({"fs/none.h"}), IsEmpty());
}

TEST(IncludeGraph, AnIncludedCFile) {
  match::TestBuild build;
  build.write("t/kernel/rt.c", "");
  build.write("t/kernel/build_policy.c", "#include \"rt.c\"\n");
  IncludeGraph graph(build.path("t"));
  EXPECT_THAT(graph.may_include({"kernel/rt.c"}), UnorderedElementsAre("kernel/build_policy.c"));
}

TEST(IncludeGraph, TraceHeadersSayTheirName) {
  match::TestBuild build;
  build.write("t/include/trace/define_trace.h", "#include TRACE_INCLUDE(TRACE_INCLUDE_FILE)\n");
  build.write("t/include/trace/other.h",
              "#define TRACE_SYSTEM sub/events\n#include <trace/define_trace.h>\n");
  build.write(
      "t/drivers/x/trace.h",
      "#include \"x.h\"\n#define TRACE_INCLUDE_FILE trace\n#include <trace/define_trace.h>\n");
  build.write("t/drivers/x/x.c", "#include \"trace.h\"\n");
  build.write("t/drivers/y/y.c", "#include <trace/other.h>\n");
  build.write("t/drivers/y/events.h", "");
  IncludeGraph graph(build.path("t"));
  EXPECT_THAT(graph.may_include({"drivers/x/x.h"}), IsEmpty());  // there is none to be included
  build.write("t/drivers/x/x.h", "");
  IncludeGraph with(build.path("t"));
  EXPECT_THAT(with.may_include({"drivers/x/x.h"}), UnorderedElementsAre("drivers/x/x.c"));
  EXPECT_THAT(with.may_include({"drivers/y/events.h"}), UnorderedElementsAre("drivers/y/y.c"));
}

TEST(IncludeGraph, OtherMacros) {
  match::TestBuild build;
  build.write("t/settings.c", "#include CONFIG_TABLE\n");
  build.write("t/known.c", "#include TABLE_FILE\n");
  build.write("t/user.h", "#define TABLE_FILE <linux/table.h>\n");
  build.write("t/unknown.c", "#include FROM_A_COMMAND_LINE\n");
  build.write("t/include/linux/table.h", "");
  build.write("t/mine.h", "");
  IncludeGraph graph(build.path("t"));
  EXPECT_THAT(graph.may_include({"mine.h"}), UnorderedElementsAre("unknown.c"));
  EXPECT_THAT(graph.may_include({"include/linux/table.h"}),
              UnorderedElementsAre("unknown.c", "known.c"));
  build.write("t/autoconf.h", "#define CONFIG_TABLE \"mine.h\"\n");
  EXPECT_THAT(IncludeGraph(build.path("t")).may_include({"mine.h"}), Contains("settings.c"));
  EXPECT_THAT(graph.may_include({"mine.h"}), Not(Contains("settings.c")));
}

}  // namespace
}  // namespace livecare::builder
