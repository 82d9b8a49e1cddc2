// Tries a request again when the trouble may pass: a connection that broke, a timeout, an
// overloaded server (429, 500, 502, 503, 504). Between tries it waits for a random part of a
// growing time ("full jitter"), so that a fleet that was cut off together does not come back
// together.
#pragma once

#include <cstdint>
#include <functional>

#include "net/http_client.h"

namespace livecare::net {

struct RetryPolicy {
  uint32_t tries_max = 3;
  uint32_t first_wait_ms_max = 500;  // doubles with every try
  uint32_t wait_ms_max = 30'000;
};

// What is not the same in a test.
struct RetrySeam {
  std::function<uint32_t(uint32_t most)> random;  // 0 to most
  std::function<void(uint32_t ms)> wait;
  static RetrySeam real();
};

class RetryingClient : public HttpClient {
 public:
  // `inner` outlives it.
  RetryingClient(HttpClient& inner, const RetryPolicy& policy, RetrySeam seam)
      : inner_(&inner), policy_(policy), seam_(std::move(seam)) {}

  Result<HttpResponse> get(const HttpRequest& request, BodySink& sink) override;

 private:
  HttpClient* inner_;
  RetryPolicy policy_;
  RetrySeam seam_;
};

}  // namespace livecare::net
