// Prints values of a JSON document for shell scripts.
//
//   json_get PATH < document     PATH: member names with dots between; [] is every element
//
// "processes[].stop_us" prints one value a line; objects and arrays are printed as JSON, a missing
// member prints nothing. Lines of several documents (JSON lines) are read one after another.
// Exit 1: the input is not JSON.
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>

namespace {

using Json = nlohmann::ordered_json;

void print(const Json& value, std::string_view path) {
  if (path.empty()) {
    if (value.is_string())
      std::cout << value.get<std::string>() << "\n";
    else if (!value.is_null())
      std::cout << value.dump() << "\n";
    return;
  }
  if (path.substr(0, 2) == "[]") {
    path.remove_prefix(2);
    if (!path.empty() && path[0] == '.') path.remove_prefix(1);
    if (value.is_array()) {
      for (const Json& element : value) print(element, path);
    }
    return;
  }
  const size_t end = path.find_first_of(".[");
  const std::string name(path.substr(0, end));
  if (!value.is_object() || !value.contains(name)) return;
  std::string_view rest = end == std::string_view::npos ? std::string_view() : path.substr(end);
  if (!rest.empty() && rest[0] == '.') rest.remove_prefix(1);
  print(value.at(name), rest);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "";
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  Json whole = Json::parse(text, nullptr, false);
  if (!whole.is_discarded()) {
    print(whole, path);
    return 0;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const Json one = Json::parse(line, nullptr, false);
    if (one.is_discarded()) {
      std::cerr << "json_get: not JSON: " << line.substr(0, 80) << "\n";
      return 1;
    }
    print(one, path);
  }
  return 0;
}
