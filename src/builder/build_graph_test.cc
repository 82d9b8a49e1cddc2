#include "builder/build_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace livecare::builder {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// Replays commands that ran in /tree, or in DIR for "DIR: command". A command that begins with '>'
// was started by the one before.
class GraphTest : public testing::Test {
 protected:
  void replay(const std::vector<std::string>& commands) {
    std::vector<Call> calls;
    for (std::string text : commands) {
      Call call;
      call.pid = 100 + calls.size();
      call.parent = 1;
      call.directory = "/tree";
      if (text.starts_with(">")) {
        call.parent = call.pid - 1;
        text.erase(0, 1);
      }
      if (size_t colon = text.find(": "); colon != std::string::npos) {
        call.directory = text.substr(0, colon);
        text.erase(0, colon + 2);
      }
      call.arguments = split_response(text);
      calls.push_back(std::move(call));
    }
    graph = BuildGraph::replay(calls, "/tree");
  }
  const LinkedFile* linked(const std::string& path) const {
    for (const LinkedFile& file : graph.linked())
      if (file.path == path) return &file;
    return nullptr;
  }
  // "a.c", or "a.c?" when the linker may have left it out.
  std::vector<std::string> sources(const std::string& path) const {
    std::vector<std::string> names;
    if (const LinkedFile* file = linked(path))
      for (const UnitUse& use : file->units) {
        const std::string& source = graph.units()[use.unit].source;
        names.push_back((source.starts_with("/tree/") ? source.substr(6) : source) +
                        (use.certain ? "" : "?"));
      }
    return names;
  }
  BuildGraph graph;
};

TEST_F(GraphTest, ObjectsAndTheirLink) {
  replay(
      {"gcc -c src/a.c -o a.o", "/tree/src: gcc -c b.c", "gcc -o prog a.o src/b.o gone.o /x/y.o"});
  EXPECT_THAT(sources("/tree/prog"), UnorderedElementsAre("src/a.c", "src/b.c"));
  EXPECT_THAT(linked("/tree/prog")->unknown, ElementsAre("/tree/gone.o"));
  ASSERT_EQ(graph.units().size(), 2u);
  EXPECT_EQ(graph.units()[1].call, 1u);
  EXPECT_EQ(graph.units()[1].spelled, "b.c");
  EXPECT_EQ(graph.units()[1].object, "/tree/src/b.o");
}

TEST_F(GraphTest, CompiledAndLinkedByOneCall) {
  replay({"gcc a.c b.c -o prog", ">as -o /tmp/1.o /tmp/1.s", ">ld -o prog /tmp/1.o -lc"});
  EXPECT_THAT(sources("/tree/prog"), UnorderedElementsAre("a.c", "b.c"));
}

TEST_F(GraphTest, ArchiveMembersAreTakenOnDemand) {
  replay({"gcc -c a.c", "gcc -c b.c", "gcc -c main.c", "ar rc lib.a a.o b.o",
          "gcc -o prog main.o lib.a", "gcc -shared -o all.so -Wl,--whole-archive lib.a",
          "gcc -o found main.o -L. -l:lib.a", "gcc -o both a.o lib.a"});
  EXPECT_THAT(sources("/tree/both"), UnorderedElementsAre("a.c", "b.c?"));
  EXPECT_THAT(sources("/tree/prog"), UnorderedElementsAre("main.c", "a.c?", "b.c?"));
  EXPECT_THAT(sources("/tree/all.so"), UnorderedElementsAre("a.c", "b.c"));
  EXPECT_THAT(sources("/tree/found"), UnorderedElementsAre("main.c", "a.c?", "b.c?"));
}

TEST_F(GraphTest, MembersOfTheSameNameStandBesideEachOther) {
  replay({"gcc -c x/util.c -o x/util.o", "gcc -c y/util.c -o y/util.o", "gcc -c m.c",
          "ar qc libq.a x/util.o", "ar q libq.a y/util.o", "ar rc libr.a x/util.o y/util.o",
          "gcc -o q m.o libq.a", "gcc -o r m.o libr.a"});
  EXPECT_THAT(sources("/tree/q"), UnorderedElementsAre("m.c", "x/util.c?", "y/util.c?"));
  EXPECT_THAT(sources("/tree/r"), UnorderedElementsAre("m.c", "x/util.c?", "y/util.c?"));
}

