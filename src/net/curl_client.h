// HttpClient over libcurl. Keeps its connections between requests. Not thread-safe: one per thread.
#pragma once

#include <memory>
#include <string>

#include "net/http_client.h"

namespace livecare::net {

struct CurlOptions {
  std::string proxy;    // URL; empty: what http_proxy, https_proxy and no_proxy say
  std::string ca_file;  // PEM; empty: the system's
  std::string user_agent = "livecare";
  long connect_ms_max = 20'000;
  long total_ms_max = 3'600'000;
  // Slower than this for so long is given up: a server that dribbles holds nobody for an hour.
  long slow_bytes_per_s = 256;
  long slow_s_max = 30;
  long redirects_max = 5;  // never from https to http
};

class CurlClient : public HttpClient {
 public:
  static Result<std::unique_ptr<CurlClient>> make(const CurlOptions& options);
  ~CurlClient() override;
  CurlClient(const CurlClient&) = delete;
  CurlClient& operator=(const CurlClient&) = delete;

  Result<HttpResponse> get(const HttpRequest& request, BodySink& sink) override;

 private:
  explicit CurlClient(void* handle, const CurlOptions& options)
      : handle_(handle), options_(options) {}
  bool set_up(const HttpRequest& request);

  void* handle_;  // CURL*
  CurlOptions options_;
};

}  // namespace livecare::net
