#include "remote/unwind.h"

#include <gtest/gtest.h>

#include "remote/maps.h"
#include "remote/stack_scan.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

constexpr const char* deep = R"(
  #include <pthread.h>
  #include <signal.h>
  #include <stdio.h>
  #include <unistd.h>
  __attribute__((noinline)) int wait_here(int n) { pause(); return n + 1; }
  __attribute__((noinline)) int middle(int n) {
    volatile char room[3000]; room[n] = 1;
    return n > 0 ? middle(n - 1) + room[n] : wait_here(n) + 1;
  }
  static void handler(int s) { wait_here(s); }
  static void *body(void *p) { middle(5); return p; }
  int main(void) {
    static char alternative[65536];
    stack_t stack = {.ss_sp = alternative, .ss_size = sizeof alternative};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    pthread_t t; pthread_create(&t, 0, body, 0);
    sigaltstack(&stack, 0); sigaction(SIGUSR1, &action, 0);
    printf("ready\n"); printf("%p\n", (void *)wait_here); fflush(stdout);
    middle(3);
  })";

struct Walked {
  StackWalk walk;
  bool outside = false;
  size_t home = 0;
};

std::vector<Walked> walk_all(pid_t pid, RemoteAddress function) {
  std::vector<Walked> walks;
  Status outcome = with_session(pid, {}, [&](Session& session) -> Status {
    TRY(Maps maps, Maps::read(pid));
    TRY(Loaded loaded, Loaded::read(session.memory(), maps));
    TRY(Unwinder unwinder, Unwinder::make(session.memory(), loaded));
    RangeSet set({{function, 16}});
    TRY(StopReport report, session.stop({}, [&](StoppedProcess& process) -> Status {
      for (const StoppedTask& task : process.tasks())
        walks.push_back({unwinder.walk(task), proved_outside(task, set), task.home_stack.size()});
      return ok_status();
    }));
    return report.tasks == walks.size() ? ok_status()
                                        : Status(make_error(ErrorCode::internal, "", "count"));
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  return walks;
}

size_t frames_in(const StackWalk& walk, std::string_view symbol) {
  size_t count = 0;
  for (const Frame& frame : walk.frames) count += frame.symbol == symbol;
  return count;
}

std::string text(const StackWalk& walk) {
  std::string all = walk.why + "\n";
  for (const Frame& frame : walk.frames) all += frame.text() + "\n";
  return all;
}

TEST(Unwinder, WalksToTheKnownRootAlsoWhenTheFileIsGone) {
  Target target = Target::start(deep, {"-rdynamic"});
  RemoteAddress function(std::stoull(target.line(), nullptr, 16));
  ::usleep(20000);
  auto walks = walk_all(target.pid(), function);
  ASSERT_EQ(walks.size(), 2u);
  for (const Walked& one : walks) {
    EXPECT_TRUE(one.walk.complete) << text(one.walk);
    EXPECT_FALSE(one.outside);
    EXPECT_EQ(frames_in(one.walk, "wait_here"), 1u) << text(one.walk);
    EXPECT_TRUE(check_borrowable(one.walk).ok());
  }
  EXPECT_EQ(frames_in(walks[0].walk, "middle") + frames_in(walks[1].walk, "middle"), 10u);
  EXPECT_EQ(walks[0].walk.frames.back().symbol, "_start") << text(walks[0].walk);
}

TEST(Unwinder, CrossesASignalFrameOnAnotherStack) {
  Target target = Target::start(deep, {"-rdynamic"});
  RemoteAddress function(std::stoull(target.line(), nullptr, 16));
  ::usleep(20000);
  ::kill(target.pid(), SIGUSR1);
  ::usleep(20000);
  auto walks = walk_all(target.pid(), function);
  ASSERT_EQ(walks.size(), 2u);
  EXPECT_TRUE(walks[0].walk.complete) << text(walks[0].walk);
  EXPECT_EQ(frames_in(walks[0].walk, "wait_here"), 2u) << text(walks[0].walk);
  EXPECT_GT(walks[0].home, 0u);
  EXPECT_EQ(walks[1].home, 0u);
}

TEST(Unwinder, DoesNotBelieveCodeWithoutCallFrameInformation) {
  Target target = Target::start(R"(
    #include <stdio.h>
    #include <unistd.h>
    __attribute__((noinline)) void hidden(void) { pause(); }
    int main(void) { printf("ready\n%p\n", (void *)hidden); fflush(stdout); hidden(); }
  )",
                                {"-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer"});
  RemoteAddress function(std::stoull(target.line(), nullptr, 16));
  ::usleep(20000);
  auto walks = walk_all(target.pid(), function);
  ASSERT_EQ(walks.size(), 1u);
  EXPECT_FALSE(walks[0].walk.complete);
  EXPECT_FALSE(walks[0].outside);
  EXPECT_FALSE(check_borrowable(walks[0].walk).ok());
}

TEST(StackScan, FindsWordsInAnyRange) {
  RangeSet set({{RemoteAddress(0x5000), 0x10}, {RemoteAddress(0x1000), 0x100}});
  auto scan = [&](uint64_t word, size_t at) {
    Bytes bytes(400);
    store_le(bytes, at, word);
    return set.first_hit(bytes);
  };
  EXPECT_EQ(scan(0x1000, 0), 0u);
  EXPECT_EQ(scan(0x10ff, 392), 392u);
  EXPECT_EQ(scan(0x1100, 64), 64u);  // the return address of a call that ends the function
  EXPECT_EQ(scan(0x1101, 64), 400u);
  EXPECT_EQ(scan(0x3000, 64), 400u);
  EXPECT_EQ(scan(0x5008, 200), 200u);
  EXPECT_EQ(scan(0xfff, 8), 400u);
  EXPECT_EQ(scan(0x5011, 8), 400u);
  EXPECT_EQ(RangeSet({}).first_hit(Bytes(64)), 64u);
}

TEST(Unwinder, WalksThroughCodeGivenByCallFrameInformationAlone) {
  // CIE and FDE for code that pushes nothing: CFA = rsp + 8, return address at CFA - 8.
  Bytes cfi = {0x14, 0, 0,    0, 0, 0, 0,    0, 1, 'z', 'R',  0, 1, 0x78, 16, 1, 0x1b, 0x0c,
               7,    8, 0x90, 1, 0, 0, 0x14, 0, 0, 0,   0x1c, 0, 0, 0,    0,  0, 0,    0,
               0,    1, 0,    0, 0, 0, 0,    0, 0, 0,   0,    0, 0, 0,    0,  0};
  Target target = Target::start(deep, {"-rdynamic"});
  RemoteAddress function(std::stoull(target.line(), nullptr, 16));
  auto memory = Memory::open(target.pid());
  auto loaded = Loaded::read(*memory, *Maps::read(target.pid()));
  UnwindInfo info;
  info.name = "patch";
  info.code = {RemoteAddress(0x10000000), 0x1000};
  info.eh_frame_at = RemoteAddress(0x10001000);
  store_le(cfi, 32, static_cast<int32_t>(-0x1000 - 32));  // pc-relative start
  info.eh_frame = cfi;
  info.symbols = {{"fixed", RemoteAddress(0x10000000), 0x100}};
  auto unwinder = Unwinder::make(*memory, *loaded, {info});
  ASSERT_TRUE(unwinder.ok()) << unwinder.error().text();
  StoppedTask task;
  task.tid = task.tgid = target.pid();
  task.registers.rip = 0x10000010;
  task.registers.rsp = 0x7000;
  Bytes stack;
  append_le(stack, uint64_t{0x10000020});
  append_le(stack, uint64_t{0x42});
  task.stack_start = RemoteAddress(0x7000);
  task.stack = stack;
  task.stack_complete = true;
  StackWalk walk = unwinder->walk(task);
  EXPECT_FALSE(walk.complete);
  ASSERT_EQ(walk.frames.size(), 3u) << text(walk);
  EXPECT_EQ(walk.frames[0].text(), "patch!fixed+0x10");
  EXPECT_EQ(walk.frames[1].text(), "patch!fixed+0x20");
}

}  // namespace
}  // namespace livecare::remote
