// From fixes to a published patch: the whole way of `livecare-build user` after preparation.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/prepare.h"
#include "objdiff/diff.h"
#include "patchfmt/patch.h"

namespace livecare::builder {

struct PatchOptions {
  std::vector<std::filesystem::path> fixes;
  std::vector<std::string> cves;  // empty: those that the fixes name
  std::string cvss;
  std::string description;
  uint32_t level = 0;  // 0: one more than the highest that is published
  std::filesystem::path out;
  std::filesystem::path key;           // empty: the default key
  std::vector<std::string> keep_data;  // variables whose changed initial value is to be ignored
  unsigned fuzz = 0;
  unsigned jobs = 0;
  std::filesystem::path headers;  // directory that holds livecare/patch.h
};

struct PatchResult {
  patchfmt::Patchset patchset;
  std::filesystem::path file;
  uint64_t file_bytes = 0;
  std::vector<std::string> ignored;
  std::vector<objdiff::Refusal> refused;  // not empty: nothing was written
  std::map<std::string, double> seconds;
};

// Errors are for what has nothing to do with the fix's content (files, tools); everything that
// cannot be patched is in `refused`.
Result<PatchResult> make_patch(const PreparedTree& tree, const PatchOptions& options);

// Checks that need no prepared tree: the fixes can be read, the output directory written, the key
// loaded. So that a typing error costs a second and not a build.
Status check_inputs(const PatchOptions& options);

}  // namespace livecare::builder
