// Changes files of a prepared tree for a while, so that the tree is pristine again afterwards
// whatever happens to us.
//
// Before anything is changed, every file to be touched is copied to ENTRY/saved and a journal names
// them all (written in one piece). restore_tree() puts them back with their times and modes and
// removes what was new; it runs at the end of an edit and at the begin of every use of an entry, so
// a kill -9 in between is repaired by the next run.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/result.h"

namespace livecare::builder {

// Puts everything back that an interrupted edit left changed; does nothing without a journal.
Status restore_tree(const std::filesystem::path& entry);

class TreeEdit {
 public:
  // contents: the new content by path; paths must be real (no symbolic links) and inside the tree.
  static Result<TreeEdit> begin(const std::filesystem::path& entry,
                                const std::map<std::filesystem::path, std::string>& contents);
  TreeEdit(TreeEdit&& other) noexcept;
  ~TreeEdit();  // restores, and logs an error if that fails

  Status restore();

 private:
  explicit TreeEdit(std::filesystem::path entry) : entry_(std::move(entry)) {}
  std::filesystem::path entry_;
};

}  // namespace livecare::builder
