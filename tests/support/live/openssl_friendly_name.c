/* link: -lcrypto */
/* CVE-2025-69419: the friendly name of a PKCS#12 file is converted to UTF-8 with a length of -1. */
#include "live.h"

#include <openssl/crypto.h>
#include <openssl/pkcs12.h>

static int probe(char* text, size_t size) {
  unsigned char euro[] = {0x20, 0xAC}; /* a BMPString without a final zero */
  char* utf8 = OPENSSL_uni2utf8(euro, sizeof euro);
  int right = utf8 != NULL && strcmp(utf8, "\xE2\x82\xAC") == 0;
  snprintf(text, size, "U+20AC becomes %s",
           right ? "its three bytes of UTF-8" : "bytes that were never written");
  OPENSSL_free(utf8);
  return !right;
}
