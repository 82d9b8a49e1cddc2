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

// What a patch has to be for.
struct Wanted {
  std::string key;   // the directory with its levels: a build-ID, or a kernel's ID
  std::string file;  // in the directory of a level
  std::function<bool(const patchfmt::Patchset&)> is_in;
};
Wanted wanted_object(const std::string& build_id);
Wanted wanted_kernel(const std::string& kernel_id, const std::string& type);

struct FetchedPatch {
  std::filesystem::path file;  // in the cache
  patchfmt::Patchset patchset;
  bool downloaded = false;  // false: it was in the cache already
};

class PatchCache {
 public:
  // ring_name: what messages call the ring.
  PatchCache(std::filesystem::path directory, std::vector<trust::PublicKey> ring,
             std::string ring_name)
      : directory_(std::move(directory)),
        ring_(std::move(ring)),
        ring_name_(std::move(ring_name)) {}

  std::filesystem::path path(const Wanted& wanted, uint32_t level) const;
  // Verified. Errors: not_found, and those of open_trusted.
  Result<patchfmt::Patchset> open(const Wanted& wanted, uint32_t level) const;
  // The newest that can be trusted, of at most that day.
  std::optional<FetchedPatch> newest(const Wanted& wanted, std::optional<Day> not_after) const;
  // Verifies, then keeps. name: where the bytes are from.
  Result<patchfmt::Patchset> add(const Wanted& wanted, uint32_t level, ByteView file,
                                 std::string_view name) const;
  // Empty when it is not there.
  std::string kpatch_info(const Wanted& wanted, uint32_t level) const;

 private:
  std::filesystem::path directory_;
  std::vector<trust::PublicKey> ring_;
  std::string ring_name_;
};

class PatchSource {
 public:
  // server: the value of PATCH_SERVER; prefix: a path component or empty.
  static Result<PatchSource> create(std::string_view server, std::string_view prefix,
                                    const Paths& paths, PatchCache cache);

  // The newest level on the server; empty when it has nothing for this.
  Result<std::optional<uint32_t>> newest_level(const Wanted& wanted) const;
  // The newest patch, or the newest of at most that day; empty when there is none.
  // on_download is called before the first bytes are fetched.
  Result<std::optional<FetchedPatch>> newest(const Wanted& wanted, std::optional<Day> not_after,
                                             const std::function<void()>& on_download) const;

 private:
  PatchSource(std::filesystem::path directory, PatchCache cache)
      : directory_(std::move(directory)), cache_(std::move(cache)) {}
  Result<std::optional<FetchedPatch>> fetch(const Wanted& wanted, uint32_t level,
                                            const std::function<void()>& on_download) const;

  std::filesystem::path directory_;
  PatchCache cache_;
};

}  // namespace livecare::agent
