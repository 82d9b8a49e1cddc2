#include "builder/command_line.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <tuple>
#include <utility>

namespace livecare::builder {

namespace {

bool ends_with_program(std::string_view name, std::string_view program) {
  size_t end = name.find_last_not_of("0123456789.");
  if (end != std::string_view::npos && name[end] == '-' && end + 1 < name.size())
    name = name.substr(0, end);
  if (!name.ends_with(program)) return false;
  return name.size() == program.size() || name[name.size() - program.size() - 1] == '-';
}

// Options whose value is the next argument when nothing is joined to them.
constexpr std::array separate_values = {"-o",
                                        "-I",
                                        "-D",
                                        "-U",
                                        "-include",
                                        "-imacros",
                                        "-isystem",
                                        "-iquote",
                                        "-idirafter",
                                        "-isysroot",
                                        "-iprefix",
                                        "-iwithprefix",
                                        "-x",
                                        "-MF",
                                        "-MT",
                                        "-MQ",
                                        "-Xlinker",
                                        "-Xassembler",
                                        "-Xpreprocessor",
                                        "-Xclang",
                                        "-arch",
                                        "-L",
                                        "-l",
                                        "-T",
                                        "-u",
                                        "-z",
                                        "-B",
                                        "--param",
                                        "-aux-info",
                                        "-e",
                                        "-target",
                                        "-mllvm",
                                        "-A",
                                        "-iwithprefixbefore",
                                        "-imultilib",
                                        "-wrapper",
                                        "-specs",
                                        "-dumpbase",
                                        "-dumpdir",
                                        "-dumpbase-ext",
                                        "--sysroot",
                                        "-Tbss",
                                        "-Tdata",
                                        "-Ttext",
                                        "-imultiarch"};
constexpr std::array linker_separate_values = {"-o",
                                               "-L",
                                               "-l",
                                               "-T",
                                               "-u",
                                               "-z",
                                               "-e",
                                               "-m",
                                               "-A",
                                               "-a",
                                               "-b",
                                               "-c",
                                               "-f",
                                               "-F",
                                               "-G",
                                               "-h",
                                               "-R",
                                               "-y",
                                               "-Y",
                                               "-plugin",
                                               "-plugin-opt",
                                               "-rpath",
                                               "-rpath-link",
                                               "-soname",
                                               "-dynamic-linker",
                                               "-Map",
                                               "-defsym",
                                               "-init",
                                               "-fini",
                                               "-I",
                                               "--output",
                                               "--library",
                                               "--library-path",
                                               "--script",
                                               "--undefined",
                                               "--entry",
                                               "--soname",
                                               "--version-script",
                                               "--dynamic-linker",
                                               "--rpath",
                                               "--rpath-link",
                                               "--dynamic-list",
                                               "-assert",
                                               "--architecture",
                                               "--defsym",
                                               "--wrap",
                                               "--hash-size",
                                               "--plugin",
                                               "-retain-symbols-file"};

constexpr std::array objcopy_separate_values = {
    "--add-section",       "--update-section", "--rename-section",        "--set-section-flags",
    "--remove-section",    "--only-section",   "--redefine-sym",          "--redefine-syms",
    "--globalize-symbol",  "--keep-symbol",    "--strip-symbol",          "--localize-symbol",
    "--add-gnu-debuglink", "--dump-section",   "--weaken-symbol",         "--input-target",
    "--output-target",     "--prefix-symbols", "--change-section-address"};

template <size_t N>
bool is_one_of(std::string_view text, const std::array<const char*, N>& set) {
  return std::find(set.begin(), set.end(), text) != set.end();
}

// The value of "-o": "-oX" and "-o X"; moves `at` over it. Empty optional: another option.
std::optional<std::string> value_of(const std::vector<std::string>& arguments, size_t& at,
                                    std::string_view option) {
  const std::string& argument = arguments[at];
  if (argument == option)
    return at + 1 < arguments.size() ? std::optional(arguments[++at]) : std::nullopt;
  if (argument.starts_with(option)) return argument.substr(option.size());
  return std::nullopt;
}

Language language_named(std::string_view name) {
  if (name == "c" || name == "cpp-output" || name == "c-header") return Language::c;
  if (name == "c++" || name == "c++-cpp-output" || name == "c++-header") return Language::cxx;
  if (name.starts_with("assembler")) return Language::assembler;
  return Language::other;
}

bool only_asks(const std::string& argument) {
  static constexpr std::array exact = {"-E",
                                       "-S",
                                       "-M",
                                       "-MM",
                                       "--version",
                                       "--help",
                                       "-dumpversion",
                                       "-dumpmachine",
                                       "-dumpspecs",
                                       "-fsyntax-only",
                                       "-qversion",
                                       "-dM",
                                       "-dumpfullversion",
                                       "-###"};
  return is_one_of(argument, exact) || argument.starts_with("-print-") ||
         argument.starts_with("--print-");
}

struct LinkState {
  bool whole = false;
  bool is_static = false;
  std::vector<std::pair<bool, bool>> pushed;
};

// "-Wl,--whole-archive" and the like; true when it was one.
void linker_option(std::string_view option, LinkState& state, Invocation& invocation) {
  if (option == "--whole-archive" || option == "-whole-archive") state.whole = true;
  if (option == "--no-whole-archive" || option == "-no-whole-archive") state.whole = false;
  if (option == "-Bstatic" || option == "-dn" || option == "-non_shared" || option == "-static")
    state.is_static = true;
  if (option == "-Bdynamic" || option == "-dy" || option == "-call_shared") state.is_static = false;
  if (option == "--push-state") state.pushed.emplace_back(state.whole, state.is_static);
  if (option == "--pop-state" && !state.pushed.empty()) {
    std::tie(state.whole, state.is_static) = state.pushed.back();
    state.pushed.pop_back();
  }
  if (option == "-shared" || option == "-Bshareable") invocation.shared = true;
  if (option == "-r" || option == "-i" || option == "--relocatable") invocation.relocatable = true;
}

void linker_options(std::string_view list, LinkState& state, Invocation& invocation) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view option = list.substr(0, comma);
    linker_option(option, state, invocation);
    // -Wl,file.a names an input as well.
    if (!option.starts_with("-") && (option.ends_with(".a") || option.ends_with(".o")))
      invocation.inputs.push_back({std::string(option), false, state.whole, state.is_static});
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
}

void parse_compiler(const Call& call, Invocation& invocation) {
  const auto& arguments = call.arguments;
  std::optional<Language> forced;
  LinkState state;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-c")
      invocation.stops_at_object = true;
    else if (argument == "-shared")
      invocation.shared = true;
    else if (argument == "-r")
      invocation.relocatable = true;
    else if (argument == "-static" || argument == "-static-pie")
      state.is_static = true;
    else if (only_asks(argument))
      invocation.only_preprocesses = true;
    else if (argument.starts_with("-x")) {
      std::string name = value_of(arguments, i, "-x").value_or("none");
      forced = name == "none" ? std::nullopt : std::optional(language_named(name));
    } else if (argument.starts_with("-Wl,"))
      linker_options(argument.substr(4), state, invocation);
    else if (argument == "-Xlinker" && i + 1 < arguments.size())
      linker_options(arguments[++i], state, invocation);
    else if (argument.starts_with("-o") && !argument.starts_with("-objc")) {
      if (auto value = value_of(arguments, i, "-o")) invocation.output = *value;
    } else if (argument.starts_with("-L")) {
      if (auto value = value_of(arguments, i, "-L"))
        invocation.library_directories.push_back(*value);
    } else if (argument.starts_with("-l")) {
      if (auto value = value_of(arguments, i, "-l"))
        invocation.inputs.push_back({*value, true, state.whole, state.is_static});
    } else if (is_one_of(argument, separate_values))
      ++i;
    else if (argument == "-" || !argument.starts_with("-")) {
      Language language = forced.value_or(language_of(argument));
      if (language == Language::other)
        invocation.inputs.push_back({argument, false, state.whole, state.is_static});
      else {
        invocation.sources.push_back({argument, false, false, false});
        invocation.languages.push_back(language);
      }
    }
  }
  bool works = !invocation.only_preprocesses;
  invocation.compiles = works && !invocation.sources.empty();
  invocation.links = works && !invocation.stops_at_object &&
                     (!invocation.sources.empty() || !invocation.inputs.empty());
}

