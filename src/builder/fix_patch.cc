#include "builder/fix_patch.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "base/text.h"

namespace livecare::builder {

namespace {

std::string_view without_cr(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// The name in "\"a/with \\\"quote\\\" and \\303\\244\"", as git quotes; the rest stays in text.
std::string quoted_name(std::string_view& text) {
  std::string name;
  size_t at = 1;
  for (; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] != '\\' || at + 1 == text.size()) {
      name += text[at];
      continue;
    }
    char c = text[++at];
    int value = 0, digits = 0;
    while (digits < 3 && at < text.size() && text[at] >= '0' && text[at] <= '7') {
      value = value * 8 + (text[at++] - '0');
      ++digits;
    }
    if (digits > 0) {
      name += static_cast<char>(value);
      --at;
    } else {
      name += c == 't' ? '\t' : c == 'n' ? '\n' : c;
    }
  }
  text.remove_prefix(std::min(at + 1, text.size()));
  return name;
}

// "a/lib/url.c\t2024-01-01 ..." or "\"a/with space\"".
std::string header_path(std::string_view text) {
  text = without_cr(text);
  if (text.starts_with("\"")) return quoted_name(text);
  size_t tab = text.find('\t');
  text = text.substr(0, tab);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text == "/dev/null" ? std::string() : std::string(text);
}

// The names of "diff --git a/x b/x", the first two words left out.
void git_names(std::string_view names, std::string& old_path, std::string& new_path) {
  if (names.starts_with("\"")) {
    old_path = quoted_name(names);
    new_path = header_path(names.substr(std::min<size_t>(names.size(), 1)));
    return;
  }
  // Both halves are equal but for a/ and b/ unless it is a rename.
  if (names.size() % 2 == 1 && names[names.size() / 2] == ' ') {
    std::string_view first = names.substr(0, names.size() / 2);
    std::string_view second = names.substr(names.size() / 2 + 1);
    if (first.substr(first.find('/') + 1) == second.substr(second.find('/') + 1)) {
      old_path = first;
      new_path = second;
      return;
    }
  }
  size_t middle = std::min(names.find(" b/"), names.find(" \"b/"));
  if (middle == std::string_view::npos) middle = names.find(' ');
  if (middle == std::string_view::npos) return;
  old_path = names.substr(0, middle);
  new_path = header_path(names.substr(middle + 1));
}

bool read_number(std::string_view& text, uint64_t& number) {
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{}) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

// "-10,7" with the sign given; a missing count is 1.
bool read_range(std::string_view& text, char sign, uint64_t& line, uint64_t& count) {
  if (text.empty() || text.front() != sign) return false;
  text.remove_prefix(1);
  if (!read_number(text, line)) return false;
  count = 1;
  if (!text.empty() && text.front() == ',') {
    text.remove_prefix(1);
    return read_number(text, count);
  }
  return true;
}

class Parser {
 public:
  Parser(std::string_view text, std::string name) : lines_(split_lines(text)) {
    fix_.name = std::move(name);
  }

  Result<FixPatch> parse() {
    while (at_ < lines_.size()) {
      std::string_view line = without_cr(lines_[at_]);
      if (line.starts_with("diff --git ")) {
        TRY_STATUS(git_header(line));
      } else if (is_file_header()) {
        TRY_STATUS(file(FilePatch{}));
      } else if (line.starts_with("Binary files ") && line.ends_with(" differ")) {
        TRY_STATUS(plain_binary(line));
      } else if (line.starts_with("GIT binary patch")) {
        return bad("a binary change without a git header; leave it out of the fix");
      } else {
        if (fix_.files.empty()) header_ += std::string(line) + "\n";
        ++at_;
      }
    }
    if (fix_.files.empty())
      return make_error(ErrorCode::invalid_input, fix_.name,
                        "holds no unified diff; make one with diff -u, git diff or quilt");
    describe();
    return std::move(fix_);
  }

