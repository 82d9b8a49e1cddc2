// Where patches come from: PATCH_SERVER, here a directory (file:///DIR), with the layout of
// docs/formats/patch.md, and the host's cache of what was fetched and verified. A patch that is not
// signed by a key of the ring never enters the cache, and what is in the cache is verified again
// whenever it is used.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/date.h"
#include "agent/paths.h"
#include "agent/trusted_patch.h"

namespace livecare::agent {

inline constexpr uint32_t levels_tried_max = 1000;  // back from the newest, for a sticky date

struct FetchedPatch {
  std::filesystem::path file;  // in the cache
  patchfmt::Patchset patchset;
  bool downloaded = false;  // false: it was in the cache already
};

class PatchSource {
 public:
  // server: the value of PATCH_SERVER; prefix: a path component or empty.
  static Result<PatchSource> create(std::string_view server, std::string_view prefix,
                                    const Paths& paths, std::vector<trust::PublicKey> ring);

  // The newest patch for a binary, or the newest of at most that day; empty when there is none.
  // on_download is called before the first bytes are fetched.
  Result<std::optional<FetchedPatch>> newest(const std::string& build_id,
                                             std::optional<Day> not_after,
                                             const std::function<void()>& on_download) const;

 private:
  PatchSource(std::filesystem::path directory, const Paths& paths,
              std::vector<trust::PublicKey> ring)
      : directory_(std::move(directory)), paths_(paths), ring_(std::move(ring)) {}
  Result<std::optional<uint32_t>> newest_level(const std::string& build_id) const;
  Result<std::optional<FetchedPatch>> fetch(const std::string& build_id, uint32_t level,
                                            const std::function<void()>& on_download) const;

  std::filesystem::path directory_;
  Paths paths_;
  std::vector<trust::PublicKey> ring_;
};

// kpatch.info of a cached patch, verified; empty when it is not in the cache.
std::string cached_kpatch_info(const Paths& paths, const std::vector<trust::PublicKey>& ring,
                               const std::string& build_id, uint32_t level);

}  // namespace livecare::agent
