/* link: -lcurl -lpthread */
/* CVE-2024-2004: an empty selection of protocols leaves all of them allowed. */
#include "live.h"
#include "tiny_http.h"

#include <curl/curl.h>

static struct tiny_http server;

static void answer(const char* request, char* reply, size_t size) {
  (void)request;
  snprintf(reply, size, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static int probe(char* text, size_t size) {
  char url[64];
  CURL* curl = curl_easy_init();
  CURLcode set, done;
  server.answer = answer;
  if (server.port == 0 && tiny_http_start(&server) != 0) return -1;
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", server.port);
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  set = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "none-of-them");
  done = curl_easy_perform(curl);
  curl_easy_cleanup(curl);
  snprintf(text, size, "setopt %d; a transfer over a protocol that was not selected: %s", set,
           curl_easy_strerror(done));
  return done == CURLE_OK;
}
