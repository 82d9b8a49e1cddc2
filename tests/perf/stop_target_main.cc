// The program that stop_time stops: one busy thread that measures the largest gap between two looks
// at the clock, and sleeping ones. Usage: stop_target THREADS SHARED_FILE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "perf/stop_shared.h"

namespace {

pthread_barrier_t barrier;
volatile bool finished = false;  // never

// A few frames deep, as threads of servers are.
__attribute__((noinline)) void sleep_deep(int depth) {
  volatile char frame[256];
  frame[0] = static_cast<char>(depth);
  if (depth > 0) {
    sleep_deep(depth - 1);
  } else {
    pthread_barrier_wait(&barrier);
    while (!finished) pause();
  }
  frame[1] = frame[0];
}

void* sleeper(void*) {
  sleep_deep(8);
  return nullptr;
}

}  // namespace

// What the benchmark patches. Never inlined, never cloned, larger than a jump.
extern "C" __attribute__((noinline, noclone, used, visibility("default"))) int stop_target_work(
    int value) {
  asm volatile("" : "+r"(value));
  return value * 3 + 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int threads = std::atoi(argv[1]);
  int fd = ::open(argv[2], O_RDWR);
  void* page = ::mmap(nullptr, sizeof(StopShared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd < 0 || page == MAP_FAILED) return 2;
  auto* shared = static_cast<StopShared*>(page);

  pthread_barrier_init(&barrier, nullptr, static_cast<unsigned>(threads));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  for (int i = 1; i < threads; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, sleeper, nullptr) != 0) return 2;
  }
  pthread_barrier_wait(&barrier);
  ::usleep(20000);
  shared->ready = 1;

  uint64_t last = now_ns();
  uint32_t seen = 0;
  for (;;) {
    if (uint32_t request = shared->reset; request != seen) {
      shared->largest_gap_ns = 0;
      shared->acknowledged = seen = request;
      last = now_ns();
    }
    if (uint32_t rounds = shared->calls_wanted; rounds != 0) {
      // What one call costs: many in a row.
      int value = 1;
      uint64_t begin = now_ns();
      for (uint32_t i = 0; i < rounds; ++i) value = stop_target_work(value);
      shared->calls_ns = now_ns() - begin;
      shared->last_value = value;
      shared->calls_wanted = 0;
      last = now_ns();
    }
    uint64_t now = now_ns();
    if (now - last > shared->largest_gap_ns) shared->largest_gap_ns = now - last;
    last = now;
  }
}
