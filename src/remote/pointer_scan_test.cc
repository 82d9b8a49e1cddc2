#include <gtest/gtest.h>
#include <unistd.h>

#include "remote/maps.h"
#include "remote/stack_scan.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

std::vector<PointerHit> scan(Target& target, RemoteRange range, PointerScanOptions options = {}) {
  std::vector<PointerHit> hits;
  PointerScanner scanner;
  Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
    TRY(StopReport report, session.stop({}, [&](StoppedProcess& process) -> Status {
      TRY(Maps maps, Maps::read(process.memory().pid()));
      TRY(hits, scanner.scan(process.memory(), maps, process.tasks(), RangeSet({range}), options));
      return ok_status();
    }));
    (void)report;
    return ok_status();
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  return hits;
}

constexpr const char* holder = R"(
  #include <setjmp.h>
  #include <stdint.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <unistd.h>
  jmp_buf place;
  uintptr_t *heap;
  __attribute__((noinline, aligned(4096))) void landing(void) { if (setjmp(place)) _exit(9); }
  int main(void) {
    landing();
    heap = malloc(sizeof *heap);
    *heap = 0x7e57000123;
    printf("ready\n%p\n", (void *)landing); fflush(stdout);
    for (;;) pause();
  })";

TEST(PointerScan, FindsPlainAndScrambledPointers) {
  Target target = Target::start(holder);
  RemoteAddress function(std::stoull(target.line(), nullptr, 16));
  auto plain = scan(target, {RemoteAddress(0x7e57000000), 0x1000});
  ASSERT_EQ(plain.size(), 1u);
  EXPECT_EQ(plain[0].target.address(), 0x7e57000123u);
  EXPECT_FALSE(plain[0].mangled);
  EXPECT_TRUE(scan(target, {RemoteAddress(0x7e57000000), 0x100}).empty());
  PointerScanOptions ignore;
  ignore.ignore = {{plain[0].at, 8}};
  EXPECT_TRUE(scan(target, {RemoteAddress(0x7e57000000), 0x1000}, ignore).empty());

  auto saved = scan(target, {function, 64});
  bool mangled = false;
  for (const PointerHit& hit : saved) mangled |= hit.mangled && hit.tid == 0;
  EXPECT_TRUE(mangled);
}

TEST(PointerScan, LooksAtRegisters) {
  Target target = Target::start(R"(
    #include <stdio.h>
    int main(void) {
      printf("ready\n"); fflush(stdout);
      register unsigned long r asm("r13") = 0x7e57000123;
      for (;;) asm volatile("" : "+r"(r));
    })");
  std::vector<PointerHit> hits;
  for (int i = 0; i < 100 && hits.empty(); ++i) {  // until it has come to its loop
    ::usleep(5000);
    hits = scan(target, {RemoteAddress(0x7e57000000), 0x1000});
  }
  ASSERT_FALSE(hits.empty());
  EXPECT_EQ(hits[0].tid, target.pid());
}

}  // namespace
}  // namespace livecare::remote
