#include "trust/tuf/canonical_json.h"

#include <set>
#include <vector>

namespace livecare::trust::tuf {

namespace {

// Follows the reader through the value and stops it at the first thing that is not allowed.
class StrictReader {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
      if (static_cast<size_t>(depth) >= json_depth_max) problem_ = "is nested too deeply";
      if (event == Json::parse_event_t::object_start) names_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      names_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names_.back().insert(name).second) problem_ = "names a member twice: " + name;
    }
    return problem_.empty();  // what is turned down here is dropped, so memory stays bounded too
  }

  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> names_;  // of the objects that are open
  std::string problem_;
};

// Only these two are escaped; every other byte, line feeds too, stands for itself.
void append_text(std::string& out, const std::string& text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

bool append(std::string& out, const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      out += "null";
      return true;
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return true;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      out += value.dump();
      return true;
    case Json::value_t::string:
      append_text(out, value.get_ref<const std::string&>());
      return true;
    case Json::value_t::array: {
      std::string_view separator = "[";
      for (const Json& element : value) {
        out += separator;
        if (!append(out, element)) return false;
        separator = ",";
      }
      out += value.empty() ? "[]" : "]";
      return true;
    }
    case Json::value_t::object: {
      // Json keeps members sorted by bytes, which for UTF-8 is by code points, as the form asks.
      std::string_view separator = "{";
      for (const auto& [name, member] : value.items()) {
        out += separator;
        append_text(out, name);
        out += ':';
        if (!append(out, member)) return false;
        separator = ",";
      }
      out += value.empty() ? "{}" : "}";
      return true;
    }
    default:  // a float, or what a reader of text never makes
      return false;
  }
}

}  // namespace

Result<Json> parse_json(ByteView bytes, std::string_view object) {
  StrictReader reader;
  auto follow = [&](int depth, Json::parse_event_t event, Json& parsed) {
    return reader(depth, event, parsed);
  };
  Json value = Json::parse(bytes.begin(), bytes.end(), follow, false);
  if (!reader.problem().empty())
    return make_error(ErrorCode::invalid_input, object, "{}", reader.problem());
  if (value.is_discarded())
    return make_error(ErrorCode::invalid_input, object, "is not JSON, or is cut off");
  return value;
}

Result<std::string> canonical_json(const Json& value, std::string_view object) {
  std::string text;
  if (!append(text, value))
    return make_error(ErrorCode::invalid_input, object,
                      "holds a number that is not an integer, which canonical JSON does not have");
  return text;
}

}  // namespace livecare::trust::tuf
