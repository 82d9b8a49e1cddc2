// Which C files of a kernel's tree may include a file, by a scan of all #include lines: a superset
// that is small for headers that lie beside their users. Immutable after the scan, thread-safe.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace livecare::builder {

class IncludeGraph {
 public:
  explicit IncludeGraph(const std::filesystem::path& root);

  // C files, as paths from the root, that may include one of `paths`, directly or not. Those that
  // are C files themselves are left out.
  std::set<std::string> may_include(const std::set<std::string>& paths) const;

 private:
  struct File {
    std::vector<std::string> quoted, angled, macros;  // as they stand there
    std::vector<std::string> read_again;              // trace headers, by name
  };
  void read(const std::filesystem::path& root, const std::string& path);
  void link();
  void link_quoted(const std::string& from, const std::string& text);
  void link_by_ending(const std::string& from, std::string_view text);
  void link_macro(const std::string& from, const std::string& macro);

  std::map<std::string, File> files_;
  std::map<std::string, std::vector<std::string>> by_name_;   // paths, by file name
  std::map<std::string, std::set<std::string>> definitions_;  // files, by macro
  std::map<std::string, std::set<std::string>> includers_;    // by path
  std::set<std::string> unclear_;  // macros that are defined as something else than a file name
  std::set<std::string> any_;      // files with a line that may stand for any file
};

}  // namespace livecare::builder
