// A source fix: a unified diff (plain, git, quilt with DEP-3 header, mail) and how it is applied.
//
// Hunks are applied at the place they name or, when lines moved, at the nearest place where every
// line of context is equal; context is not skipped (no fuzz) unless the caller allows it. A hunk
// whose result is there already is an error of its own: it is the most common mistake.
// Line ends: a fix with CRLF applies to files with LF and the other way round; every line of the
// file keeps its own, and new lines get those of most lines. Pure, thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace livecare::builder {

inline constexpr uint64_t fix_bytes_max = uint64_t{64} << 20;
inline constexpr unsigned fuzz_lines_max = 3;

struct HunkLine {
  char kind = ' ';          // ' ', '-', '+'
  std::string text;         // without the line end
  bool no_newline = false;  // "\ No newline at end of file" follows
};

struct Hunk {
  uint64_t old_line = 0;  // 1-based; 0 for a new file
  uint64_t new_line = 0;
  std::string header;  // "@@ -10,7 +10,8 @@ function"
  std::vector<HunkLine> lines;
};

struct FilePatch {
  std::string old_path;  // as written; empty: /dev/null
  std::string new_path;
  bool is_binary = false;
  bool is_rename = false;
  std::vector<Hunk> hunks;

  bool is_new() const { return old_path.empty(); }
  bool is_deleted() const { return new_path.empty(); }
  // The file that it changes: the old name or else the new one ("diff -u url.c.orig url.c"), as far
  // as that is there.
  std::string name(unsigned strip, const std::function<bool(const std::string&)>& exists) const;
};

struct FixPatch {
  std::string name;               // file name
  std::string description;        // one line: Description or Subject of the header, may be empty
  std::vector<std::string> cves;  // from the file name, else from the header
  std::vector<FilePatch> files;
};

Result<FixPatch> parse_fix(std::string_view text, std::string name);

// Drops `strip` leading directories: strip_path("a/lib/url.c", 1) is "lib/url.c".
// Empty when nothing is left or the result would leave the tree ("../x").
std::string strip_path(std::string_view path, unsigned strip);

// How many leading directories to drop so that most of the fix's files are there; exists gets a
// stripped path. Prefers 1, then 0, 2, 3.
unsigned detect_strip(const FixPatch& fix, const std::function<bool(const std::string&)>& exists);

// Which file of the tree a part of the fix is for; it need not be there yet. invalid_input: none.
Result<std::string> name_in_tree(const FixPatch& fix, const FilePatch& patch, unsigned strip,
                                 const std::function<bool(const std::string&)>& exists);

// The file's content after all hunks. Errors name the hunk. remedy is appended to them.
Result<std::string> apply_hunks(const FilePatch& patch, std::string_view content,
                                std::string_view name, unsigned fuzz = 0);

// Every "CVE-YYYY-N..." of a text (in any case), in order, once, in capitals.
std::vector<std::string> find_cves(std::string_view any_case);

}  // namespace livecare::builder
