// Reading JSON of unknown shape without exceptions: a missing or wrong member is the default.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace livecare::agent {

using Json = nlohmann::ordered_json;

inline const Json* member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

inline std::string text_at(const Json& object, std::string_view key) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

inline uint64_t number_at(const Json& object, std::string_view key, uint64_t otherwise = 0) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_number_unsigned() ? value->get<uint64_t>() : otherwise;
}

inline const Json& list_at(const Json& object, std::string_view key) {
  static const Json empty = Json::array();
  const Json* value = member(object, key);
  return value != nullptr && value->is_array() ? *value : empty;
}

inline std::vector<std::string> texts_at(const Json& object, std::string_view key) {
  std::vector<std::string> texts;
  for (const Json& value : list_at(object, key))
    if (value.is_string()) texts.push_back(value.get<std::string>());
  return texts;
}

// One line; bytes that are not UTF-8 become U+FFFD.
inline std::string to_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace livecare::agent
