// Which files of a tree may include which others, by file name, from a scan of their text.
//
// Asking the compiler for the files that each of thousands of units reads takes minutes. A scan of
// all #include lines takes a second and gives a superset: a file "may include" NAME if it has an
// include line for any file called NAME, or one that a macro fills in which may stand for NAME.
// Only the units that are left are asked (affected.h).
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace livecare::builder {

class IncludeScan {
 public:
  // outside: macros that command lines define.
  explicit IncludeScan(const std::filesystem::path& root,
                       const std::set<std::string>& outside = {});

  // File names (without directories) that may include one of `names`, directly or not; includes
  // `names`.
  std::set<std::string> may_include(const std::set<std::string>& names) const;

 private:
  std::map<std::string, std::set<std::string>> includers_;  // by included file name
  std::set<std::string> computed_;  // files with an include line that may name any file
};

struct IncludeLines {
  std::vector<std::string> names;   // of included files, without directories
  std::vector<std::string> spelt;   // the same of C as they stand there: "<a/b.h>", "\"../b.h\""
  std::vector<std::string> macros;  // "#include WEIGHT_H"; "NAME()" for a macro with arguments
  std::vector<std::pair<std::string, std::string>> definitions;  // #define WEIGHT_H "weight.h"
  std::vector<std::string> other_definitions;  // macros with a value that is no file name
  std::vector<std::pair<std::string, std::string>> words;  // of those, what comes before a blank
};
IncludeLines included_names(std::string_view text);

}  // namespace livecare::builder
