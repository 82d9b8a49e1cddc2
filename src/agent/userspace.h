// kcarectl's user-space commands over libcare-server: update, unload, and what is in memory.
// What is applied is always asked of the processes themselves.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "agent/date.h"
#include "agent/json.h"
#include "agent/paths.h"
#include "base/result.h"

namespace livecare::agent {

struct UpdateRequest {
  std::string server;  // PATCH_SERVER
  std::string prefix;
  std::vector<std::string> products;  // of Patchset::product: user, qemu, db
  std::optional<Day> not_after;       // sticky
};

struct UpdateSummary {
  size_t patches = 0;        // that some process here can use
  size_t newly_patched = 0;  // processes
  size_t patched = 0;        // processes, before and now
  size_t blacklisted = 0;
  std::vector<std::string> failures;  // "1234 nginx: reason", "build-ID ..: reason"
  std::optional<Error> first_error;   // of fetching and verifying
};

class Userspace {
 public:
  Userspace(Paths paths, std::filesystem::path server)
      : paths_(std::move(paths)), server_(std::move(server)) {}

  // Progress and results in sentences on standard output.
  Result<UpdateSummary> update(const UpdateRequest& request) const;
  // Unpatches every patched process; the failures.
  Result<std::vector<std::string>> unload() const;

  // Lines of libcare-server for every process with something in memory.
  Result<std::vector<Json>> patched_processes() const;
  // One element per patchset and object in memory: patchset, level, build_id, soname, cves,
  // processes, info (text of kpatch.info).
  Result<std::vector<Json>> patches_in_memory() const;

 private:
  Paths paths_;
  std::filesystem::path server_;
};

}  // namespace livecare::agent