void parse_linker(const Call& call, Invocation& invocation) {
  const auto& arguments = call.arguments;
  LinkState state;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-o" || argument == "--output") {
      if (i + 1 < arguments.size()) invocation.output = arguments[++i];
    } else if (argument == "-v" || argument == "--version" || argument == "-V" ||
               argument == "--help") {
      invocation.only_preprocesses = true;
    } else if (argument.starts_with("-L")) {
      if (auto value = value_of(arguments, i, "-L"))
        invocation.library_directories.push_back(*value);
    } else if (argument.starts_with("-l")) {
      if (auto value = value_of(arguments, i, "-l"))
        invocation.inputs.push_back({*value, true, state.whole, state.is_static});
    } else if (is_one_of(argument, linker_separate_values))
      ++i;
    else if (argument.starts_with("-"))
      linker_option(argument, state, invocation);
    else
      invocation.inputs.push_back({argument, false, state.whole, state.is_static});
  }
  invocation.links = !invocation.only_preprocesses && !invocation.inputs.empty();
}

void parse_assembler(const Call& call, Invocation& invocation) {
  for (size_t i = 1; i < call.arguments.size(); ++i) {
    const std::string& argument = call.arguments[i];
    bool has_value = argument == "-o" || argument == "-I" || argument == "--defsym" ||
                     argument == "--MD" || argument == "--debug-prefix-map";
    if (has_value && i + 1 < call.arguments.size()) {
      ++i;
      if (argument == "-o") invocation.output = call.arguments[i];
    } else if (argument == "--version" || argument == "-version" || argument == "-v") {
      invocation.only_preprocesses = true;
    } else if (!argument.starts_with("-")) {
      invocation.sources.push_back({argument, false, false, false});
      invocation.languages.push_back(Language::assembler);
    }
  }
  invocation.stops_at_object = true;
  invocation.compiles = !invocation.only_preprocesses && !invocation.sources.empty();
}

