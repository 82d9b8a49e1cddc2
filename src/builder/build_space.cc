#include "builder/build_space.h"

#include <unistd.h>

namespace livecare::builder {

namespace {

constexpr const char* bind_script =
    "mount --bind \"$1\" \"$2\" && cd \"$3\" && shift 3 && exec \"$@\"";

std::vector<std::string> unshare_command() {
  std::vector<std::string> words = {"unshare", "--mount"};
  if (::geteuid() != 0) words.insert(words.end(), {"--user", "--map-root-user"});
  words.emplace_back("--");
  return words;
}

}  // namespace

bool can_bind_directories() {
  static const bool can = [] {
    std::vector<std::string> words = unshare_command();
    words.insert(words.end(), {"sh", "-c", bind_script, "sh", "/usr", "/usr", "/", "true"});
    auto result = livecare::run({.arguments = words});
    return result.ok() && result->exit_code == 0;
  }();
  return can;
}

Result<CommandResult> BuildSpace::run(Command command, bool clear_environment) const {
  std::vector<std::string> words;
  std::string directory = command.directory.empty() ? root_seen_ : command.directory.native();
  if (root_.native() != root_seen_) {
    words = unshare_command();
    words.insert(words.end(),
                 {"sh", "-c", bind_script, "sh", root_.native(), root_seen_, directory});
    command.directory = "/";
  } else {
    command.directory = directory;
  }
  // `env` after the mount: unshare and mount themselves are found by our own PATH.
  words.emplace_back("env");
  if (clear_environment) words.emplace_back("-i");
  for (const auto& [name, value] : command.environment) words.push_back(name + "=" + value);
  command.environment.clear();
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  command.arguments = std::move(words);
  return livecare::run(command);
}

Result<CommandResult> BuildSpace::run_again(const Call& call,
                                            const std::vector<std::string>& arguments) const {
  Command command;
  command.arguments = arguments;
  command.directory = call.directory;
  command.environment = call.environment;
  // ccache and distcc in front of the compiler only hand the call on.
  command.environment["CCACHE_DISABLE"] = "1";
  return run(std::move(command), true);
}

}  // namespace livecare::builder
