#include "agent/options.h"

#include <getopt.h>

namespace livecare::agent {

namespace {

constexpr int long_option_base = 256;

int argument_kind(Takes takes) {
  switch (takes) {
    case Takes::nothing:
      return no_argument;
    case Takes::value:
      return required_argument;
    case Takes::maybe_value:
      return optional_argument;
  }
  return no_argument;
}

const Option* find(const std::vector<Option>& table, int code) {
  if (code >= long_option_base) return &table[static_cast<size_t>(code - long_option_base)];
  for (const Option& option : table)
    if (option.letter == code) return &option;
  return nullptr;
}

Error bad_usage(std::string_view argument, int code) {
  return make_error(ErrorCode::invalid_input, argument, "{}; see --help",
                    code == ':' ? "needs a value" : "is not an option here, or takes no value");
}

}  // namespace

bool CommandLine::has(std::string_view name) const {
  for (const Given& given : options)
    if (given.name == name) return true;
  return false;
}

std::string CommandLine::value(std::string_view name) const {
  auto all = values(name);
  return all.empty() ? "" : all.back();
}

std::vector<std::string> CommandLine::values(std::string_view name) const {
  std::vector<std::string> found;
  for (const Given& given : options)
    if (given.name == name && given.value) found.push_back(*given.value);
  return found;
}

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments,
                                       const std::vector<Option>& table) {
  std::vector<::option> longs;
  std::string shorts = "+:";  // stop at the first operand; we report errors ourselves
  for (size_t i = 0; i < table.size(); ++i) {
    longs.push_back({table[i].name.data(), argument_kind(table[i].takes), nullptr,
                     long_option_base + static_cast<int>(i)});
    if (table[i].letter == 0) continue;
    shorts += table[i].letter;
    if (table[i].takes == Takes::value) shorts += ':';
    if (table[i].takes == Takes::maybe_value) shorts += "::";
  }
  longs.push_back({});
  std::vector<std::string> copies{"program"};
  copies.insert(copies.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(copies.size() + 1);
  for (std::string& copy : copies) argv.push_back(copy.data());
  argv.push_back(nullptr);
  int argc = static_cast<int>(copies.size());

  CommandLine result;
  if (argc == 1) return result;
  optind = 0;  // glibc: start anew
  while (optind < argc) {
    int before = optind == 0 ? 1 : optind;
    int code = ::getopt_long(argc, argv.data(), shorts.c_str(), longs.data(), nullptr);
    if (code == '?' || code == ':') return bad_usage(argv[static_cast<size_t>(before)], code);
    if (code == -1) {
      // An operand, or "--" that ends the options.
      bool ended = std::string_view(argv[static_cast<size_t>(before)]) == "--";
      if (!ended && optind < argc) result.operands.push_back(argv[static_cast<size_t>(optind++)]);
      while (ended && optind < argc) result.operands.push_back(argv[static_cast<size_t>(optind++)]);
      continue;
    }
    const Option* option = find(table, code);
    LIVECARE_ASSERT(option != nullptr);
    auto& given = result.options.emplace_back(CommandLine::Given{option->name, std::nullopt});
    if (optarg != nullptr) given.value = optarg;
    bool follows = option->takes == Takes::maybe_value && optarg == nullptr && optind < argc &&
                   argv[static_cast<size_t>(optind)][0] != '-';
    if (follows) given.value = argv[static_cast<size_t>(optind++)];
  }
  return result;
}

}  // namespace livecare::agent