 private:
  Error bad(std::string_view what) const {
    return make_error(ErrorCode::invalid_input, fix_.name, "line {}: {}", at_ + 1, what);
  }

  Status git_header(std::string_view line) {
    FilePatch patch;
    git_names(line.substr(11), patch.old_path, patch.new_path);
    bool is_new = false, is_deleted = false;
    for (++at_; at_ < lines_.size(); ++at_) {
      std::string_view next = without_cr(lines_[at_]);
      if (next.starts_with("new file mode"))
        is_new = true;
      else if (next.starts_with("deleted file mode"))
        is_deleted = true;
      else if (next.starts_with("rename from ") || next.starts_with("rename to ") ||
               next.starts_with("copy from ") || next.starts_with("copy to "))
        patch.is_rename = true;
      else if (next.starts_with("Binary files ") || next.starts_with("GIT binary patch")) {
        patch.is_binary = true;
        ++at_;
        if (next.starts_with("GIT binary patch")) skip_binary();
        break;
      } else if (!next.starts_with("index ") && !next.starts_with("similarity ") &&
                 !next.starts_with("old mode ") && !next.starts_with("new mode ") &&
                 !next.starts_with("dissimilarity "))
        break;
    }
    if (is_new) patch.old_path.clear();
    if (is_deleted) patch.new_path.clear();
    if (!patch.is_binary && is_file_header()) return file(std::move(patch));
    bool means_something = patch.is_binary || patch.is_rename || is_new || is_deleted;
    if (means_something) fix_.files.push_back(std::move(patch));
    return ok_status();
  }

  bool is_file_header() const {
    return at_ + 1 < lines_.size() && lines_[at_].starts_with("--- ") &&
           lines_[at_ + 1].starts_with("+++ ");
  }

  void skip_binary() {
    while (at_ < lines_.size() && !lines_[at_].starts_with("diff ") &&
           !lines_[at_].starts_with("Binary files ") && !lines_[at_].starts_with("-- ") &&
           !is_file_header())
      ++at_;
  }

  // "Binary files a/x and b/x differ" of a plain diff.
  Status plain_binary(std::string_view line) {
    constexpr std::string_view begin = "Binary files ", end = " differ", between = " and ";
    size_t middle = line.find(between, begin.size());
    if (middle == std::string_view::npos)
      return bad("a binary change that names no files; leave it out of the fix");
    FilePatch patch;
    patch.is_binary = true;
    patch.old_path = header_path(line.substr(begin.size(), middle - begin.size()));
    line = line.substr(middle + between.size());
    patch.new_path = header_path(line.substr(0, line.size() - end.size()));
    fix_.files.push_back(std::move(patch));
    ++at_;
    return ok_status();
  }

  Status file(FilePatch patch) {
    patch.old_path = header_path(lines_[at_].substr(4));
    patch.new_path = header_path(lines_[at_ + 1].substr(4));
    if (patch.old_path.empty() && patch.new_path.empty()) return bad("both names are /dev/null");
    at_ += 2;
    while (at_ < lines_.size() && lines_[at_].starts_with("@@ ")) TRY_STATUS(hunk(patch));
    if (patch.hunks.empty() && at_ < lines_.size() && lines_[at_].starts_with("@@@"))
      return bad("a diff of a merge; make one against a single parent (git diff PARENT COMMIT)");
    if (patch.hunks.empty()) return bad("a file header without hunks");
    // "--- x.orig  1970-01-01" of diff -N: a new file as well.
    const Hunk& first = patch.hunks.front();
    bool only_adds = std::all_of(first.lines.begin(), first.lines.end(),
                                 [](const HunkLine& line) { return line.kind == '+'; });
    if (patch.hunks.size() == 1 && first.old_line == 0 && only_adds) patch.old_path.clear();
    fix_.files.push_back(std::move(patch));
    return ok_status();
  }

