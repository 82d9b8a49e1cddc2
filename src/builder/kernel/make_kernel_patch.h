// From fixes to a published kernel patch: the whole way of `livecare-build kernel` after
// preparation.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/kernel/module_image.h"
#include "builder/kernel/release.h"
#include "patchfmt/patch.h"

namespace livecare::builder {

struct KernelPatchOptions {
  std::vector<std::filesystem::path> fixes;
  std::vector<std::string> cves;  // empty: those that the fixes name
  std::string cvss;
  std::string description;
  std::string effective;         // what kcare-uname -r shall say; empty: the release
  std::string type = "default";  // or free, extra
  uint32_t level = 0;            // 0: one more than the highest that is published
  std::filesystem::path out;
  std::filesystem::path key;           // of the maker; empty: the default key
  std::vector<std::string> keep_data;  // variables whose changed initial value is to be ignored
  unsigned fuzz = 0;
  unsigned jobs = 0;
};

struct KernelPatchResult {
  patchfmt::Patchset metadata;  // name, level, fixes, time
  std::string kernel_id;
  std::filesystem::path file;
  uint64_t file_bytes = 0;
  struct Function {
    std::string name, object, proof;
    uint64_t size = 0, new_size = 0;
  };
  std::vector<Function> functions;
  FreshModules fresh;
  size_t references = 0;  // that kcare.ko resolves
  std::vector<std::string> ignored;
  std::vector<objdiff::Refusal> refused;  // not empty: nothing was written
  std::map<std::string, double> seconds;
};

// Errors are for what has nothing to do with the fix's content (files, tools); everything that
// cannot be patched is in `refused`.
Result<KernelPatchResult> make_kernel_patch(const KernelRelease& kernel,
                                            const KernelPatchOptions& options);

}  // namespace livecare::builder
