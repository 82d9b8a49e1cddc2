// HTTP(S) GET with bounds on everything: bytes, seconds, speed, redirects. The seam is HttpClient;
// the real one is net/curl_client.h, net/retrying_client.h goes around any, tests have their own.
//
// TLS proves which server answers. What it says is believed for other reasons (signatures).
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::net {

// Where the bytes of an answer go, if its status is 200.
class BodySink {
 public:
  virtual ~BodySink() = default;
  // Before the first byte of each try: what came before counts for nothing.
  virtual Status begin() = 0;
  // An error ends the transfer and is what get() gives.
  virtual Status write(ByteView piece) = 0;
};

struct HttpRequest {
  std::string url;  // http or https, percent-encoded
  uint64_t body_bytes_max = 0;
};

struct HttpResponse {
  long status = 0;  // of the last answer, after redirects
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  // An answer of any status is a value. Errors name the URL without user, password and query:
  // timed_out (too slow, or too long in all), io (no connection, cut off), untrusted (more than
  // body_bytes_max, or a certificate that is not the server's), invalid_input (not a URL).
  virtual Result<HttpResponse> get(const HttpRequest& request, BodySink& sink) = 0;
};

// What may be shown of a URL.
std::string public_part(std::string_view url);

}  // namespace livecare::net
