/* Answers lines "WHO CONSTRUCT NUMBER" with the value of probe() in the main thread, in a thread that
 * runs since the start, or in a new one. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#ifdef OPENED
static const char *(*probe)(const char *, int);
#else
extern const char *probe(const char *, int);
#endif

static char construct[64];
static int number;
static const char *answer;
static pthread_barrier_t asked, answered;

static void *once(void *unused) {
  (void)unused;
  answer = probe(construct, number);
  return 0;
}

static void *forever(void *unused) {
  for (;;) {
    pthread_barrier_wait(&asked);
    once(unused);
    pthread_barrier_wait(&answered);
  }
  return 0;
}

int main(void) {
  char line[128], who[16];
  pthread_t old, fresh;
#ifdef OPENED
  void *handle = dlopen("shipped/libfeatures.so", RTLD_NOW);
  if (!handle) return fprintf(stderr, "%s\n", dlerror()), 1;
  probe = (const char *(*)(const char *, int))dlsym(handle, "probe");
#endif
  pthread_barrier_init(&asked, 0, 2);
  pthread_barrier_init(&answered, 0, 2);
  pthread_create(&old, 0, forever, 0);
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%15s %63s %d", who, construct, &number) != 3) {
      answer = "ready";
    } else if (!strcmp(who, "old")) {
      pthread_barrier_wait(&asked);
      pthread_barrier_wait(&answered);
    } else if (!strcmp(who, "new")) {
      pthread_create(&fresh, 0, once, 0);
      pthread_join(fresh, 0);
    } else {
      once(0);
    }
    printf("%s\n", answer);
    fflush(stdout);
  }
  return 0;
}
