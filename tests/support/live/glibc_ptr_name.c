/* link: -lresolv -lpthread */
/* CVE-2026-4438: gethostbyaddr returns names that are no host names. */
#include "fake_dns.h"
#include "live.h"

#include <netdb.h>

static size_t fake_dns_answer(unsigned char* reply, size_t used) {
  static const unsigned char record[] = {0xC0, 12,  0,   12,  0,   1,   0,   0,   0,   60,
                                         0,    17,  10,  '$', '(', 'r', 'm', ' ', '-', 'r',
                                         'f',  ' ', ')', 4,   't', 'e', 's', 't', 0};
  memcpy(reply + used, record, sizeof record);
  reply[7] = 1;
  return used + sizeof record;
}

static int probe(char* text, size_t size) {
  static int started;
  struct in_addr address = {htonl(0xC0000201)};
  struct hostent host, *found = NULL;
  char buffer[2048];
  int error = 0;
  if (!started && fake_dns_start("hosts") != 0) return -1;
  started = 1;
  gethostbyaddr_r(&address, sizeof address, AF_INET, &host, buffer, sizeof buffer, &found, &error);
  snprintf(text, size, "192.0.2.1 is '%s'", found != NULL ? found->h_name : "(refused)");
  return found != NULL;
}
