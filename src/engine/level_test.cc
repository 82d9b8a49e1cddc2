// Levels that replace each other, hooks, kept data, patchsets of several objects.
#include "engine/fixture_test.h"
#include "remote/memory.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

class Level : public ::testing::Test {
 protected:
  Level() {
    library_ = shop_.library("liblevel.so", R"(
__attribute__((noinline)) int f(int x) { asm volatile("nop;nop;nop;nop"); return x + 1; }
__attribute__((noinline)) int g(int x) { asm volatile("nop;nop;nop;nop"); return x + 2; }
__attribute__((noinline)) int h(int x) { asm volatile("nop;nop;nop;nop"); return x + 3; }
// The last four numbers of two digits that were noted.
int note(int number) {
  static int notes;
  if (number != 0) notes = notes % 1000000 * 100 + number;
  return notes;
}
)");
    second_ = shop_.library("libsecond.so", R"(
__attribute__((noinline)) int second(int x) { asm volatile("nop;nop;nop;nop"); return x + 4; }
)");
    program_ = shop_.program("prog", R"(
#include <stdio.h>
extern int f(int), g(int), h(int), second(int);
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) printf("%d %d %d %d\n", f(0), g(0), h(0), second(0));
}
)",
                             "-L. -llevel -lsecond -Wl,-rpath,$PWD");
  }

  patchfmt::Patchset level(uint32_t number, const std::string& source,
                           const std::vector<std::string>& replaced) {
    return make_patchset({make_object(shop_, library_, source, replaced)}, number);
  }

  Workshop shop_;
  std::filesystem::path library_, second_, program_;
};

TEST_F(Level, AHigherOneReplacesTheLowerAtomically) {
  Subject subject({program_});
  auto one =
      level(1, "int f(int x) { return x + 100; } int g(int x) { return x + 100; }", {"f", "g"});
  auto two =
      level(2, "int g(int x) { return x + 200; } int h(int x) { return x + 200; }", {"g", "h"});
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("x"), "100 100 3 4");
  auto report = patch(subject.pid(), two);
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("x"), "1 200 200 4");
  EXPECT_EQ(report.objects.size(), 1u);  // the lower level's memory is gone
  EXPECT_EQ(report.objects[0].level, 2u);
  auto lower = patch(subject.pid(), one);
  EXPECT_EQ(lower.outcome, Outcome::failed);
  EXPECT_EQ(lower.code, ErrorCode::conflict);
  EXPECT_NE(lower.reason.find("level 2"), std::string::npos) << lower.reason;
  EXPECT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("x"), "1 2 3 4");
}

TEST_F(Level, HooksRunAndMayStopAStep) {
  Subject subject({program_});
  // The hooks leave traces in a variable of the new level that f returns.
  auto traced = level(1, R"(
static int trace;
int f(int x) { return trace; }
int hook_before_switch1(void) { trace = trace * 10 + 1; return 0; }
int hook_after_switch1(void) { trace = trace * 10 + 2; return 0; }
int hook_before_undo1(void) { trace = trace * 10 + 3; return trace < 1000 ? 7 : 0; }
)",
                      {"f"});
  auto report = patch(subject.pid(), traced);
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("x"), "12 2 3 4");
  report = unpatch(subject.pid(), {});
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_NE(report.reason.find("hook_before_undo1 of the patch returned 7"), std::string::npos)
      << report.reason;
  EXPECT_EQ(subject.ask("x"), "123 2 3 4");
  EXPECT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  auto refusing =
      level(2, "int f(int x) { return 9; } int hook_before_switch(void) { return 5; }", {"f"});
  report = patch(subject.pid(), refusing);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(subject.ask("x"), "1 2 3 4");
  EXPECT_EQ(info(subject.pid()).outcome, Outcome::unchanged);
}

// As if the old level were undone and then the new one applied, but in one stop.
TEST_F(Level, HooksOfTheReplacedLevelRun) {
  Subject subject({program_});
  auto level_with_hooks = [&](uint32_t number, const std::string& undo_result) {
    std::string n = std::to_string(number);
    return level(number,
                 R"(
extern int note(int);
int f(int x) { return note(0); }
int hook_before_switch1(void) { note()" +
                     n + R"(1); return 0; }
int hook_after_switch1(void) { note()" +
                     n + R"(2); return 0; }
int hook_before_undo1(void) { note()" +
                     n + "3); return " + undo_result + R"(; }
int hook_after_undo1(void) { note()" +
                     n + R"(4); return 0; }
)",
                 {"f"});
  };
  ASSERT_EQ(patch(subject.pid(), level_with_hooks(1, "0")).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("x"), "1112 2 3 4");
  auto report = patch(subject.pid(), level_with_hooks(2, "note(0) > 90000000 ? 0 : 6"));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(report.reason, "");
  EXPECT_EQ(subject.ask("x"), "13211422 2 3 4");  // the last four
  // A hook that does not let the old level go keeps the new one out.
  report = patch(subject.pid(), level_with_hooks(3, "0"));
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_NE(report.reason.find("hook_before_undo1 of the patch returned 6"), std::string::npos)
      << report.reason;
  EXPECT_EQ(subject.ask("x"), "21142223 2 3 4");
  report = info(subject.pid());
  ASSERT_EQ(report.objects.size(), 1u);
  EXPECT_EQ(report.objects[0].level, 2u);
}

TEST_F(Level, KeptDataIsCarriedOver) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(),
                  level(1, "int keep_count = 5; int f(int x) { return ++keep_count; }", {"f"}))
                .outcome,
            Outcome::patched);
  EXPECT_EQ(subject.ask("x"), "6 2 3 4");
  auto report =
      patch(subject.pid(),
            level(2, "int keep_count = 5; int f(int x) { return keep_count += 10; }", {"f"}));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("x"), "16 2 3 4");
}