// Options of a compile that must not be repeated: they write other files, only matter to the link,
// or make the compile fail for reasons that have nothing to do with its result.
bool is_dropped(const std::string& argument) {
  static constexpr std::array exact = {"-c",
                                       "-S",
                                       "-E",
                                       "-MD",
                                       "-MMD",
                                       "-MP",
                                       "-MG",
                                       "-M",
                                       "-MM",
                                       "-gsplit-dwarf",
                                       "-fstack-usage",
                                       "-Werror",
                                       "-shared",
                                       "-ffat-lto-objects",
                                       "-fno-fat-lto-objects",
                                       "-r",
                                       "-fuse-linker-plugin",
                                       "-fsyntax-only",
                                       "-pedantic-errors",
                                       "--coverage-dummy"};
  static constexpr std::array prefixes = {
      "-flto",   "-save-temps", "-fdump-",          "-Werror=",
      "-Wl,",    "-Wp,-MD",     "-Wp,-MMD",         "-Wp,-MT",
      "-Wp,-MF", "-Wp,-MP",     "-fcallgraph-info", "--save-temps",
      "-Wa,-a"};
  if (is_one_of(argument, exact)) return true;
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const char* prefix) { return argument.starts_with(prefix); });
}

bool takes_dropped_value(const std::string& argument) {
  static constexpr std::array exact = {"-o",       "-MF", "-MT", "-MQ",
                                       "-Xlinker", "-l",  "-L",  "-aux-info"};
  return is_one_of(argument, exact);
}

bool is_joined_and_dropped(const std::string& argument) {
  return argument.starts_with("-MF") || argument.starts_with("-MT") ||
         argument.starts_with("-MQ") || argument.starts_with("-l") || argument.starts_with("-L") ||
         (argument.starts_with("-o") && !argument.starts_with("-objc"));
}

// The call's options and the one source, in their order; the rest is gone.
std::vector<std::string> compile_options(const Call& call, std::string_view source) {
  std::vector<std::string> kept = {call.arguments[0]};
  bool source_seen = false;
  for (size_t i = 1; i < call.arguments.size(); ++i) {
    const std::string& argument = call.arguments[i];
    if (takes_dropped_value(argument))
      ++i;
    else if (is_dropped(argument) || is_joined_and_dropped(argument))
      continue;
    else if (is_one_of(argument, separate_values)) {
      kept.push_back(argument);
      if (i + 1 < call.arguments.size()) kept.push_back(call.arguments[++i]);
    } else if (argument != "-" && argument.starts_with("-"))
      kept.push_back(argument);
    else if (argument == source && !source_seen) {
      kept.push_back(argument);
      source_seen = true;
    }
  }
  return kept;
}

}  // namespace

