#include "builder/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace livecare::builder {
namespace {

struct Suite {
  std::string_view name;
  bool has_security = true;
  bool has_backports = false;  // of kernels
};

constexpr auto suites = std::to_array<Suite>(
    {{"bookworm"}, {"bullseye"}, {"trixie", true, true}, {"sid", false, false}});

}  // namespace

Mirrors mirrors_of(std::string_view sources) {
  Mirrors out;
  for (std::string_view line : split_lines(sources)) {
    size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos || line[first] == '#') continue;
    for (size_t at = first; at < line.size();) {
      size_t end = std::min(line.find_first_of(" \t\r,", at), line.size());
      std::string_view word = line.substr(at, end - at);
      at = end + 1;
      if (word.find("://") == std::string_view::npos) continue;
      while (word.ends_with('/')) word.remove_suffix(1);
      // The last part of a mirror's path is "debian", that of the security archive differs.
      bool is_security = word.find("security") != std::string_view::npos;
      bool is_main = !is_security && word.substr(word.rfind('/') + 1) == "debian";
      if (is_security && out.security.empty()) out.security = word;
      if (is_main && out.main.empty()) out.main = word;
    }
  }
  return out;
}

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  names.reserve(std::size(suites));
  for (const Suite& suite : suites) names.emplace_back(suite.name);
  return names;
}

std::string suite_sources(const Mirrors& mirrors, std::string_view name) {
  const auto* suite =
      std::find_if(suites.begin(), suites.end(), [&](const Suite& s) { return s.name == name; });
  if (suite == suites.end() || mirrors.main.empty()) return {};
  std::string out = fmt::format("deb {} {} main\n", mirrors.main, name);
  if (suite->has_security && !mirrors.security.empty())
    out += fmt::format("deb {} {}-security main\n", mirrors.security, name);
  if (suite->has_backports) out += fmt::format("deb {} {}-backports main\n", mirrors.main, name);
  return out;
}

}  // namespace livecare::builder
