#include "agent/repository_fetcher.h"

namespace livecare::agent {

namespace {

constexpr long status_ok = 200;
constexpr long status_forbidden = 403;
constexpr long status_not_found = 404;

class Adapter : public net::BodySink {
 public:
  explicit Adapter(trust::tuf::FetchSink& sink) : sink_(sink) {}
  Status begin() override { return sink_.begin(); }
  Status write(ByteView piece) override { return sink_.write(piece); }

 private:
  trust::tuf::FetchSink& sink_;
};

std::string with_slash(std::string url) {
  if (!url.empty() && !url.ends_with('/')) url += '/';
  return url;
}

}  // namespace

RepositoryFetcher::RepositoryFetcher(net::HttpClient& client, std::string metadata_url,
                                     std::string targets_url)
    : client_(&client),
      metadata_url_(with_slash(std::move(metadata_url))),
      targets_url_(with_slash(std::move(targets_url))) {}

Status RepositoryFetcher::fetch(trust::tuf::Area area, const std::string& path,
                                trust::tuf::FetchSink& sink) {
  const bool is_metadata = area == trust::tuf::Area::metadata;
  const std::string& base = is_metadata ? metadata_url_ : targets_url_;
  if (base.empty())
    return make_error(ErrorCode::invalid_input, path, "has no URL to be fetched from; give {}",
                      is_metadata ? "--metadata-url" : "--target-base-url");
  const std::string url = base + path;
  Adapter adapter(sink);
  TRY(net::HttpResponse response, client_->get({url, sink.bytes_max()}, adapter));
  if (response.status == status_ok) return ok_status();
  const bool is_missing =
      response.status == status_forbidden || response.status == status_not_found;
  return make_error(is_missing ? ErrorCode::not_found : ErrorCode::io, net::public_part(url),
                    "the server answered {}", response.status);
}

}  // namespace livecare::agent
