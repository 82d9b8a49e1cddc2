/* link: -lresolv -lpthread */
/* CVE-2026-0915: getnetbyaddr for the default network sends stack contents to the name server. */
#include "fake_dns.h"
#include "live.h"

#include <netdb.h>

static size_t fake_dns_answer(unsigned char* reply, size_t used) {
  reply[3] |= 3; /* NXDOMAIN */
  return used;
}

/* What the flaw sends is what earlier calls left on the stack. */
__attribute__((noinline)) static void leave_behind(void) {
  volatile unsigned char used[32768];
  for (size_t i = 0; i < sizeof used; i++) used[i] = (unsigned char)(i % 251 + 1);
}

static int probe(char* text, size_t size) {
  static int started;
  struct netent net, *found = NULL;
  char buffer[1024];
  int error = 0;
  if (!started && fake_dns_start("networks") != 0) return -1;
  started = 1;
  strcpy(fake_dns_question, "(nothing)");
  leave_behind();
  getnetbyaddr_r(0, AF_INET, &net, buffer, sizeof buffer, &found, &error);
  snprintf(text, size, "asked the name server for '%.200s'", fake_dns_question);
  return strcmp(fake_dns_question, "0.0.0.0.in-addr.arpa") != 0;
}