TEST_F(GraphTest, AMemberIsReplacedByALaterCall) {
  replay({"gcc -c old.c -o u.o", "gcc -c v.c", "ar rc lib.a u.o v.o", "gcc -c new.c -o u.o",
          "ar r lib.a u.o", "gcc -c m.c", "gcc -o prog m.o lib.a"});
  EXPECT_THAT(sources("/tree/prog"), UnorderedElementsAre("m.c", "new.c?", "v.c?"));
}

TEST_F(GraphTest, ArchivesInArchivesAndTakenApart) {
  replay({"gcc -c a.c", "ar rc part.a a.o", "ar rcL all.a part.a", "/tree/x: ar x ../part.a",
          "gcc -o one all.a", "gcc -o two x/a.o"});
  EXPECT_THAT(sources("/tree/one"), ElementsAre("a.c?"));
  EXPECT_THAT(sources("/tree/two"), ElementsAre("a.c"));
}

TEST_F(GraphTest, TheSameObjectNameUsedTwice) {
  replay({"gcc -c a.c -o a.o", "mv a.o a.static.o", "gcc -fPIC -c a.c -o a.o",
          "gcc -shared -o lib.so a.o", "gcc -o prog a.static.o"});
  ASSERT_EQ(graph.units().size(), 2u);
  EXPECT_EQ(linked("/tree/lib.so")->units[0].unit, 1u);
  EXPECT_EQ(linked("/tree/prog")->units[0].unit, 0u);
}

TEST_F(GraphTest, RelocatableLinks) {
  replay({"gcc -c a.c", "gcc -c b.c", "ar rc b.a b.o", "ld -r -o joined.o a.o b.a",
          "gcc -shared -o lib.so joined.o"});
  EXPECT_THAT(sources("/tree/lib.so"), UnorderedElementsAre("a.c", "b.c?"));
  EXPECT_EQ(linked("/tree/joined.o"), nullptr);
}

TEST_F(GraphTest, ASharedObjectIsNotPartOfWhatUsesIt) {
  replay({"gcc -c a.c", "gcc -c m.c", "gcc -shared -o liba.so.1 a.o", "ln -s liba.so.1 liba.so",
          "ar rc liba.a a.o", "gcc -o prog m.o -L. -la", "gcc -o static m.o -L. -static -la"});
  EXPECT_THAT(sources("/tree/prog"), ElementsAre("m.c"));
  EXPECT_THAT(sources("/tree/static"), UnorderedElementsAre("m.c", "a.c?"));
}

TEST_F(GraphTest, FilesMovedIntoDirectories) {
  replay({"gcc -c a.c", "gcc -c b.c", "gcc -c c.c", "mv a.o objs/", "mv b.o objs",
          "install -m 644 c.o -t objs", "gcc -o prog objs/a.o objs/b.o objs/c.o", "mkdir bin",
          "cp prog bin/", "mv prog bin"});
  EXPECT_THAT(sources("/tree/bin/prog"), UnorderedElementsAre("a.c", "b.c", "c.c"));
  EXPECT_EQ(linked("/tree/prog"), nullptr);
}

TEST_F(GraphTest, WholeDirectoriesMoveAndAreCopied) {
  replay({"gcc -c a.c -o .libs/a.o", "mv .libs done", "gcc -o prog done/a.o", "cp -a done/. copy",
          "gcc -o other copy/a.o", "mv copy done", "gcc -o third done/copy/a.o"});
  EXPECT_THAT(sources("/tree/prog"), ElementsAre("a.c"));
  EXPECT_THAT(sources("/tree/other"), ElementsAre("a.c"));
  EXPECT_THAT(sources("/tree/third"), ElementsAre("a.c"));
}

TEST_F(GraphTest, AssemblerThatNoDriverStarted) {
  replay({"as -o hand.o hand.s", "gcc -c a.c", ">as -o a.o /tmp/cc1.s", "gcc -o prog hand.o a.o"});
  EXPECT_THAT(sources("/tree/prog"), UnorderedElementsAre("hand.s", "a.c"));
  EXPECT_EQ(graph.units()[0].language, Language::assembler);
}

TEST_F(GraphTest, NothingWithoutALink) {
  replay({"gcc -c a.c", "gcc -E b.c", "ar t lib.a", "mv x y", "rm a.o"});
  EXPECT_THAT(graph.linked(), IsEmpty());
}

}  // namespace
}  // namespace livecare::builder
