/* link: -lcrypto */
/* CVE-2025-69418: with a stream function the last bytes after whole blocks are not encrypted. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "live.h"

#include <openssl/aes.h>
#include <openssl/modes.h>

static void block(const unsigned char in[16], unsigned char out[16], const void* key) {
  AES_encrypt(in, out, key);
}

static void stream(const unsigned char* in, unsigned char* out, size_t blocks, const void* key,
                   size_t start, unsigned char offset[16], const unsigned char l[][16],
                   unsigned char checksum[16]) {
  for (; blocks > 0; blocks--, start++, in += 16, out += 16) {
    unsigned char tmp[16];
    size_t n = start, i, zeros = 0;
    while ((n & 1) == 0) n >>= 1, zeros++;
    for (i = 0; i < 16; i++) {
      offset[i] ^= l[zeros][i];
      checksum[i] ^= in[i];
      tmp[i] = in[i] ^ offset[i];
    }
    block(tmp, tmp, key);
    for (i = 0; i < 16; i++) out[i] = tmp[i] ^ offset[i];
  }
}

static int encrypt(ocb128_f with, unsigned char out[40]) {
  unsigned char raw[16] = {7}, iv[12] = {3}, in[40];
  AES_KEY enc, dec;
  OCB128_CONTEXT* ctx;
  int ok;
  memset(in, 'A', sizeof in);
  memset(out, 0, 40);
  AES_set_encrypt_key(raw, 128, &enc);
  AES_set_decrypt_key(raw, 128, &dec);
  ctx = CRYPTO_ocb128_new(&enc, &dec, block, (block128_f)AES_decrypt, with);
  ok = ctx != NULL && CRYPTO_ocb128_setiv(ctx, iv, sizeof iv, 16) == 1 &&
       CRYPTO_ocb128_encrypt(ctx, in, out, sizeof in) == 1;
  CRYPTO_ocb128_cleanup(ctx);
  return ok;
}

static int probe(char* text, size_t size) {
  unsigned char plain[40], fast[40];
  if (!encrypt(NULL, plain) || !encrypt(stream, fast)) return -1;
  snprintf(text, size, "last bytes %02x%02x%02x.., right ones %02x%02x%02x..", fast[32], fast[33],
           fast[34], plain[32], plain[33], plain[34]);
  return memcmp(plain + 32, fast + 32, 8) != 0;
}
