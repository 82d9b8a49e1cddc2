/*
 * A name server in a thread that this process's own resolver is pointed at: remembers the name of
 * the last question (the labels, dots between, other bytes as \NNN) and answers what
 * fake_dns_answer appends to the reply.
 */
#ifndef FAKE_DNS_H
#define FAKE_DNS_H
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

extern int __nss_configure_lookup(const char* db, const char* services);

static int fake_dns_fd;
static char fake_dns_question[1200];

/* Appends records to `reply` (its header and question stand in the first `used` bytes); returns the
 * new length. Sets the counts in the header itself. */
static size_t fake_dns_answer(unsigned char* reply, size_t used);

static size_t fake_dns_name(const unsigned char* packet, size_t at, size_t end, char* out,
                            size_t size) {
  size_t used = 0;
  out[0] = 0;
  while (at < end && packet[at] != 0) {
    size_t label = packet[at++];
    if (used != 0 && used + 2 < size) out[used++] = '.';
    for (; label > 0 && at < end; label--, at++) {
      unsigned char c = packet[at];
      if (used + 6 > size) break;
      if (c > 32 && c < 127)
        out[used++] = (char)c;
      else
        used += (size_t)sprintf(out + used, "\\%03u", c);
    }
    out[used] = 0;
  }
  return at + 1;
}

static void* fake_dns_run(void* unused) {
  (void)unused;
  for (;;) {
    unsigned char packet[2048];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(fake_dns_fd, packet, 512, 0, (struct sockaddr*)&from, &length);
    size_t used;
    if (got < 17) continue;
    used = fake_dns_name(packet, 12, (size_t)got, fake_dns_question, sizeof fake_dns_question) + 4;
    packet[2] = 0x84 | (packet[2] & 1);
    packet[3] = 0x80;
    memset(packet + 6, 0, 6);
    used = fake_dns_answer(packet, used);
    if (sendto(fake_dns_fd, packet, used, 0, (struct sockaddr*)&from, length) < 0) continue;
  }
  return NULL;
}

static int fake_dns_start(const char* database) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  pthread_t thread;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fake_dns_fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (bind(fake_dns_fd, (struct sockaddr*)&address, sizeof address) != 0) return -1;
  if (getsockname(fake_dns_fd, (struct sockaddr*)&address, &length) != 0) return -1;
  if (pthread_create(&thread, NULL, fake_dns_run, NULL) != 0) return -1;
  if (res_init() != 0) return -1;
  _res.nscount = 1;
  _res.nsaddr_list[0] = address;
  _res.retrans = 1;
  _res.retry = 1;
  _res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
  return __nss_configure_lookup(database, "dns");
}
#endif
