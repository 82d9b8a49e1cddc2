/*
 * A resident program that shows a flaw of a shared library on request: "ready" at the start, then
 * for every line on stdin one line "flaw ..." or "fixed ..." on stdout. It lives until stdin ends,
 * so that the library can be patched and unpatched between two lines, in one and the same process.
 *
 * Each program here defines
 *     static int probe(char *text, size_t size);   1: the flaw shows, 0: it does not, -1: cannot
 * tell and names what it is linked with in its first line:  link: -lNAME
 */
#ifndef LIVE_H
#define LIVE_H
#include <stdio.h>
#include <string.h>

static int probe(char* text, size_t size);

int main(void) {
  char line[256];
  char text[1024];
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin) != NULL) {
    int result;
    memset(text, 0, sizeof text);
    result = probe(text, sizeof text);
    printf("%s %s\n", result > 0 ? "flaw" : result == 0 ? "fixed" : "error", text);
  }
  return 0;
}
#endif
