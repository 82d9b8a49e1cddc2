/* link: */
/* CVE-2025-15281: WRDE_REUSE with WRDE_APPEND returns words that were freed or never written. */
#include "live.h"

#include <wordexp.h>

static int probe(char* text, size_t size) {
  wordexp_t words;
  size_t count;
  memset(&words, 0, sizeof words);
  if (wordexp("one two three", &words, 0) != 0) return -1;
  if (wordexp("four", &words, WRDE_REUSE | WRDE_APPEND) != 0) return -1;
  count = words.we_wordc;
  snprintf(text, size, "%zu words, %zu of them stale", count, count - 1);
  if (count == 1) wordfree(&words);
  return count != 1;
}
