#include "builder/include_scan.h"

#include "base/file_system.h"
#include "builder/command_line.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t scanned_file_bytes_max = uint64_t{32} << 20;

bool is_scanned(const fs::path& path) {
  static const std::set<std::string> endings = {".h",   ".hh",  ".hpp", ".hxx", ".H",
                                                ".inc", ".def", ".tcc", ".ipp", ".inl",
                                                ".tbl", ".x",   ".h++", ".ph",  ".template"};
  return language_of(path.native()) != Language::other || endings.contains(path.extension());
}

std::string_view skip_blanks(std::string_view text) {
  size_t at = text.find_first_not_of(" \t");
  return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

// The name in "<a/b.h>" or "\"b.h\"" without directories; empty for anything else.
std::string name_in(std::string_view text) {
  text = skip_blanks(text);
  if (text.empty() || (text.front() != '<' && text.front() != '"')) return {};
  char close = text.front() == '<' ? '>' : '"';
  size_t end = text.find(close, 1);
  if (end == std::string_view::npos) return {};
  return fs::path(text.substr(1, end - 1)).filename();
}

}  // namespace

std::vector<std::string> included_names(std::string_view text) {
  std::vector<std::string> names;
  for (std::string_view word : {"include", "import", "incbin", "embed"}) {
    for (size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; at += word.size()) {
      // "#  include", ".incbin": only blanks between the mark and the word.
      size_t mark = at;
      while (mark > 0 && (text[mark - 1] == ' ' || text[mark - 1] == '\t')) --mark;
      if (mark == 0 || (text[mark - 1] != '#' && text[mark - 1] != '.')) continue;
      std::string_view rest = text.substr(at + word.size(), 512);
      rest = rest.substr(0, rest.find('\n'));
      if (rest.starts_with("_next")) rest.remove_prefix(5);
      if (!rest.empty() && rest.front() != ' ' && rest.front() != '\t' && rest.front() != '<' &&
          rest.front() != '"' && rest.front() != '/')
        continue;
      names.push_back(name_in(rest));
    }
  }
  return names;
}

IncludeScan::IncludeScan(const fs::path& root) {
  std::error_code failure;
  fs::recursive_directory_iterator end;
  for (fs::recursive_directory_iterator at(root, failure); !failure && at != end;
       at.increment(failure)) {
    std::error_code ignored;
    if (!at->is_regular_file(ignored) || !is_scanned(at->path())) continue;
    auto text = read_text(at->path(), scanned_file_bytes_max);
    if (!text.ok()) continue;
    std::string includer = at->path().filename();
    for (std::string& name : included_names(*text)) {
      if (name.empty())
        computed_.insert(includer);
      else
        includers_[std::move(name)].insert(includer);
    }
  }
}

std::set<std::string> IncludeScan::may_include(const std::set<std::string>& names) const {
  std::set<std::string> all(names);
  all.insert(computed_.begin(), computed_.end());
  std::vector<std::string> open(all.begin(), all.end());
  while (!open.empty()) {
    std::string name = std::move(open.back());
    open.pop_back();
    auto found = includers_.find(name);
    if (found == includers_.end()) continue;
    for (const std::string& includer : found->second)
      if (all.insert(includer).second) open.push_back(includer);
  }
  return all;
}

}  // namespace livecare::builder
