#include "builder/record.h"

#include <charconv>

#include "base/byte_cursor.h"

namespace livecare::builder {

namespace {

constexpr uint64_t arguments_max = 1'000'000;
constexpr int response_depth_max = 8;

// The NUL-terminated fields of one record.
class Fields {
 public:
  explicit Fields(ByteView bytes) : cursor_(bytes) {}

  bool text(std::string& out) {
    out = cursor_.c_string();
    return cursor_.ok();
  }

  bool number(uint64_t& out) {
    std::string digits;
    if (!text(digits)) return false;
    auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return failure == std::errc{} && end == digits.data() + digits.size();
  }

  bool texts(std::vector<std::string>& out) {
    uint64_t count = 0;
    if (!number(count) || count > arguments_max) return false;
    for (uint64_t i = 0; i < count; ++i)
      if (!text(out.emplace_back())) return false;
    return true;
  }

 private:
  ByteCursor cursor_;
};

using Responses = std::map<std::string, std::string>;

// False: a response file that names itself, or one that is far too long.
bool expand(const std::vector<std::string>& arguments, const Responses& responses, int depth,
            std::vector<std::string>& out) {
  for (const std::string& argument : arguments) {
    if (out.size() >= arguments_max) return false;
    auto response = argument.size() > 1 && argument[0] == '@' ? responses.find(argument.substr(1))
                                                              : responses.end();
    if (response == responses.end())
      out.push_back(argument);
    else if (depth == response_depth_max ||
             !expand(split_response(response->second), responses, depth + 1, out))
      return false;
  }
  return true;
}

bool read_call(ByteView body, Call& call) {
  Fields fields(body);
  std::vector<std::string> arguments, variables;
  uint64_t response_count = 0;
  if (!fields.number(call.pid) || !fields.number(call.parent) || !fields.text(call.directory) ||
      !fields.text(call.executable) || !fields.texts(arguments) || !fields.texts(variables) ||
      !fields.number(response_count) || response_count > arguments_max)
    return false;
  for (const std::string& variable : variables) {
    size_t equals = variable.find('=');
    if (equals != std::string::npos)
      call.environment[variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  Responses responses;
  for (uint64_t i = 0; i < response_count; ++i) {
    std::string name, content;
    if (!fields.text(name) || !fields.text(content)) return false;
    responses[std::move(name)] = std::move(content);
  }
  return expand(arguments, responses, 0, call.arguments) && !call.arguments.empty();
}

}  // namespace

Result<std::vector<Call>> read_record(ByteView bytes, std::string_view name) {
  std::vector<Call> calls;
  uint64_t at = 0;
  while (at < bytes.size()) {
    auto magic = bytes.slice(at, 4);
    if (magic && magic->as_text() != "LCR1")
      return make_error(ErrorCode::invalid_input, name,
                        "damaged at byte {}: no record begins there; remove the entry that holds "
                        "it, and the tree is prepared anew",
                        at);
    auto size = bytes.read<uint32_t>(at + 4);
    auto body = size ? bytes.slice(at + 8, *size) : std::nullopt;
    if (!body) break;  // cut short
    Call call;
    if (!read_call(*body, call))
      return make_error(ErrorCode::invalid_input, name,
                        "the record at byte {} is damaged; remove the entry that holds it, and the "
                        "tree is prepared anew",
                        at);
    calls.push_back(std::move(call));
    at += 8 + *size;
  }
  return calls;
}

std::vector<std::string> split_response(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
    if (c == '\\' && i + 1 < text.size()) {
      word += text[++i];
      in_word = true;
    } else if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (blank) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (in_word) words.push_back(std::move(word));
  return words;
}

}  // namespace livecare::builder
