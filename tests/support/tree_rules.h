// The rules of HACKING.md that a machine can check, over the files of a source tree.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace livecare::tree {

inline constexpr size_t file_lines_max = 600;

struct Finding {
  std::string file;  // relative to the root of the tree
  size_t line = 0;   // 0: the file as a whole
  std::string message;
};

// Every breach of a rule below root. Build directories and the version control's are left out.
std::vector<Finding> check(const std::filesystem::path& root);

}  // namespace livecare::tree