  Status hunk(FilePatch& patch) {
    Hunk hunk;
    hunk.header = without_cr(lines_[at_]);
    std::string_view text = lines_[at_].substr(3);
    uint64_t old_count = 0, new_count = 0;
    if (!read_range(text, '-', hunk.old_line, old_count) || !text.starts_with(" "))
      return bad("damaged hunk header");
    text.remove_prefix(1);
    if (!read_range(text, '+', hunk.new_line, new_count)) return bad("damaged hunk header");
    if (std::max({hunk.old_line, hunk.new_line, old_count, new_count}) > fix_bytes_max)
      return bad("damaged hunk header: no file has so many lines");
    ++at_;
    while (old_count > 0 || new_count > 0 ||
           (at_ < lines_.size() && lines_[at_].starts_with("\\"))) {
      if (at_ == lines_.size()) return bad("the fix ends in the middle of a hunk");
      std::string_view line = lines_[at_];
      if (line.starts_with("\\")) {
        if (!hunk.lines.empty()) hunk.lines.back().no_newline = true;
        ++at_;
        continue;
      }
      char kind = without_cr(line).empty() ? ' ' : line.front();  // mailers strip lone blanks
      if (kind != ' ' && kind != '-' && kind != '+')
        return bad("damaged hunk: neither ' ', '-' nor '+'");
      uint64_t old_lines = kind != '+' ? 1 : 0;
      uint64_t new_lines = kind != '-' ? 1 : 0;
      if (old_lines > old_count || new_lines > new_count)
        return bad("the hunk has more lines than its header says");
      old_count -= old_lines;
      new_count -= new_lines;
      hunk.lines.push_back({kind, std::string(line.empty() ? line : line.substr(1)), false});
      ++at_;
    }
    patch.hunks.push_back(std::move(hunk));
    return ok_status();
  }

  void describe() {
    for (std::string_view line : split_lines(header_)) {
      for (std::string_view field : {"Description:", "Subject:"}) {
        if (!fix_.description.empty() || !line.starts_with(field)) continue;
        line.remove_prefix(field.size());
        while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
        if (line.starts_with("[PATCH")) {
          size_t end = line.find("] ");
          if (end != std::string_view::npos) line.remove_prefix(end + 2);
        }
        fix_.description = line;
      }
    }
    fix_.cves = find_cves(fix_.name);
    if (fix_.cves.empty()) fix_.cves = find_cves(header_);
  }

