// What a patchset says of itself, for user space and for the kernel alike.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/fix_patch.h"
#include "patchfmt/patch.h"

namespace livecare::builder {

struct Description {
  std::vector<std::string> cves;  // empty: those that the fixes name
  std::string cvss;
  std::string text;
  uint32_t level = 0;          // 0: one more than the highest that is published
  std::filesystem::path out;   // where it will be published
  uint32_t published = 0;      // the highest level there
  std::string source_package;  // "curl 7.88.1-10+deb12u5"
};

// Now, as strftime says.
std::string utc(const char* format);

// Sets level, source_package, time, description and fixes. Error: conflict, when that level is
// published already.
Status describe_patchset(const Description& description, const std::vector<FixPatch>& fixes,
                         patchfmt::Patchset& patchset);

}  // namespace livecare::builder
