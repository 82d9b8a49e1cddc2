#include "net/retrying_client.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "base/log.h"

namespace livecare::net {

namespace {

bool may_pass(const Result<HttpResponse>& result) {
  if (!result.ok())
    return result.error().code == ErrorCode::io || result.error().code == ErrorCode::timed_out;
  switch (result->status) {
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    default:
      return false;
  }
}

}  // namespace

RetrySeam RetrySeam::real() {
  return {[](uint32_t most) {
            std::random_device device;
            return std::uniform_int_distribution<uint32_t>(0, most)(device);
          },
          [](uint32_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }};
}

Result<HttpResponse> RetryingClient::get(const HttpRequest& request, BodySink& sink) {
  uint64_t most_ms = policy_.first_wait_ms_max;
  for (uint32_t tried = 1;; ++tried) {
    auto result = inner_->get(request, sink);
    if (tried >= policy_.tries_max || !may_pass(result)) return result;
    auto wait_ms =
        seam_.random(static_cast<uint32_t>(std::min(most_ms, uint64_t{policy_.wait_ms_max})));
    most_ms *= 2;
    log(LogLevel::debug, "{}: {}; trying again in {} ms", public_part(request.url),
        result.ok() ? fmt::format("HTTP {}", result->status) : result.error().message, wait_ms);
    seam_.wait(wait_ms);
  }
}

}  // namespace livecare::net