TEST_F(Level, AllObjectsOrNone) {
  Subject subject({program_});
  patchfmt::Patchset both =
      make_patchset({make_object(shop_, library_, "int f(int x) { return 50; }", {"f"}),
                     make_object(shop_, second_, "int second(int x) { return 60; }", {"second"})});
  patchfmt::Patchset wrong = both;
  wrong.objects[1].functions[0].entry_bytes[2] ^= 1;
  auto report = patch(subject.pid(), wrong);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::conflict);
  EXPECT_NE(report.reason.find("function second"), std::string::npos) << report.reason;
  EXPECT_EQ(subject.ask("x"), "1 2 3 4");
  EXPECT_TRUE(info(subject.pid()).objects.empty());
  patchfmt::Patchset missing = both;
  missing.objects[1].symbols.push_back({patchfmt::SymbolKind::import, "no_such_function"});
  report = patch(subject.pid(), missing);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_NE(report.reason.find("no_such_function"), std::string::npos) << report.reason;
  EXPECT_EQ(subject.ask("x"), "1 2 3 4");
  report = patch(subject.pid(), both);
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(report.objects.size(), 2u);
  EXPECT_EQ(subject.ask("x"), "50 2 3 60");
  // By the build-ID of one of them: the other goes with it, and is named.
  report = unpatch(subject.pid(), {both.objects[1].build_id});
  ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
  EXPECT_NE(report.reason.find("liblevel.so was undone with libsecond.so"), std::string::npos)
      << report.reason;
  EXPECT_EQ(subject.ask("x"), "1 2 3 4");
}

TEST_F(Level, ByBuildIdOnlyThePatchsetOfThatObject) {
  Subject subject({program_});
  auto first = level(1, "int f(int x) { return 50; }", {"f"});
  auto second = make_patchset(
      {make_object(shop_, second_, "int second(int x) { return 60; }", {"second"})}, 1, "U2");
  ASSERT_EQ(patch(subject.pid(), first).outcome, Outcome::patched);
  ASSERT_EQ(patch(subject.pid(), second).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("x"), "50 2 3 60");
  auto report = unpatch(subject.pid(), {first.objects[0].build_id});
  EXPECT_EQ(report.outcome, Outcome::unpatched);
  EXPECT_EQ(report.reason, "");
  EXPECT_EQ(subject.ask("x"), "1 2 3 60");
}

TEST_F(Level, AnotherPatchsetOfTheSameLevelIsAConflict) {
  Subject subject({program_});
  auto one = level(1, "int f(int x) { return 50; }", {"f"});
  patchfmt::Patchset other = level(1, "int g(int x) { return 60; }", {"g"});
  other.name = "U2";
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  auto report = patch(subject.pid(), other);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::conflict);
  EXPECT_NE(report.reason.find("level 1 in memory is U1, not U2; unpatch it first"),
            std::string::npos)
      << report.reason;
  EXPECT_EQ(subject.ask("x"), "50 2 3 4");
  report = patch(subject.pid(), one);  // the same again is no conflict
  EXPECT_EQ(report.outcome, Outcome::unchanged);
  EXPECT_NE(report.reason.find("level 1 (U1) is in memory already"), std::string::npos);
  // A name that was used for two files.
  auto rebuilt = level(1, "int f(int x) { return x * x * 7 + x % 3; }", {"f"});
  EXPECT_EQ(patch(subject.pid(), rebuilt).code, ErrorCode::conflict);
  // Undone, the other one goes in.
  ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  ASSERT_EQ(patch(subject.pid(), other).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("x"), "1 60 3 4");
}

TEST_F(Level, AnotherPatchersBytesAreRefused) {
  Subject subject({program_});
  patchfmt::Patchset one = level(1, "int f(int x) { return 50; }", {"f"});
  auto objects = loaded_objects(subject.pid());
  ASSERT_TRUE(objects.ok());
  uint64_t address = 0;
  for (const LoadedObject& object : *objects)
    if (object.build_id == one.objects[0].build_id)
      address = object.base + one.objects[0].functions[0].address;
  ASSERT_NE(address, 0u);
  auto memory = remote::Memory::open(subject.pid());
  ASSERT_TRUE(memory->write(remote::RemoteAddress(address), Bytes{0xcc}).ok());
  auto report = patch(subject.pid(), one);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::conflict);
  EXPECT_NE(report.reason.find("breakpoint"), std::string::npos) << report.reason;
  EXPECT_NE(report.reason.find("function f"), std::string::npos) << report.reason;
}

}  // namespace
}  // namespace livecare::engine
