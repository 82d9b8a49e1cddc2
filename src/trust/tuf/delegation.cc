#include "trust/tuf/delegation.h"

#include <algorithm>

#include "trust/keys.h"

namespace livecare::trust::tuf {

namespace {

size_t character_bytes(std::string_view text) {
  size_t bytes = 1;
  while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) bytes++;
  return bytes;
}

// One element of a pattern that takes one character; sets how many bytes of both it used.
struct Step {
  bool matches = false;
  size_t pattern_bytes = 1;
  size_t text_bytes = 1;
};

bool is_in_set(std::string_view set, unsigned char c) {
  for (size_t i = 0; i < set.size(); ++i) {
    auto low = static_cast<unsigned char>(set[i]);
    if (i + 2 < set.size() && set[i + 1] == '-') {
      if (low <= c && c <= static_cast<unsigned char>(set[i + 2])) return true;
      i += 2;
    } else if (low == c) {
      return true;
    }
  }
  return false;
}

Step step(std::string_view pattern, std::string_view text) {
  if (text.empty()) return {};
  if (pattern[0] == '?') return {true, 1, character_bytes(text)};
  if (pattern[0] == '[') {
    bool is_negated = pattern.size() > 1 && pattern[1] == '!';
    size_t begin = is_negated ? 2 : 1;
    size_t end = pattern.find(']', begin + 1);  // a set holds at least one: []] is the bracket
    if (end != std::string_view::npos) {
      bool is_in =
          is_in_set(pattern.substr(begin, end - begin), static_cast<unsigned char>(text[0]));
      return {is_in != is_negated, end + 1, is_negated ? character_bytes(text) : 1};
    }
  }
  return {pattern[0] == text[0], 1, 1};
}

// No segment holds a slash. After a mismatch the last star takes one byte more: stars before it
// need no second try, so this is not exponential.
bool segment_matches(std::string_view pattern, std::string_view text) {
  size_t at = 0, star = std::string_view::npos, in_text = 0, retry = 0;
  while (in_text < text.size() || at < pattern.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      retry = in_text;
      continue;
    }
    Step next = at < pattern.size() ? step(pattern.substr(at), text.substr(in_text)) : Step();
    if (next.matches) {
      at += next.pattern_bytes;
      in_text += next.text_bytes;
      continue;
    }
    if (star == std::string_view::npos || retry >= text.size()) return false;
    at = star + 1;
    in_text = ++retry;
  }
  return true;
}

std::string_view take_segment(std::string_view& rest) {
  size_t slash = rest.find('/');
  std::string_view segment = rest.substr(0, slash);
  rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash);
  return segment;
}

std::string succinct_name(const SuccinctRoles& roles, std::string_view path) {
  auto digest = sha256(ByteView(path));
  uint32_t first = static_cast<uint32_t>(digest[0]) << 24 | static_cast<uint32_t>(digest[1]) << 16 |
                   static_cast<uint32_t>(digest[2]) << 8 | static_cast<uint32_t>(digest[3]);
  uint64_t last = (uint64_t{1} << roles.bits) - 1;
  size_t digits = fmt::format("{:x}", last).size();
  return fmt::format("{}-{:0{}x}", roles.prefix, first >> (32 - roles.bits), digits);
}

bool speaks_about(const DelegatedRole& role, std::string_view path, const std::string& path_hash) {
  return std::any_of(role.paths.begin(), role.paths.end(),
                     [&](const std::string& pattern) { return path_matches(pattern, path); }) ||
         std::any_of(role.path_hash_prefixes.begin(), role.path_hash_prefixes.end(),
                     [&](const std::string& prefix) { return path_hash.starts_with(prefix); });
}

}  // namespace

bool path_matches(std::string_view pattern, std::string_view path) {
  for (;;) {
    if (!segment_matches(take_segment(pattern), take_segment(path))) return false;
    if (pattern.empty() || path.empty()) return pattern.empty() && path.empty();
    pattern.remove_prefix(1);
    path.remove_prefix(1);
  }
}

std::vector<RoleForPath> roles_for_path(const Delegations& delegations, std::string_view path) {
  std::vector<RoleForPath> found;
  if (delegations.succinct) {
    const SuccinctRoles& roles = *delegations.succinct;
    found.push_back({succinct_name(roles, path), &roles.keys, true});
    return found;
  }
  const std::string path_hash = sha256_hex(ByteView(path));
  for (const DelegatedRole& role : delegations.roles)
    if (speaks_about(role, path, path_hash))
      found.push_back({role.name, &role.keys, role.terminating});
  return found;
}

}  // namespace livecare::trust::tuf
