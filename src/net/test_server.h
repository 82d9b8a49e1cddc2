// An HTTP server for tests: one thread, one connection at a time, an answer of any bytes at any
// pace.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace livecare::net {

class TestServer {
 public:
  // Gets the request line's target and writes the answer; false from send() when the client is
  // gone.
  using Send = std::function<bool(std::string_view)>;
  using Handler = std::function<void(const std::string& target, const Send& send)>;

  explicit TestServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    LIVECARE_ASSERT(::bind(listener_.get(), generic, size) == 0);
    LIVECARE_ASSERT(::listen(listener_.get(), 8) == 0);
    LIVECARE_ASSERT(::getsockname(listener_.get(), generic, &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TestServer() {
    stop_ = true;
    thread_.join();
  }

  std::string url(std::string_view path) const {
    return fmt::format("http://127.0.0.1:{}{}", port_, path);
  }
  std::vector<std::string> targets() {
    std::lock_guard<std::mutex> lock(mutex_);
    return targets_;
  }

 private:
  static constexpr int poll_ms = 20;

  void serve() {
    while (!stop_) {
      pollfd wanted{listener_.get(), POLLIN, 0};
      if (::poll(&wanted, 1, poll_ms) != 1) continue;
      Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.valid()) answer(client.get());
    }
  }

  void answer(int fd) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      ssize_t got = ::recv(fd, buffer, sizeof(buffer), 0);
      if (got <= 0) return;
      request.append(buffer, static_cast<size_t>(got));
    }
    size_t begin = request.find(' ') + 1;
    std::string target = request.substr(begin, request.find(' ', begin) - begin);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      targets_.push_back(target);
    }
    handler_(target, [&](std::string_view text) {
      while (!text.empty() && !stop_) {
        ssize_t put = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (put <= 0) return false;
        text.remove_prefix(static_cast<size_t>(put));
      }
      return !stop_;
    });
  }

  Handler handler_;
  Fd listener_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> targets_;
  std::thread thread_;
};

}  // namespace livecare::net
