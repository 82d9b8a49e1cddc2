// The files of an update repository over HTTP: joins the trust room's seam to the net room's.
#pragma once

#include <string>

#include "net/http_client.h"
#include "trust/tuf/fetcher.h"

namespace livecare::agent {

class RepositoryFetcher : public trust::tuf::Fetcher {
 public:
  // Base URLs with or without a slash at the end; an empty one refuses its area (invalid_input).
  // `client` outlives the fetcher.
  RepositoryFetcher(net::HttpClient& client, std::string metadata_url, std::string targets_url);

  // 403 is "no such file" as well: stores that hide their list of files say so.
  Status fetch(trust::tuf::Area area, const std::string& path,
               trust::tuf::FetchSink& sink) override;

 private:
  net::HttpClient* client_;
  std::string metadata_url_, targets_url_;
};

}  // namespace livecare::agent
