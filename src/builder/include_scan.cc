#include "builder/include_scan.h"

#include <cctype>

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

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

std::string_view first_word(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && is_name_character(text[size])) ++size;
  return text.substr(0, size);
}

// One line that begins with '#', which is gone already.
void read_directive(std::string_view line, IncludeLines& found) {
  line = skip_blanks(line);
  std::string_view word = first_word(line);
  std::string_view rest = skip_blanks(line.substr(word.size()));
  if (word == "include" || word == "include_next" || word == "import" || word == "embed") {
    if (std::string name = name_in(rest); !name.empty()) {
      found.names.push_back(std::move(name));
      found.spelt.emplace_back(rest.substr(0, rest.find_first_of(">\"", 1) + 1));
    } else if (std::string_view macro = first_word(rest); !macro.empty()) {
      bool is_call = skip_blanks(rest.substr(macro.size())).starts_with("(");
      found.macros.push_back(std::string(macro) + (is_call ? "()" : ""));
    }
  } else if (word == "define") {
    // #define WEIGHT_H "../locale/weight.h"
    std::string_view macro = first_word(rest);
    std::string name = name_in(rest.substr(macro.size()));
    std::string_view value = skip_blanks(rest.substr(macro.size()));
    if (macro.empty()) return;
    if (!name.empty())
      found.definitions.emplace_back(macro, std::move(name));
    else if (!value.empty() && (is_name_character(value.front()) || value.front() == '(')) {
      found.other_definitions.emplace_back(macro);
      found.words.emplace_back(macro, value.substr(0, value.find_first_of(" \t\r")));
    }
  }
}

// .incbin "file" and .include "file" stand in assembler text anywhere.
void read_assembler(std::string_view text, IncludeLines& found) {
  for (std::string_view word : {".incbin", ".include"})
    for (size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; at += word.size()) {
      std::string_view rest = text.substr(at + word.size(), 512);
      rest = skip_blanks(rest.substr(0, rest.find('\n')));
      while (!rest.empty() && rest.front() == '\\') rest.remove_prefix(1);
      if (rest.empty() || rest.front() != '"') continue;
      std::string name = name_in(rest);
      while (!name.empty() && name.back() == '\\') name.pop_back();  // of the string it stands in
      if (!name.empty()) found.names.push_back(std::move(name));
    }
}

}  // namespace

IncludeLines included_names(std::string_view text) {
  IncludeLines found;
  read_assembler(text, found);
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = skip_blanks(text.substr(0, end));
    if (line.starts_with("#"))
      read_directive(line.substr(1), found);
    else if (line.starts_with("%:"))
      read_directive(line.substr(2), found);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return found;
}

IncludeScan::IncludeScan(const fs::path& root, const std::set<std::string>& outside) {
  std::set<std::string> unclear = outside;                   // macros that may stand for any file
  std::map<std::string, std::set<std::string>> definitions;  // macro: file names
  std::map<std::string, std::set<std::string>> by_macro;     // macro: files that include it
  std::error_code failure;
  fs::recursive_directory_iterator end;
  for (fs::recursive_directory_iterator at(root, failure); !failure && at != end;
       at.increment(failure)) {
    std::error_code ignored;
    if (!at->is_regular_file(ignored) || !is_scanned(at->path())) continue;
    auto text = read_text(at->path(), scanned_file_bytes_max);
    if (!text.ok()) continue;
    std::string includer = at->path().filename();
    IncludeLines lines = included_names(*text);
    for (const std::string& name : lines.names) includers_[name].insert(includer);
    for (const std::string& macro : lines.macros) by_macro[macro].insert(includer);
    for (const auto& [macro, name] : lines.definitions) definitions[macro].insert(name);
    for (std::string& macro : lines.other_definitions) unclear.insert(std::move(macro));
  }
  for (const auto& [macro, files] : by_macro) {
    auto known = definitions.find(macro);
    // A macro that gets its value on the command line, or is put together: may be any file.
    if (known == definitions.end() || unclear.contains(macro))
      computed_.insert(files.begin(), files.end());
    if (known != definitions.end())
      for (const std::string& name : known->second)
        includers_[name].insert(files.begin(), files.end());
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
