#include "agent/config.h"

#include <algorithm>

#include "agent/config_keys.h"
#include "base/file_system.h"

namespace livecare::agent {

namespace {

constexpr std::string_view blanks = " \t\r";

Error bad_value(std::string_view where, const ConfigKey& key, std::string_view value) {
  return make_error(ErrorCode::invalid_input, where, "{}={} cannot be; allowed is {}", key.name,
                    value, key.allowed);
}

// The extent of a value that begins at text[begin]: to the closing quote, or to a blank with a # or
// the end. Size 0 and npos begin stand for a quote that does not close.
struct Extent {
  size_t size = 0;  // quotes included
  bool closed = true;
};

Extent value_extent(std::string_view rest) {
  if (rest.empty()) return {};
  if (rest[0] == '"' || rest[0] == '\'') {
    size_t close = rest.find(rest[0], 1);
    return {close == std::string_view::npos ? 0 : close + 1, close != std::string_view::npos};
  }
  size_t end = rest.size();
  for (size_t i = 0; i < rest.size(); ++i)
    if (rest[i] == '#' && (i == 0 || blanks.find(rest[i - 1]) != std::string_view::npos)) {
      end = i;
      break;
    }
  while (end > 0 && blanks.find(rest[end - 1]) != std::string_view::npos) --end;
  return {end, true};
}

std::string_view unquoted(std::string_view value) {
  return value.size() >= 2 && (value[0] == '"' || value[0] == '\'')
             ? value.substr(1, value.size() - 2)
             : value;
}

}  // namespace

Status Config::parse_line(size_t begin, size_t size, size_t number, Day now) {
  std::string_view line = std::string_view(text_).substr(begin, size);
  std::string where = fmt::format("{}:{}", name_, number);
  size_t key_begin = line.find_first_not_of(blanks);
  if (key_begin == std::string_view::npos || line[key_begin] == '#') return ok_status();
  size_t equals = line.find('=');
  if (equals == std::string_view::npos)
    return make_error(ErrorCode::invalid_input, where,
                      "is neither KEY=VALUE nor a # comment; correct or remove the line");
  std::string_view key = line.substr(key_begin, equals - key_begin);
  key = key.substr(0, key.find_last_not_of(blanks) + 1);
  size_t value_begin = std::min(line.find_first_not_of(blanks, equals + 1), line.size());
  Extent extent = value_extent(line.substr(value_begin));
  if (!extent.closed)
    return make_error(ErrorCode::invalid_input, where, "{}: the quote does not close", key);
  const ConfigKey* known = find_config_key(key);
  if (known == nullptr) {
    warnings_.push_back(fmt::format("{}: unknown key {} is ignored", where, key));
    return ok_status();
  }
  std::string_view value = unquoted(line.substr(value_begin, extent.size));
  if (!known->accepts(value, now)) return bad_value(where, *known, value);
  entries_.push_back({std::string(key), std::string(value), begin + value_begin, extent.size});
  return ok_status();
}

Result<Config> Config::parse(std::string_view text, std::string_view name, Day now) {
  Config config;
  config.name_ = name;
  config.text_ = text;
  if (text.find('\0') != std::string_view::npos)
    return make_error(ErrorCode::invalid_input, name, "is not a text file");
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    TRY_STATUS(config.parse_line(begin, end - begin, ++number, now));
    begin = end + 1;
  }
  return config;
}

Result<Config> Config::load(const std::filesystem::path& path, Day now) {
  auto text = read_text(path, config_bytes_max);
  if (!text.ok() && text.error().code == ErrorCode::not_found) return parse("", path.native(), now);
  if (!text.ok()) return text.take_error();
  return parse(*text, path.native(), now);
}

const Config::Entry* Config::find(std::string_view key) const {
  auto last = std::find_if(entries_.rbegin(), entries_.rend(),
                           [&](const Entry& entry) { return entry.key == key; });
  return last == entries_.rend() ? nullptr : &*last;
}

std::string Config::get(std::string_view key) const {
  if (const Entry* entry = find(key)) return entry->value;
  const ConfigKey* known = find_config_key(key);
  LIVECARE_ASSERT(known != nullptr);
  return std::string(known->default_value);
}

bool Config::flag(std::string_view key) const {
  return parse_boolean(get(key)).value_or(false);
}

std::vector<std::string> Config::list(std::string_view key) const {
  std::vector<std::string> items;
  std::string value = get(key);
  std::string_view rest = value;
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    std::string_view item = rest.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (!item.empty()) items.emplace_back(item);
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  return items;
}

Status Config::set(std::string_view key, std::string_view value, Day now) {
  const ConfigKey* known = find_config_key(key);
  if (known == nullptr)
    return make_error(ErrorCode::invalid_input, key, "is not a key of {}", name_);
  bool breaks_line = value.find_first_of("\n\r\"'#") != std::string_view::npos;
  if (breaks_line || !known->accepts(value, now)) return bad_value(name_, *known, value);
  std::string changed = text_;
  if (const Entry* entry = find(key)) {
    changed.replace(entry->value_begin, entry->value_size, value);
  } else {
    if (!changed.empty() && changed.back() != '\n') changed += '\n';
    changed += fmt::format("{}={}\n", key, value);
  }
  TRY(*this, parse(changed, name_, now));
  return ok_status();
}

Status Config::save(const std::filesystem::path& path) const {
  return write_file_atomic(path, ByteView(text_), 0644);
}

}  // namespace livecare::agent
