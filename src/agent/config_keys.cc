#include "agent/config_keys.h"

#include <strings.h>

#include <algorithm>
#include <initializer_list>

namespace livecare::agent {

namespace {

constexpr size_t integer_digits_max = 9;

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool one_of(std::string_view value, std::initializer_list<std::string_view> allowed) {
  return std::any_of(allowed.begin(), allowed.end(), [&](auto each) { return same(each, value); });
}

bool is_integer(std::string_view value) {
  return !value.empty() && value.size() <= integer_digits_max &&
         value.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_boolean(std::string_view value, Day) {
  return parse_boolean(value).has_value();
}
bool is_method(std::string_view value, Day) {
  return one_of(value, {"normal", "nofreeze", "smart"});
}
bool is_policy(std::string_view value, Day) {
  return one_of(value, {"REMOTE", "LOCAL", "LOCAL_FIRST"});
}
bool is_type(std::string_view value, Day) {
  return one_of(value, {"default", "extra", "free"});
}
bool is_group(std::string_view value, Day) {
  return is_integer(value);
}

bool is_url(std::string_view value, Day) {
  for (std::string_view scheme : {"http://", "https://", "file:///"})
    if (value.starts_with(scheme) && value.size() > scheme.size())
      return value.find_first_of(" \t") == std::string_view::npos;
  return false;
}

bool is_optional_url(std::string_view value, Day now) {
  return value.empty() || is_url(value, now);
}

// Becomes a path component of the patch server.
bool is_prefix(std::string_view value, Day) {
  return value.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
         std::string_view::npos;
}

bool is_duration(std::string_view value, Day) {
  if (value.empty()) return true;
  char unit = value.back();
  return (unit == 'h' || unit == 'd') && is_integer(value.substr(0, value.size() - 1));
}

// A date that has aged past the limit stays valid: the level is kept, with a warning, at update.
bool is_sticky(std::string_view value, Day now) {
  if (value.empty() || same(value, "KEY")) return true;
  auto day = parse_day(value);
  return day && *day < now;
}

bool is_patchset_name(std::string_view value, Day) {
  return value.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
         std::string_view::npos;
}

bool is_patch_list(std::string_view value, Day) {
  while (!value.empty()) {
    size_t comma = value.find(',');
    std::string_view item = value.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (!one_of(item, {"libs", "qemu", "db"})) return false;
    value.remove_prefix(comma == std::string_view::npos ? value.size() : comma + 1);
  }
  return true;
}

constexpr std::string_view booleans = "YES or NO, True or False, 1 or 0";
constexpr std::string_view urls = "an address that begins with https://, http:// or file:///";
constexpr std::string_view durations = "a number of hours or days: 12h, 2d";
constexpr std::string_view patchset_names = "the name of a patchset: U20261122_01";

constexpr ConfigKey keys[] = {
    {"AUTO_UPDATE", "YES", booleans, is_boolean},
    {"PATCH_METHOD", "normal", "normal, nofreeze or smart", is_method},
    {"PATCH_SERVER", "", urls, is_optional_url},
    {"REGISTRATION_URL", "", urls, is_optional_url},
    {"PREFIX", "", "letters, digits, _ and -", is_prefix},
    {"UPDATE_POLICY", "REMOTE", "REMOTE, LOCAL or LOCAL_FIRST", is_policy},
    {"IGNORE_UNKNOWN_KERNEL", "False", booleans, is_boolean},
    {"LOAD_KCARE_SYSCTL", "True", booleans, is_boolean},
    {"PATCH_TYPE", "default", "default, extra or free", is_type},
    {"STICKY_PATCH", "", "KEY, or a day before today as DDMMYY, DDMMYYYY or YYYY-MM-DD", is_sticky},
    {"REPORT_FQDN", "False", booleans, is_boolean},
    {"FORCE_GID", "48", "a group ID", is_group},
    {"USERSPACE_PATCHES", "libs,qemu,db", "libs, qemu and db, separated by commas", is_patch_list},
    {"UPDATE_DELAY", "", durations, is_duration},
    {"AUTO_UPDATE_DELAY", "", durations, is_duration},
    {"STICKY_PATCHSET", "", patchset_names, is_patchset_name},
    {"AUTO_STICKY_PATCHSET", "", patchset_names, is_patchset_name},
    {"HTTPS_PROXY", "", urls, is_optional_url},
};

}  // namespace

const ConfigKey* find_config_key(std::string_view name) {
  for (const ConfigKey& key : keys)
    if (key.name == name) return &key;
  return nullptr;
}

std::optional<bool> parse_boolean(std::string_view text) {
  if (one_of(text, {"YES", "True", "1"})) return true;
  if (one_of(text, {"NO", "False", "0"})) return false;
  return std::nullopt;
}

}  // namespace livecare::agent