  std::vector<std::string_view> lines_;
  size_t at_ = 0;
  std::string header_;
  FixPatch fix_;
};

// The lines of a file without their ends, and what the ends were.
struct Text {
  std::vector<std::string_view> lines;
  std::vector<bool> has_cr;
  bool mostly_cr = false;  // for lines that come in
  bool ends_with_newline = true;
};

Text read_content(std::string_view content) {
  Text text;
  text.ends_with_newline = content.empty() || content.back() == '\n';
  text.lines = split_lines(content);
  size_t count = 0;
  for (auto& line : text.lines) {
    text.has_cr.push_back(line.ends_with('\r'));
    count += text.has_cr.back() ? 1 : 0;
    line = without_cr(line);
  }
  text.mostly_cr = count * 2 > text.lines.size();
  return text;
}

// The lines of one side of a hunk, with `fuzz` lines of context dropped at both ends.
std::vector<std::string_view> side(const Hunk& hunk, char changed, size_t skip_front,
                                   size_t skip_back) {
  std::vector<std::string_view> lines;
  for (size_t i = skip_front; i + skip_back < hunk.lines.size(); ++i)
    if (hunk.lines[i].kind == ' ' || hunk.lines[i].kind == changed)
      lines.push_back(without_cr(hunk.lines[i].text));
  return lines;
}

bool is_at(const std::vector<std::string_view>& text, size_t at,
           const std::vector<std::string_view>& wanted) {
  return at <= text.size() && wanted.size() <= text.size() - at &&
         std::equal(wanted.begin(), wanted.end(), text.begin() + static_cast<ptrdiff_t>(at));
}

// The place nearest to `expected` where every wanted line is equal.
std::optional<size_t> find_nearest(const std::vector<std::string_view>& text, size_t expected,
                                   size_t floor, const std::vector<std::string_view>& wanted) {
  expected = std::min(expected, text.size());
  for (size_t distance = 0; distance <= text.size(); ++distance) {
    if (is_at(text, expected + distance, wanted)) return expected + distance;
    if (distance <= expected && expected - distance >= floor &&
        is_at(text, expected - distance, wanted))
      return expected - distance;
  }
  return std::nullopt;
}

struct Place {
  size_t at = 0;
  size_t skip_front = 0;
  size_t skip_back = 0;
};

std::optional<Place> place_hunk(const Hunk& hunk, const std::vector<std::string_view>& text,
                                size_t expected, size_t floor, unsigned fuzz) {
  size_t front = 0, back = 0;
  while (front < hunk.lines.size() && hunk.lines[front].kind == ' ') ++front;
  while (back < hunk.lines.size() - front && hunk.lines[hunk.lines.size() - 1 - back].kind == ' ')
    ++back;
  for (size_t skip = 0; skip <= fuzz; ++skip) {
    size_t skip_front = std::min(skip, front), skip_back = std::min(skip, back);
    auto wanted = side(hunk, '-', skip_front, skip_back);
    // What has no line to be recognised by has its place in an empty file only.
    if (wanted.empty() && !text.empty()) continue;
    if (auto at = find_nearest(text, std::max(expected + skip_front, floor), floor, wanted))
      return Place{*at, skip_front, skip_back};
  }
  return std::nullopt;
}

Error not_applicable(const Hunk& hunk, const Text& text, std::string_view name, size_t expected) {
  auto result = side(hunk, '+', 0, 0);
  bool removes_or_adds = std::any_of(hunk.lines.begin(), hunk.lines.end(),
                                     [](const HunkLine& line) { return line.kind != ' '; });
  if (removes_or_adds && !result.empty() && find_nearest(text.lines, expected, 0, result))
    return make_error(ErrorCode::invalid_input, name,
                      "hunk {} is applied already; this version has that part of the fix",
                      hunk.header);
  std::string first;
  auto wanted = side(hunk, '-', 0, 0);
  if (wanted.empty())
    return make_error(ErrorCode::invalid_input, name,
                      "hunk {} has no line of context, so that its place cannot be checked; make "
                      "the fix with diff -u (three lines of context)",
                      hunk.header);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::find(text.lines.begin(), text.lines.end(), wanted[i]) != text.lines.end()) continue;
    first = fmt::format(" (this line is nowhere in the file: \"{}\")", wanted[i]);
    break;
  }
  return make_error(ErrorCode::invalid_input, name,
                    "hunk {} does not apply{}; refresh the fix against this version, or allow "
                    "lines of context to differ with --fuzz",
                    hunk.header, first);
}

}  // namespace

Result<FixPatch> parse_fix(std::string_view text, std::string name) {
  if (text.size() > fix_bytes_max)
    return make_error(ErrorCode::invalid_input, name, "larger than {} bytes", fix_bytes_max);
  return Parser(text, std::move(name)).parse();
}

std::string strip_path(std::string_view path, unsigned strip) {
  for (unsigned i = 0; i < strip; ++i) {
    size_t slash = path.find('/');
    if (slash == std::string_view::npos) return {};
    path.remove_prefix(slash + 1);
  }
  while (path.starts_with("./")) path.remove_prefix(2);
  if (path.empty() || path.front() == '/') return {};
  std::string padded = "/" + std::string(path) + "/";
  if (padded.find("/../") != std::string::npos) return {};
  return std::string(path);
}

std::string FilePatch::name(unsigned strip,
                            const std::function<bool(const std::string&)>& exists) const {
  for (const std::string& path : {old_path, new_path})
    if (std::string stripped = strip_path(path, strip); !stripped.empty() && exists(stripped))
      return stripped;
  return {};
}

