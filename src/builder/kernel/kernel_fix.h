// What fixes do to a kernel's source: the new content of every file, and which objects have to be
// compiled for it. Nothing is written.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/fix_patch.h"
#include "builder/kernel/release.h"
#include "objdiff/diff.h"

namespace livecare::builder {

struct KernelFixPlan {
  std::vector<FixPatch> fixes;
  std::map<std::filesystem::path, std::string> contents;  // for TreeEdit
  std::vector<std::string> sources;  // C files to be compiled, in order, relative to the tree
  std::vector<std::string> headers;  // touched headers
  // Of sources: those that are there because they include a touched file, and C files that others
  // include. They need not be part of the kernel by themselves.
  std::set<std::string> includers;
  std::set<std::string> included;
  std::vector<std::string> ignored;  // touched files that nothing is compiled from
  std::vector<objdiff::Refusal> refused;
};

// A header that more objects than this include is refused by name.
inline constexpr size_t including_objects_max = 60;

Result<KernelFixPlan> plan_kernel_fixes(const KernelRelease& kernel,
                                        const std::vector<std::filesystem::path>& fixes,
                                        unsigned fuzz);

enum class KernelFileRole { source, header, assembly, build, other };
KernelFileRole kernel_file_role(std::string_view path);

}  // namespace livecare::builder
