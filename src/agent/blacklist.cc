// Expressions are matched by RE2, which is linear in time and bounded in memory whatever the
// pattern: regcomp(3) of glibc is neither (a few stars in a row take minutes, nested bounds
// gigabytes), and whoever may write a list must not be able to hang the agent with it.
#include "agent/blacklist.h"

#include <fnmatch.h>
#include <re2/re2.h>

#include "base/file_system.h"

namespace livecare::agent {

namespace {

constexpr size_t pattern_bytes_max = 1024;
constexpr int64_t expression_bytes_max = 1 << 20;

// POSIX extended syntax over bytes: paths need not be UTF-8.
RE2::Options expression_options() {
  RE2::Options options;
  options.set_posix_syntax(true);
  options.set_perl_classes(true);  // \d \s \w \b, as GNU's regcomp has
  options.set_word_boundary(true);
  options.set_one_line(true);
  options.set_dot_nl(true);
  options.set_never_capture(true);
  options.set_encoding(RE2::Options::EncodingLatin1);
  options.set_log_errors(false);
  options.set_max_mem(expression_bytes_max);
  return options;
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

  // Empty: good.
  std::string compile() {
    if (kind != Kind::regex) return "";
    expression = std::make_unique<RE2>(pattern, expression_options());
    return expression->ok() ? "" : expression->error();
  }

  bool matches(const std::string& executable) const {
    switch (kind) {
      case Kind::path:
        return ::fnmatch(pattern.c_str(), executable.c_str(), 0) == 0;
      case Kind::filename:
        return ::fnmatch(pattern.c_str(), executable.c_str() + (executable.rfind('/') + 1), 0) == 0;
      case Kind::regex:
        return RE2::PartialMatch(executable, *expression);
    }
    return false;
  }

  Kind kind;
  std::string pattern;
  std::string text;  // the whole line
  std::unique_ptr<RE2> expression;
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
