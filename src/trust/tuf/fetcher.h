// The seam between update metadata and the network: the trust room asks for files by name, somebody
// else knows about servers. The real one is agent/repository_fetcher.h, tests have one in memory.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::trust::tuf {

// Where a file's bytes go. An error of either ends the fetch, which then gives that very error.
class FetchSink {
 public:
  virtual ~FetchSink() = default;
  // Before the first byte, and again before each new try: what came before counts for nothing.
  virtual Status begin() = 0;
  virtual Status write(ByteView piece) = 0;
  // More than this is refused by write(); a fetch that knows the size beforehand may save itself
  // the way.
  virtual uint64_t bytes_max() const = 0;
};

enum class Area { metadata, targets };

class Fetcher {
 public:
  virtual ~Fetcher() = default;
  // `path` is below the area's base URL, percent-encoded, without a leading slash. not_found when
  // the server says that there is no such file (HTTP 404 and 403); io or timed_out for all other
  // trouble. Gives up a transfer that is slower than anybody would wait for.
  virtual Status fetch(Area area, const std::string& path, FetchSink& sink) = 0;
};

}  // namespace livecare::trust::tuf
