/* link: -ldl -lpthread */
/*
 * Maps the libraries that are named as arguments (those that can be) and stays: one thread waits in
 * poll, one computes, one sleeps, the first reads stdin; a line on stdin is answered with "alive".
 * For fixes whose effect cannot be shown without doing harm.
 */
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long work;

static void* compute(void* unused) {
  for (;;) {
    struct timespec pause = {0, 2000000};
    for (int i = 0; i < 100000; i++) work += (unsigned long)i;
    nanosleep(&pause, NULL);
  }
  return unused;
}

static void* wait_in_poll(void* unused) {
  for (;;) poll(NULL, 0, -1);
  return unused;
}

static void* sleeps(void* unused) {
  for (;;) pause();
  return unused;
}

int main(int argc, char** argv) {
  pthread_t thread;
  char line[64];
  int loaded = 0;
  for (int i = 1; i < argc; i++) {
    if (dlopen(argv[i], RTLD_NOW | RTLD_LOCAL) != NULL)
      loaded++;
    else
      fprintf(stderr, "resident: %s\n", dlerror());
  }
  if (argc > 1 && loaded == 0) return 1;
  if (pthread_create(&thread, NULL, compute, NULL) != 0 ||
      pthread_create(&thread, NULL, wait_in_poll, NULL) != 0 ||
      pthread_create(&thread, NULL, sleeps, NULL) != 0)
    return 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin) != NULL) puts("alive");
  return 0;
}
