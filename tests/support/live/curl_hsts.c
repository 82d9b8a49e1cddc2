/* link: -lcurl */
/* CVE-2024-9681: the expiry time of a subdomain overwrites that of its parent domain. */
#include "live.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <unistd.h>

static int probe(char* text, size_t size) {
  char name[] = "/tmp/live_hsts_XXXXXX";
  char line[256];
  int fd = mkstemp(name);
  const char cache[] =
      ".parent.test \"20370101 00:00:00\"\n.sub.parent.test \"20490101 00:00:00\"\n";
  CURL* curl = curl_easy_init();
  FILE* file;
  int flaw = -1;
  if (fd < 0 || curl == NULL || write(fd, cache, sizeof cache - 1) < 0 || close(fd) != 0) return -1;
  curl_easy_setopt(curl, CURLOPT_HSTS_CTRL, (long)CURLHSTS_ENABLE);
  curl_easy_setopt(curl, CURLOPT_HSTS, name);
  curl_easy_setopt(curl, CURLOPT_URL, "file:///dev/null");
  curl_easy_perform(curl); /* reads the cache */
  curl_easy_cleanup(curl); /* writes it back */
  file = fopen(name, "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, ".parent.test ", 13) != 0) continue;
    line[strcspn(line, "\n")] = 0;
    snprintf(text, size, "%s", line);
    flaw = strstr(line, "2049") != NULL;
  }
  if (file != NULL) fclose(file);
  unlink(name);
  return flaw;
}