Result<std::string> name_in_tree(const FixPatch& fix, const FilePatch& patch, unsigned strip,
                                 const std::function<bool(const std::string&)>& exists) {
  const std::string& given = patch.is_new() ? patch.new_path : patch.old_path;
  std::string name = patch.name(strip, exists);
  if (name.empty()) name = strip_path(given, strip);
  if (name.empty())
    return make_error(ErrorCode::invalid_input, fix.name,
                      "names {}, which is no file inside the source tree", given);
  return name;
}

unsigned detect_strip(const FixPatch& fix, const std::function<bool(const std::string&)>& exists) {
  unsigned best = 1;
  size_t best_count = 0;
  for (unsigned strip : {1u, 0u, 2u, 3u}) {
    size_t count = 0;
    for (const FilePatch& file : fix.files) {
      count += file.name(strip, exists).empty() ? 0 : 1;
    }
    if (count > best_count) {
      best = strip;
      best_count = count;
    }
  }
  return best;
}

Result<std::string> apply_hunks(const FilePatch& patch, std::string_view content,
                                std::string_view name, unsigned fuzz) {
  Text text = read_content(content);
  std::string out;
  out.reserve(content.size() + content.size() / 8);
  size_t done = 0;  // lines of text that are in out
  int64_t offset = 0;
  bool last_without_newline = false;
  size_t line_end = 1;  // size of the last one in out
  auto emit = [&](std::string_view line, bool has_cr) {
    out += line;
    out += has_cr ? "\r\n" : "\n";
    line_end = has_cr ? 2 : 1;
  };
  auto keep = [&](size_t line) { emit(text.lines[line], text.has_cr[line]); };
  for (const Hunk& hunk : patch.hunks) {
    size_t before = 0;
    for (const HunkLine& line : hunk.lines) before += line.kind != '+' ? 1 : 0;
    // With no old lines the header names the line after which to insert.
    int64_t line = static_cast<int64_t>(hunk.old_line) - (before == 0 ? 0 : 1);
    size_t expected = static_cast<size_t>(std::max<int64_t>(line + offset, 0));
    auto place = place_hunk(hunk, text.lines, expected, done, std::min(fuzz, fuzz_lines_max));
    if (!place) return not_applicable(hunk, text, name, expected);
    offset += static_cast<int64_t>(place->at) - static_cast<int64_t>(expected + place->skip_front);
    while (done < place->at) keep(done++);
    for (size_t i = place->skip_front; i + place->skip_back < hunk.lines.size(); ++i) {
      const HunkLine& hunk_line = hunk.lines[i];
      if (hunk_line.kind == ' ') keep(done);
      if (hunk_line.kind == '+') emit(without_cr(hunk_line.text), text.mostly_cr);
      if (hunk_line.kind != '+') ++done;
      last_without_newline = hunk_line.kind != '-' && hunk_line.no_newline;
    }
  }
  bool tail = done < text.lines.size();
  while (done < text.lines.size()) keep(done++);
  bool newline = tail ? text.ends_with_newline : !last_without_newline;
  if (!newline && !out.empty()) out.resize(out.size() - line_end);
  return out;
}

std::vector<std::string> find_cves(std::string_view any_case) {
  std::vector<std::string> found;
  std::string text(any_case);
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  auto digits = [&](size_t at) {
    size_t count = 0;
    while (at + count < text.size() && std::isdigit(static_cast<unsigned char>(text[at + count])))
      ++count;
    return count;
  };
  for (size_t at = 0; (at = text.find("CVE-", at)) != std::string::npos; at += 4) {
    if (digits(at + 4) != 4 || at + 8 >= text.size() || text[at + 8] != '-') continue;
    size_t number = digits(at + 9);
    if (number < 4) continue;
    std::string cve = text.substr(at, 9 + number);
    if (std::find(found.begin(), found.end(), cve) == found.end()) found.push_back(std::move(cve));
  }
  return found;
}

}  // namespace livecare::builder
