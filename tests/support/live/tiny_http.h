/*
 * One small HTTP/1.1 server in a thread: keep-alive, one connection at a time per port, calls
 * tiny_http_answer with the request's text.
 */
#ifndef TINY_HTTP_H
#define TINY_HTTP_H
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TINY_HTTP_CONNECTIONS 16

struct tiny_http {
  int listen_fd;
  int port;
  void (*answer)(const char* request, char* reply, size_t size);
};

static void* tiny_http_run(void* arg) {
  struct tiny_http* server = arg;
  struct pollfd fds[TINY_HTTP_CONNECTIONS];
  nfds_t n = 1;
  fds[0].fd = server->listen_fd;
  fds[0].events = POLLIN;
  for (;;) {
    nfds_t i;
    if (poll(fds, n, -1) <= 0) continue;
    for (i = n; i-- > 1;) {
      char request[8192];
      char reply[8192];
      ssize_t got;
      if (fds[i].revents == 0) continue;
      got = read(fds[i].fd, request, sizeof request - 1);
      if (got <= 0) {
        close(fds[i].fd);
        fds[i] = fds[--n];
        continue;
      }
      request[got] = 0;
      server->answer(request, reply, sizeof reply);
      if (write(fds[i].fd, reply, strlen(reply)) < 0) abort();
    }
    if ((fds[0].revents & POLLIN) != 0 && n < TINY_HTTP_CONNECTIONS) {
      fds[n].fd = accept(server->listen_fd, NULL, NULL);
      fds[n].events = POLLIN;
      fds[n].revents = 0;
      if (fds[n].fd >= 0) n++;
    }
  }
  return NULL;
}

static int tiny_http_start(struct tiny_http* server) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  pthread_t thread;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(server->listen_fd, (struct sockaddr*)&address, sizeof address) != 0) return -1;
  if (listen(server->listen_fd, 8) != 0) return -1;
  if (getsockname(server->listen_fd, (struct sockaddr*)&address, &length) != 0) return -1;
  server->port = ntohs(address.sin_port);
  return pthread_create(&thread, NULL, tiny_http_run, server);
}
#endif
