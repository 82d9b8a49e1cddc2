// Load for a TLS server: threads that shake hands, send requests over the kept connection, read and
// check every answer, and shake hands again (every other time with the session of before). Counts
// what failed; a single wrong byte is a failure. Runs until SIGTERM or for --seconds.
//
//   https_load --port P [--path /] [--size BYTES] [--threads N] [--per-connection N] [--seconds N]
//              [--pause-us N]   between two requests of a thread
//
// Prints on exit: requests=N handshakes=N resumed=N failures=N max_gap_ms=N
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Options {
  int port = 0;
  std::string path = "/";
  long size = -1;  // of the body; -1: any
  int threads = 4;
  int per_connection = 50;
  int seconds = 0;
  int pause_us = 0;
};

struct Counters {
  std::atomic<long> requests{0}, handshakes{0}, resumed{0}, failures{0}, max_gap_ms{0};
};

constexpr long answer_seconds_max = 20;

Counters counters;
std::atomic<bool> stop{false};

void report_failure(const char* what) {
  if (counters.failures++ < 20) {
    const unsigned long code = ERR_get_error();
    std::fprintf(stderr, "https_load: %s: %s (errno %s)\n", what,
                 code != 0 ? ERR_reason_error_string(code) : "no TLS error", std::strerror(errno));
  }
}

int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const timeval limit{answer_seconds_max, 0};  // a server that stands still has failed
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr generic{};
  std::memcpy(&generic, &address, sizeof generic);
  if (connect(fd, &generic, sizeof generic) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

// Reads one answer; true if it is a complete 200 with the body that was expected.
bool read_answer(SSL* ssl, const Options& options) {
  std::string text;
  char buffer[16384];
  size_t header_end = std::string::npos;
  long length = -1;
  for (;;) {
    const int got = SSL_read(ssl, buffer, sizeof buffer);
    if (got <= 0) return false;
    text.append(buffer, static_cast<size_t>(got));
    if (header_end == std::string::npos) {
      header_end = text.find("\r\n\r\n");
      if (header_end == std::string::npos) continue;
      const size_t at = text.find("Content-Length: ");
      if (at == std::string::npos || at > header_end) return false;
      length = std::strtol(text.c_str() + at + 16, nullptr, 10);
    }
    if (static_cast<long>(text.size() - header_end - 4) >= length) break;
  }
  if (text.rfind("HTTP/1.1 200", 0) != 0) return false;
  if (options.size >= 0 && length != options.size) return false;
  for (size_t i = header_end + 5; i < text.size(); ++i) {
    if (text[i] != text[header_end + 4]) return false;  // the body is one repeated byte
  }
  return true;
}

bool request(SSL* ssl, const Options& options) {
  const std::string text =
      "GET " + options.path + " HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n";
  const auto before = std::chrono::steady_clock::now();
  if (SSL_write(ssl, text.data(), static_cast<int>(text.size())) != static_cast<int>(text.size())) {
    return false;
  }
  if (!read_answer(ssl, options)) return false;
  const auto took = std::chrono::steady_clock::now() - before;
  const long ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  for (long seen = counters.max_gap_ms; ms > seen;) {
    if (counters.max_gap_ms.compare_exchange_weak(seen, ms)) break;
  }
  counters.requests++;
  return true;
}

void run(SSL_CTX* ctx, const Options& options) {
  SSL_SESSION* session = nullptr;
  for (long round = 0; !stop; ++round) {
    const int fd = connect_to(options.port);
    if (fd < 0) {
      report_failure("connect");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    SSL* ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (session != nullptr && round % 2 == 1) SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1) {
      report_failure("handshake");
    } else {
      counters.handshakes++;
      if (SSL_session_reused(ssl) == 1) counters.resumed++;
      for (int i = 0; i < options.per_connection && !stop; ++i) {
        if (!request(ssl, options)) {
          report_failure("request");
          break;
        }
        if (options.pause_us > 0)
          std::this_thread::sleep_for(std::chrono::microseconds(options.pause_us));
      }
      SSL_SESSION_free(session);
      session = SSL_get1_session(ssl);
      SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
  }
  SSL_SESSION_free(session);
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--port")
      options.port = std::atoi(value);
    else if (name == "--path")
      options.path = value;
    else if (name == "--size")
      options.size = std::atol(value);
    else if (name == "--threads")
      options.threads = std::atoi(value);
    else if (name == "--per-connection")
      options.per_connection = std::atoi(value);
    else if (name == "--seconds")
      options.seconds = std::atoi(value);
    else if (name == "--pause-us")
      options.pause_us = std::atoi(value);
    else
      return false;
  }
  return options.port > 0 && options.threads > 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "https_load: needs --port P; see the head of https_load.cc\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGTERM, [](int) { stop = true; });
  std::signal(SIGINT, [](int) { stop = true; });
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
  std::vector<std::thread> threads;
  for (int i = 0; i < options.threads; ++i) threads.emplace_back(run, ctx, options);
  for (int ms = 0; !stop && (options.seconds == 0 || ms < options.seconds * 1000); ms += 20) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  SSL_CTX_free(ctx);
  std::printf("requests=%ld handshakes=%ld resumed=%ld failures=%ld max_gap_ms=%ld\n",
              counters.requests.load(), counters.handshakes.load(), counters.resumed.load(),
              counters.failures.load(), counters.max_gap_ms.load());
  return counters.failures == 0 ? 0 : 1;
}
