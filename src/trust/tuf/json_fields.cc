#include "trust/tuf/json_fields.h"

namespace livecare::trust::tuf {

Result<Fields> Fields::of(const Json& json, std::string_view object, std::string where) {
  if (!json.is_object())
    return make_error(ErrorCode::invalid_input, object, "{} is not a JSON object", where);
  Fields fields;
  fields.json_ = &json;
  fields.object_ = object;
  fields.where_ = std::move(where);
  return fields;
}

Error Fields::wrong(const char* name, std::string_view what) const {
  return make_error(ErrorCode::invalid_input, object_, "{}: \"{}\" {}", where_, name, what);
}

Result<std::string> Fields::text(const char* name) const {
  auto found = json_->find(name);
  if (found == json_->end() || !found->is_string())
    return wrong(name, "is missing or is not a text");
  return found->get<std::string>();
}

Result<uint64_t> Fields::number(const char* name, uint64_t least, uint64_t most) const {
  auto found = json_->find(name);
  bool is_number = found != json_->end() && found->is_number_unsigned();
  uint64_t value = is_number ? found->get<uint64_t>() : 0;
  if (!is_number || value < least || value > most)
    return wrong(name, fmt::format("is missing or is not a number of {} to {}", least, most));
  return value;
}

Result<bool> Fields::boolean(const char* name, bool otherwise) const {
  auto found = json_->find(name);
  if (found == json_->end()) return otherwise;
  if (!found->is_boolean()) return wrong(name, "is neither true nor false");
  return found->get<bool>();
}

Result<const Json*> Fields::object(const char* name) const {
  auto found = json_->find(name);
  if (found == json_->end() || !found->is_object())
    return wrong(name, "is missing or is not an object");
  return &*found;
}

Result<const Json*> Fields::array(const char* name, size_t count_max) const {
  auto found = json_->find(name);
  if (found == json_->end() || !found->is_array() || found->size() > count_max)
    return wrong(name, fmt::format("is missing or is not a list of up to {}", count_max));
  return &*found;
}

Result<std::vector<std::string>> Fields::texts(const char* name, size_t count_max) const {
  TRY(const Json* list, array(name, count_max));
  std::vector<std::string> found;
  for (const Json& one : *list) {
    if (!one.is_string()) return wrong(name, "holds something that is not a text");
    found.push_back(one.get<std::string>());
  }
  return found;
}

Json Fields::without(std::initializer_list<const char*> known) const {
  Json rest = *json_;
  for (const char* name : known) rest.erase(name);
  return rest;
}

}  // namespace livecare::trust::tuf
