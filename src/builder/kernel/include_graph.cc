// The rules are the compiler's, and the kernel's conventions where a macro stands for the file:
//
// - "b.h" is the file of that name in the directory of the one that includes it, if there is one.
//   Else it is, like <a/b.h>, found in one of many directories: any path that ends in it may be
//   meant.
// - TRACE_INCLUDE(TRACE_INCLUDE_FILE) (include/trace/define_trace.h) reads a header with trace
//   events again; that header says its own name as TRACE_INCLUDE_FILE or TRACE_SYSTEM.
// - CONFIG_* comes from include/generated/autoconf.h, which is a part of the tree, or is not set.
// - Another macro stands for what any file of the tree defines it as. One that none defines may be
//   any file.
//
// Rejected: asking the compiler (-M) for every C file, which takes minutes; names without
// directories, as for packages: "trace.h" and "internal.h" lead everywhere.
#include "builder/kernel/include_graph.h"

#include "base/file_system.h"
#include "builder/include_scan.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t scanned_file_bytes_max = uint64_t{32} << 20;

bool names_a_trace_header(std::string_view macro) {
  return macro == "TRACE_INCLUDE_FILE" || macro == "TRACE_SYSTEM";
}

std::string beside(const std::string& path, std::string_view text) {
  return (fs::path(path).parent_path() / text).lexically_normal();
}

}  // namespace

IncludeGraph::IncludeGraph(const fs::path& root) {
  std::error_code failure;
  fs::recursive_directory_iterator end;
  for (fs::recursive_directory_iterator at(root, failure); !failure && at != end;
       at.increment(failure)) {
    std::error_code ignored;
    fs::path ending = at->path().extension();
    if ((ending == ".c" || ending == ".h" || ending == ".inc") && at->is_regular_file(ignored))
      read(root, at->path().lexically_relative(root));
  }
  link();
}

void IncludeGraph::read(const fs::path& root, const std::string& path) {
  File& file = files_[path];
  by_name_[fs::path(path).filename()].push_back(path);
  auto text = read_text(root / path, scanned_file_bytes_max);
  if (!text.ok()) return;
  IncludeLines lines = included_names(*text);
  for (const std::string& spelt : lines.spelt)
    (spelt.front() == '"' ? file.quoted : file.angled).push_back(spelt.substr(1, spelt.size() - 2));
  for (std::string& macro : lines.macros) file.macros.push_back(std::move(macro));
  for (const auto& [macro, name] : lines.definitions) definitions_[macro].insert(name);
  for (const auto& [macro, word] : lines.words)
    if (names_a_trace_header(macro))
      file.read_again.push_back(fs::path(word).filename().native() + ".h");
  for (std::string& macro : lines.other_definitions) unclear_.insert(std::move(macro));
}

void IncludeGraph::link() {
  for (const auto& [path, file] : files_) {
    for (const std::string& text : file.quoted) link_quoted(path, text);
    for (const std::string& text : file.angled) link_by_ending(path, text);
    for (const std::string& macro : file.macros) link_macro(path, macro);
    for (const std::string& name : file.read_again)
      if (fs::path(path).filename() != name) link_by_ending(path, name);
  }
}

void IncludeGraph::link_quoted(const std::string& from, const std::string& text) {
  std::string near = beside(from, text);
  if (files_.contains(near))
    includers_[near].insert(from);
  else
    link_by_ending(from, text);
}

void IncludeGraph::link_by_ending(const std::string& from, std::string_view text) {
  if (size_t up = text.rfind("../"); up != std::string_view::npos) text.remove_prefix(up + 3);
  auto named = by_name_.find(fs::path(text).filename());
  if (named == by_name_.end()) return;
  for (const std::string& path : named->second) {
    bool ends = path.ends_with(text) &&
                (path.size() == text.size() || path[path.size() - text.size() - 1] == '/');
    if (ends) includers_[path].insert(from);
  }
}

void IncludeGraph::link_macro(const std::string& from, const std::string& macro) {
  if (macro == "TRACE_INCLUDE()") return;
  auto known = definitions_.find(macro);
  if (known != definitions_.end())
    for (const std::string& name : known->second) link_by_ending(from, name);
  bool is_unset = known == definitions_.end() && macro.starts_with("CONFIG_");
  if (unclear_.contains(macro) || (known == definitions_.end() && !is_unset)) any_.insert(from);
}

std::set<std::string> IncludeGraph::may_include(const std::set<std::string>& paths) const {
  std::set<std::string> all(paths), found;
  all.insert(any_.begin(), any_.end());
  std::vector<std::string> open(all.begin(), all.end());
  while (!open.empty()) {
    std::string path = std::move(open.back());
    open.pop_back();
    if (path.ends_with(".c") && !paths.contains(path)) found.insert(path);
    auto includers = includers_.find(path);
    if (includers == includers_.end()) continue;
    for (const std::string& includer : includers->second)
      if (all.insert(includer).second) open.push_back(includer);
  }
  return found;
}

}  // namespace livecare::builder
