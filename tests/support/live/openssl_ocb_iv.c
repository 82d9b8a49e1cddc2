/* link: -lcrypto */
/* CVE-2026-45445: AES-OCB driven through EVP_Cipher() ignores the IV. */
#include "live.h"

#include <openssl/evp.h>

static int encrypt(unsigned char first, unsigned char out[16]) {
  unsigned char key[16] = {1}, iv[12] = {0}, in[16] = {0};
  EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
  int n;
  iv[0] = first;
  if (EVP_EncryptInit_ex(ctx, EVP_aes_128_ocb(), NULL, key, iv) != 1) return 0;
  n = EVP_Cipher(ctx, out, in, sizeof in);
  EVP_CIPHER_CTX_free(ctx);
  return n > 0;
}

static int probe(char* text, size_t size) {
  unsigned char a[16] = {0}, b[16] = {0};
  int same;
  if (!encrypt(1, a) || !encrypt(2, b)) return -1;
  same = memcmp(a, b, sizeof a) == 0;
  snprintf(text, size, "two IVs give %s ciphertext (%02x%02x.. and %02x%02x..)",
           same ? "the same" : "different", a[0], a[1], b[0], b[1]);
  return same;
}