Tool tool_of(const Call& call) {
  std::string name = std::filesystem::path(call.arguments[0]).filename();
  for (const char* program : {"gcc", "g++", "cc", "c++", "clang", "clang++"})
    if (ends_with_program(name, program)) return Tool::compiler;
  for (const char* program : {"ld", "ld.bfd", "ld.gold", "ld.lld", "lld", "mold"})
    if (ends_with_program(name, program)) return Tool::linker;
  if (ends_with_program(name, "as")) return Tool::assembler;
  if (ends_with_program(name, "ar")) return Tool::archiver;
  if (name == "mv") return Tool::move;
  if (name == "cp" || name == "ln" || name == "install" || ends_with_program(name, "objcopy"))
    return Tool::copy;
  return Tool::other;
}

Language language_of(std::string_view path) {
  size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return Language::other;
  std::string_view ending = path.substr(dot + 1);
  for (const char* known : {"c", "i"})
    if (ending == known) return Language::c;
  for (const char* known : {"cc", "cpp", "cxx", "C", "c++", "cp", "CPP", "ii"})
    if (ending == known) return Language::cxx;
  for (const char* known : {"s", "S", "sx"})
    if (ending == known) return Language::assembler;
  return Language::other;
}

Invocation parse_invocation(const Call& call, Tool tool) {
  Invocation invocation;
  if (tool == Tool::compiler) parse_compiler(call, invocation);
  if (tool == Tool::linker) parse_linker(call, invocation);
  if (tool == Tool::assembler) parse_assembler(call, invocation);
  return invocation;
}

std::vector<std::string> recompile_arguments(const Call& call, std::string_view source,
                                             std::string_view object,
                                             const std::vector<std::string>& extra) {
  std::vector<std::string> arguments = compile_options(call, source);
  arguments.insert(arguments.end(), {"-c", "-o", std::string(object)});
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  return arguments;
}

std::vector<std::string> dependency_arguments(const Call& call, std::string_view source,
                                              std::string_view rule_file) {
  std::vector<std::string> arguments = compile_options(call, source);
  arguments.insert(arguments.end(), {"-M", "-MT", "x", "-MF", std::string(rule_file), "-w"});
  return arguments;
}

ArchiveCall parse_archive_call(const Call& call) {
  ArchiveCall result;
  size_t at = 1;
  const auto& arguments = call.arguments;
  auto skip_options = [&] {
    while (at < arguments.size() && arguments[at].starts_with("--")) {
      if (arguments[at] == "--plugin" || arguments[at] == "--target") ++at;
      ++at;
    }
  };
  skip_options();
  if (at >= arguments.size()) return result;
  std::string operation = arguments[at++];
  for (char c : operation)
    if (c == 'r' || c == 'q' || c == 'x') result.operation = c;
  // A position modifier names a member before the archive; a count stands there as well.
  if (operation.find_first_of("abi") != std::string::npos && result.operation == 'r') ++at;
  if (operation.find('N') != std::string::npos && result.operation == 'x') ++at;
  skip_options();
  if (at < arguments.size()) result.archive = arguments[at++];
  for (; at < arguments.size(); ++at)
    if (!arguments[at].starts_with("--")) result.members.push_back(arguments[at]);
  return result;
}

MoveCall parse_move_call(const Call& call) {
  static constexpr std::string_view directory_option = "--target-directory=";
  std::string name = std::filesystem::path(call.arguments[0]).filename();
  bool is_objcopy = ends_with_program(name, "objcopy");
  // One-letter options whose value is the next argument: -S strips for objcopy, and is a suffix
  // for the others.
  std::string_view valued = is_objcopy ? "IOFBjRKNLGWb" : name == "install" ? "mogS" : "S";
  auto has_value = [&](const std::string& argument) {
    if (argument.size() == 2 && argument[0] == '-')
      return valued.find(argument[1]) != std::string_view::npos;
    return is_objcopy && is_one_of(argument, objcopy_separate_values);
  };
  MoveCall result;
  for (size_t i = 1; i < call.arguments.size(); ++i) {
    const std::string& argument = call.arguments[i];
    bool has_next = i + 1 < call.arguments.size();
    if (!is_objcopy && (argument == "-t" || argument == "--target-directory") && has_next) {
      result.destination = call.arguments[++i];
      result.into = true;
    } else if (!is_objcopy && argument.starts_with(directory_option)) {
      result.destination = argument.substr(directory_option.size());
      result.into = true;
    } else if (has_value(argument)) {
      ++i;
    } else if (!argument.starts_with("-")) {
      result.sources.push_back(argument);
    }
  }
  if (!result.into && !result.sources.empty()) {
    result.destination = result.sources.back();
    result.sources.pop_back();
    result.into = result.destination.ends_with("/") || (!is_objcopy && result.sources.size() > 1);
  }
  return result;
}

}  // namespace livecare::builder
