// What fixes do to a prepared tree: the new content of every file, before anything is written.
//
// Packages copy their source for each flavour that they build (curl: debian/build,
// debian/build-gnutls, ...). A fix names the file once; the plan changes it in every mirror of the
// tree, and in every other copy that is equal to it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/fix_patch.h"
#include "builder/prepared_tree.h"

namespace livecare::builder {

struct TouchedFile {
  std::string name;                           // as the fix names it, without a/ or b/
  std::vector<std::filesystem::path> copies;  // real paths on disk that the plan changes
  std::vector<const FilePatch*> patches;      // of all fixes, in order
  bool is_new = false;
  bool is_binary = false;  // cannot be applied; matters only if it is compiled
};

struct FixPlan {
  std::vector<FixPatch> fixes;
  std::vector<TouchedFile> touched;
  std::map<std::filesystem::path, std::string> contents;  // for TreeEdit
};

// Reads and applies the fixes in order (in memory). Errors name the fix, file and hunk.
Result<FixPlan> plan_fixes(const PreparedTree& tree,
                           const std::vector<std::filesystem::path>& fixes, unsigned fuzz);

Result<FixPatch> load_fix(const std::filesystem::path& path);

// Directories of the tree that hold a copy of it (most of its top-level names), besides itself.
std::vector<std::filesystem::path> find_mirrors(const std::filesystem::path& root);

}  // namespace livecare::builder
