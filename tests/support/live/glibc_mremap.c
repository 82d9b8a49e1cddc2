/* link: */
/* MREMAP_DONTUNMAP ignores the address that was asked for. */
#include "live.h"

#include <sys/mman.h>
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static int probe(char* text, size_t size) {
  const size_t page = 4096;
  char* from = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* area = mmap(NULL, 64 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* wanted = area + 32 * page;
  char* got;
  munmap(area, 64 * page);
  got = mremap(from, page, page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, wanted);
  if (got == MAP_FAILED) return -1;
  munmap(got, page);
  munmap(from, page);
  snprintf(text, size, "moved to %s",
           got == wanted ? "the address that was asked for" : "some other address");
  return got != wanted;
}
