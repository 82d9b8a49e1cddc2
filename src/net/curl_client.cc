#include "net/curl_client.h"

#include <curl/curl.h>

#include <mutex>
#include <optional>

namespace livecare::net {

namespace {

constexpr long status_ok = 200;
constexpr uint64_t error_body_bytes_max = 64 << 10;  // read to keep the connection, not kept

struct Transfer {
  CURL* handle;
  BodySink* sink;
  uint64_t bytes_max;
  uint64_t bytes = 0;
  bool is_too_large = false;
  std::optional<Error> error;  // of the sink
};

// libcurl calls it; giving another number than `count` ends the transfer.
size_t take(char* data, size_t, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  long status = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
  const uint64_t bytes_max = status == status_ok ? transfer.bytes_max : error_body_bytes_max;
  transfer.is_too_large = count > bytes_max - transfer.bytes;
  if (transfer.is_too_large) return 0;
  transfer.bytes += count;
  if (status != status_ok) return count;
  Status written = transfer.sink->write(ByteView(std::string_view(data, count)));
  if (written.ok()) return count;
  transfer.error = written.take_error();
  return 0;
}

Error too_large(std::string_view url, uint64_t bytes_max) {
  return make_error(ErrorCode::untrusted, url,
                    "is larger than the {} bytes that may come; the download was stopped",
                    bytes_max);
}

Error to_error(CURLcode code, const std::string& url, const char* detail,
               const CurlOptions& options) {
  const std::string why = *detail != '\0' ? detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return make_error(ErrorCode::timed_out, url,
                        "took longer than it may, or came slower than {} bytes/s for {} s: {}",
                        options.slow_bytes_per_s, options.slow_s_max, why);
    case CURLE_PEER_FAILED_VERIFICATION:
      return make_error(ErrorCode::untrusted, url,
                        "the server's certificate does not prove who it is: {}", why);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return make_error(ErrorCode::invalid_input, url, "is not a URL of http or https");
    default:
      return make_error(ErrorCode::io, url, "cannot be fetched: {}", why);
  }
}

}  // namespace

Result<std::unique_ptr<CurlClient>> CurlClient::make(const CurlOptions& options) {
  static std::once_flag once;
  static CURLcode ready = CURLE_FAILED_INIT;
  std::call_once(once, [] { ready = curl_global_init(CURL_GLOBAL_DEFAULT); });
  CURL* handle = ready == CURLE_OK ? curl_easy_init() : nullptr;
  if (handle == nullptr) return make_error(ErrorCode::internal, "libcurl", "cannot be started");
  return std::unique_ptr<CurlClient>(new CurlClient(handle, options));
}

CurlClient::~CurlClient() {
  curl_easy_cleanup(handle_);
}

bool CurlClient::set_up(const HttpRequest& request) {
  curl_easy_reset(handle_);
  bool good = true;
  auto set = [&](CURLoption option, auto value) {
    good = curl_easy_setopt(handle_, option, value) == CURLE_OK && good;
  };
  const bool is_https = std::string_view(request.url).starts_with("https:");
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, is_https ? "https" : "http,https");
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, options_.redirects_max);
  set(CURLOPT_PATH_AS_IS, 1L);  // names are encoded already; dots in them mean nothing
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, options_.user_agent.c_str());
  set(CURLOPT_CONNECTTIMEOUT_MS, options_.connect_ms_max);
  set(CURLOPT_TIMEOUT_MS, options_.total_ms_max);
  set(CURLOPT_LOW_SPEED_LIMIT, options_.slow_bytes_per_s);
  set(CURLOPT_LOW_SPEED_TIME, options_.slow_s_max);
  if (!options_.proxy.empty()) set(CURLOPT_PROXY, options_.proxy.c_str());
  if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
  return good;
}

Result<HttpResponse> CurlClient::get(const HttpRequest& request, BodySink& sink) {
  const std::string url = public_part(request.url);
  if (!set_up(request))
    return make_error(ErrorCode::unsupported, url, "libcurl lacks what is needed to fetch it");
  Transfer transfer{handle_, &sink, request.body_bytes_max, 0, false, {}};
  char detail[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(handle_, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(handle_, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, detail);
  TRY_STATUS(sink.begin());
  CURLcode code = curl_easy_perform(handle_);
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, nullptr);
  HttpResponse response;
  curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &response.status);
  if (transfer.error) return *transfer.error;
  if (transfer.is_too_large && response.status != status_ok) return response;
  if (transfer.is_too_large) return too_large(url, request.body_bytes_max);
  if (code != CURLE_OK) return to_error(code, url, detail, options_);
  return response;
}

}  // namespace livecare::net
