// Expressions are compiled by regcomp(3). A bounded repeat of a bounded repeat multiplies into
// gigabytes there (x+ is a copy of x and x*, so plus counts as two when it repeats more than a
// single character), and a back reference makes matching exponential, so a pattern may have
// neither: the product of all upper bounds is limited and back references are refused.
#include "agent/blacklist.h"

#include <fnmatch.h>
#include <regex.h>

#include <charconv>

#include "base/file_system.h"

namespace livecare::agent {

namespace {

constexpr size_t pattern_bytes_max = 1024;
constexpr uint64_t repeats_max = 1000;

// Empty when the pattern is acceptable, else what is wrong with it.
std::string_view objection(std::string_view pattern) {
  uint64_t repeats = 1;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      if (pattern[i + 1] >= '1' && pattern[i + 1] <= '9') return "uses a back reference";
      ++i;
      continue;
    }
    uint64_t bound = 1;
    bool repeats_more =
        i > 0 && std::string_view(")+*?}").find(pattern[i - 1]) != std::string_view::npos;
    if (pattern[i] == '+' && repeats_more) {
      bound = 2;
    } else if (pattern[i] != '{') {
      continue;
    }
    for (size_t at = i + 1; pattern[i] == '{' && at < pattern.size() && pattern[at] != '}'; ++at) {
      uint64_t number = 0;
      auto [end, error] =
          std::from_chars(pattern.data() + at, pattern.data() + pattern.size(), number);
      if (error == std::errc::result_out_of_range) return "repeats too often";
      if (error != std::errc()) continue;
      bound = std::max(bound, number);
      at = static_cast<size_t>(end - pattern.data()) - 1;
    }
    if (bound > repeats_max || repeats * bound > repeats_max) return "repeats too often";
    repeats *= bound;
  }
  return {};
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

}  // namespace

struct Blacklist::Rule {
  enum class Kind { path, filename, regex };

  Rule(Kind rule_kind, std::string_view rule_pattern) : kind(rule_kind), pattern(rule_pattern) {}
  ~Rule() {
    if (compiled) ::regfree(&expression);
  }
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;

  // Empty: good.
  std::string compile() {
    if (kind != Kind::regex) return "";
    if (auto problem = objection(pattern); !problem.empty()) return std::string(problem);
    int code = ::regcomp(&expression, pattern.c_str(), REG_EXTENDED | REG_NOSUB);
    if (code == 0) {
      compiled = true;
      return "";
    }
    char message[128];
    ::regerror(code, &expression, message, sizeof(message));
    return message;
  }

  bool matches(const std::string& executable) const {
    switch (kind) {
      case Kind::path:
        return ::fnmatch(pattern.c_str(), executable.c_str(), 0) == 0;
      case Kind::filename:
        return ::fnmatch(pattern.c_str(), executable.c_str() + (executable.rfind('/') + 1), 0) == 0;
      case Kind::regex:
        return ::regexec(&expression, executable.c_str(), 0, nullptr, 0) == 0;
    }
    return false;
  }

  Kind kind;
  std::string pattern;
  std::string text;  // the whole line
  regex_t expression{};
  bool compiled = false;
};

Blacklist::Blacklist() = default;
Blacklist::Blacklist(Blacklist&&) noexcept = default;
Blacklist& Blacklist::operator=(Blacklist&&) noexcept = default;
Blacklist::~Blacklist() = default;

Result<Blacklist> Blacklist::parse(std::string_view text, std::string_view name) {
  static constexpr std::pair<std::string_view, Rule::Kind> prefixes[] = {
      {"path:", Rule::Kind::path},
      {"filename:", Rule::Kind::filename},
      {"regex:", Rule::Kind::regex}};
  Blacklist list;
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line[0] == '#') continue;
    auto bad = [&](std::string_view problem) {
      return make_error(ErrorCode::invalid_input, fmt::format("{}:{}", name, number),
                        "{}; a line is path:, filename: or regex: with a pattern, or a # comment",
                        problem);
    };
    std::unique_ptr<Rule> rule;
    for (const auto& [prefix, kind] : prefixes)
      if (line.starts_with(prefix))
        rule = std::make_unique<Rule>(kind, trim(line.substr(prefix.size())));
    if (!rule) return bad("is no rule");
    if (rule->pattern.empty()) return bad("has no pattern");
    if (rule->pattern.find('\0') != std::string::npos) return bad("has a NUL in it");
    if (rule->pattern.size() > pattern_bytes_max) return bad("pattern is longer than 1024 bytes");
    if (auto problem = rule->compile(); !problem.empty()) return bad("pattern " + problem);
    rule->text = line;
    list.rules_.push_back(std::move(rule));
    if (list.rules_.size() > blacklist_rules_max) return bad("is one rule too many (10000)");
  }
  return list;
}

Result<Blacklist> Blacklist::load(const Paths& paths) {
  for (const auto& path : {paths.local_blacklist, paths.packaged_blacklist}) {
    auto text = read_text(path, blacklist_bytes_max);
    if (text.ok()) return parse(*text, path.native());
    if (text.error().code != ErrorCode::not_found) return text.take_error();
  }
  return Blacklist();
}

std::string Blacklist::match(const std::string& executable) const {
  for (const auto& rule : rules_)
    if (rule->matches(executable)) return rule->text;
  return "";
}

size_t Blacklist::size() const {
  return rules_.size();
}

}  // namespace livecare::agent
