// The client of a repository: brings the trusted metadata of this host up to date, finds targets in
// it and downloads them. One Updater is one update cycle: its start time is fixed, and expiry is
// judged by it throughout. Not thread-safe; holds the lock of its directory while it lives.
//
// Errors say what to do about them: untrusted is a repository that breaks its promises (a
// signature, going back, standing still, too much data) and is worth an alarm; not_found, io and
// timed_out are the network's; busy is another update on this host. Whatever the error, what was
// trusted before stays so, and the next cycle can succeed.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "trust/tuf/fetcher.h"
#include "trust/tuf/store.h"
#include "trust/tuf/trusted_set.h"

namespace livecare::trust::tuf {

// W, X, Y and Z of the specification's section 5. A repository's file may be named with a length of
// its own; then the smaller of both counts.
struct Limits {
  uint64_t root_bytes_max = 512 << 10;
  uint64_t timestamp_bytes_max = 16 << 10;
  uint64_t snapshot_bytes_max = 2 << 20;
  uint64_t targets_bytes_max = 8 << 20;
  uint64_t target_file_bytes_max = uint64_t{2} << 30;
  uint32_t root_rotations_max = 1024;  // in one cycle; the next cycle goes on from there
  uint32_t roles_visited_max = 64;     // in one search
};

struct FoundTarget {
  std::string path;
  std::string role;  // which speaks about it
  TargetFile file;
};

class Updater {
 public:
  // Makes `root`, which came with the package or by a fingerprint, what `directory` trusts.
  // untrusted when it is not signed by its own keys, conflict when another root is trusted already.
  static Status init(const std::filesystem::path& directory, ByteView root);

  // `fetcher` outlives the Updater.
  static Result<Updater> open(const std::filesystem::path& directory, Fetcher& fetcher,
                              int64_t now_s, const Limits& limits = {});

  // Sections 5.2 to 5.6.6: root, timestamp, snapshot, targets. Once, before the others.
  Status refresh();

  // Section 5.6.7; nothing when no role that may speak about `path` does.
  Result<std::optional<FoundTarget>> find(const std::string& path);

  // Section 5.7: into `directory` under safe_file_name(path), whole or not at all; the same name
  // for every version. A file that is there already and is the right one is not fetched again.
  Result<std::filesystem::path> download(const FoundTarget& target,
                                         const std::filesystem::path& directory);

  const TrustedSet& trusted() const { return *trusted_; }

 private:
  enum class Search { found, nothing, stop };
  struct Walk {
    std::string path;
    std::set<std::string> visited;
    std::optional<FoundTarget> found;
  };

  Updater(Store store, Fetcher& fetcher, int64_t now_s, const Limits& limits)
      : store_(std::move(store)), fetcher_(&fetcher), now_s_(now_s), limits_(limits) {}

  Status load_root();
  Status update_root();
  Status update_timestamp();
  Status update_snapshot();
  Status update_targets(const std::string& role, const Delegator& delegator);
  Result<Search> search(const std::string& role, const Delegator& delegator, Walk& walk);

  Result<Bytes> fetch_metadata(const std::string& role, std::optional<uint64_t> version,
                               uint64_t bytes_max);
  Result<Bytes> fetch_described(const std::string& role, const MetaFile& file, uint64_t bytes_max);
  // Hands what is kept of a role to `take`; a file that is missing or no longer good is passed
  // over.
  template <class Take>
  Status recall(const std::string& role, uint64_t bytes_max, Take take);

  Store store_;
  Fetcher* fetcher_;
  int64_t now_s_;
  Limits limits_;
  std::optional<TrustedSet> trusted_;
};

}  // namespace livecare::trust::tuf
