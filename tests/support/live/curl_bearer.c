/* link: -lcurl -lpthread */
/* CVE-2026-3783: a redirect to another host takes the OAuth2 token along if .netrc knows that host.
 */
#include "live.h"
#include "tiny_http.h"

#include <curl/curl.h>

static struct tiny_http api, files;
static char seen[256];

static void answer_api(const char* request, char* reply, size_t size) {
  (void)request;
  snprintf(reply, size,
           "HTTP/1.1 302 Found\r\nLocation: http://files.test:%d/\r\nContent-Length: 0\r\n\r\n",
           files.port);
}

static void answer_files(const char* request, char* reply, size_t size) {
  const char* line = strstr(request, "\r\nAuthorization: ");
  snprintf(seen, sizeof seen, "%.*s", line == NULL ? 0 : (int)strcspn(line + 2, "\r"),
           line == NULL ? "" : line + 2);
  snprintf(reply, size, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static CURL* start(void) {
  static char url[64], host1[64], host2[64], netrc[] = "/tmp/live_netrc_XXXXXX";
  struct curl_slist* hosts = NULL;
  int fd = mkstemp(netrc);
  CURL* curl = curl_easy_init();
  const char text[] = "machine files.test login bob password bobs\n";
  if (fd < 0 || curl == NULL || write(fd, text, sizeof text - 1) < 0 || close(fd) != 0) return NULL;
  api.answer = answer_api;
  files.answer = answer_files;
  if (tiny_http_start(&files) != 0 || tiny_http_start(&api) != 0) return NULL;
  snprintf(url, sizeof url, "http://api.test:%d/", api.port);
  snprintf(host1, sizeof host1, "api.test:%d:127.0.0.1", api.port);
  snprintf(host2, sizeof host2, "files.test:%d:127.0.0.1", files.port);
  hosts = curl_slist_append(curl_slist_append(hosts, host1), host2);
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_RESOLVE, hosts);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
  curl_easy_setopt(curl, CURLOPT_NETRC_FILE, netrc);
  curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, "TOKEN");
  curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  return curl;
}

static int probe(char* text, size_t size) {
  static CURL* curl;
  if (curl == NULL) curl = start();
  if (curl == NULL) return -1;
  seen[0] = 0;
  if (curl_easy_perform(curl) != CURLE_OK) return -1;
  snprintf(text, size, "the other host received '%s'", seen);
  return strstr(seen, "Bearer") != NULL;
}
