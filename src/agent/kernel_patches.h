// kcarectl's decisions about the running kernel: which level, from where, whether at all. Essay:
// kernel_patches.cc. What is applied is always asked of the kernel. Sentences for people go to
// standard output. Callers hold the lock for what changes something.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/date.h"
#include "agent/patch_source.h"
#include "agent/paths.h"
#include "base/result.h"
#include "kctl/kernel.h"

namespace livecare::agent {

enum class PatchesFrom { server, cache, cache_first };  // UPDATE_POLICY

struct KernelUpdateRequest {
  std::string server;  // PATCH_SERVER
  std::string prefix;
  std::string type = "default";
  PatchesFrom from = PatchesFrom::server;
  std::optional<Day> not_after;  // sticky
  bool by_itself = false;        // nobody watches: at boot, by a timer
  kctl::Freezer freezer = kctl::Freezer::full;
  bool force = false;
  bool load_sysctl = true;
  std::string force_gid;  // FORCE_GID, for symlink owner match; empty: as the patch has it
};

enum class KernelOutcome {
  applied,    // just now
  unchanged,  // it was applied already, or a newer one is
  no_patch,   // for this kernel, type and day; with `is_known` false: for this kernel at all
};

struct KernelUpdate {
  KernelOutcome outcome = KernelOutcome::no_patch;
  bool is_known = false;  // the server has levels for this kernel
  uint32_t level = 0;     // applied now; 0: nothing
  std::string effective;
  uint64_t stop_ns = 0;
  std::vector<std::string> notes;  // what did not matter enough to fail
};

enum class KernelStatus : int { latest = 0, nothing = 1, outdated = 2, unsupported = 3 };

class KernelPatches {
 public:
  KernelPatches(Paths paths, kctl::Kernel& kernel) : paths_(std::move(paths)), kernel_(kernel) {}

  Result<KernelUpdate> update(const KernelUpdateRequest& request);
  // Empty when nothing was applied.
  Result<std::optional<kctl::SwitchReport>> unload(kctl::Freezer freezer, bool force);
  // Asks the server: is there a newer level than what is applied?
  Result<bool> is_newer_available(const KernelUpdateRequest& request);

  // These write nothing and use no network.
  Result<KernelStatus> status() const;
  // The metadata of what is applied, from the cache; empty when nothing is, or it is not there.
  Result<std::optional<patchfmt::Patchset>> applied_patchset(const std::string& type) const;
  // What would block an update now, one line each.
  Result<std::vector<std::string>> obstacles(const KernelUpdateRequest& request);

 private:
  struct Offer {
    std::optional<FetchedPatch> patch;
    bool is_known = true;
  };

  Result<std::string> kernel_id() const;
  Result<PatchCache> cache() const;
  Result<Offer> find(const KernelUpdateRequest& request, const Wanted& wanted) const;
  Status note_latest(const Wanted& wanted, std::optional<uint32_t> level) const;
  Status check_attempt(const patchfmt::Patchset& patchset) const;
  Status note_attempt(const patchfmt::Patchset& patchset, std::string_view state) const;
  void unload_leftovers(const kctl::KernelState& state, std::vector<std::string>& notes);
  Result<KernelUpdate> apply(const KernelUpdateRequest& request, const patchfmt::Patchset& patchset,
                             const std::string& kernel);

  Paths paths_;
  kctl::Kernel& kernel_;
};

}  // namespace livecare::agent
