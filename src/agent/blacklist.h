// Which processes the agent leaves alone. Grammar, one rule a line:
//
//   # comment
//   path:/usr/sbin/mysqld        the executable's path; * ? [...] as in the shell, * also matches /
//   filename:qemu-*              the executable's file name, same wildcards
//   regex:^/opt/(a|b)/           POSIX extended expression without back references, found anywhere
//
// A line that is none of these is an error: a list that is half understood protects half of what it
// should. Immutable after parsing; matches() is thread-safe.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/paths.h"
#include "base/result.h"

namespace livecare::agent {

inline constexpr uint64_t blacklist_bytes_max = 1 << 20;
inline constexpr size_t blacklist_rules_max = 10'000;

class Blacklist {
 public:
  static Result<Blacklist> parse(std::string_view text, std::string_view name);
  // The local list if there is one (it replaces the packaged one), else the packaged one, else
  // none.
  static Result<Blacklist> load(const Paths& paths);

  Blacklist(Blacklist&&) noexcept;
  Blacklist& operator=(Blacklist&&) noexcept;
  ~Blacklist();

  // The text of the first rule that matches, empty when none does.
  std::string match(const std::string& executable) const;
  size_t size() const;

 private:
  struct Rule;
  Blacklist();
  std::vector<std::unique_ptr<Rule>> rules_;
};

}  // namespace livecare::agent
