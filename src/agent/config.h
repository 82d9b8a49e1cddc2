// /etc/sysconfig/kcare/kcare.conf: KEY=VALUE lines, # comments, values bare or in quotes. A key
// that nobody knows is a warning that names the line; a value that a key cannot hold is an error
// that names key, value and what is allowed. set() changes one value and leaves every other byte of
// the file as it was.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "agent/date.h"
#include "base/result.h"

namespace livecare::agent {

inline constexpr uint64_t config_bytes_max = 1 << 20;

class Config {
 public:
  static Result<Config> parse(std::string_view text, std::string_view name, Day now);
  // A missing file is an empty one.
  static Result<Config> load(const std::filesystem::path& path, Day now);

  // The value of a known key, or its default. Where a key is given twice the last one counts.
  std::string get(std::string_view key) const;
  bool flag(std::string_view key) const;
  std::vector<std::string> list(std::string_view key) const;

  Status set(std::string_view key, std::string_view value, Day now);
  Status save(const std::filesystem::path& path) const;

  const std::string& text() const { return text_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Entry {
    std::string key;
    std::string value;
    size_t value_begin = 0;  // in text_, quotes included
    size_t value_size = 0;
  };
  Status parse_line(size_t begin, size_t size, size_t number, Day now);
  const Entry* find(std::string_view key) const;

  std::string name_;
  std::string text_;
  std::vector<Entry> entries_;
  std::vector<std::string> warnings_;
};

}  // namespace livecare::agent
