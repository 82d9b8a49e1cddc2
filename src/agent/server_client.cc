#include "agent/server_client.h"

#include <unistd.h>

#include <cstdio>

#include "base/process.h"

namespace livecare::agent {

namespace fs = std::filesystem;

namespace {

constexpr size_t unreadable_named_max = 5;
constexpr std::string_view server_name = "libcare-server";

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

Status read_line(std::string_view line, Answer& answer, bool& ended) {
  Json json = Json::parse(line, nullptr, false);
  if (!json.is_object())
    return make_error(ErrorCode::internal, server_name, "answered with a line that is not JSON");
  if (const Json* error = member(json, "error")) return error_from_json(*error);
  if (member(json, "end") == nullptr) {
    answer.lines.push_back(std::move(json));
    return ok_status();
  }
  answer.unreadable = list_at(json, "unreadable");
  answer.nothing_examined = member(json, "nothing_examined") != nullptr;
  answer.interrupted = member(json, "interrupted") != nullptr;
  ended = true;
  return ok_status();
}

}  // namespace

Result<fs::path> find_server(const Paths& paths, const fs::path& override_path) {
  std::error_code failure;
  fs::path beside = fs::read_symlink("/proc/self/exe", failure).parent_path() / server_name;
  fs::path installed = paths.libexec / server_name;
  for (const fs::path& candidate : {override_path, beside, installed}) {
    if (candidate.empty()) continue;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (candidate == override_path) break;
  }
  return make_error(ErrorCode::not_found,
                    override_path.empty() ? installed.native() : override_path.native(),
                    "{} is not there; install the agent again", server_name);
}

Result<Answer> ask_server(const fs::path& server, const Request& request) {
  TRY(CommandResult result, run({.arguments = {server.native()}, .input = to_text(request)}));
  if (request.verbose) std::fputs(result.errors.c_str(), stderr);
  Answer answer;
  bool ended = false;
  std::string_view rest = result.output;
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    TRY_STATUS(read_line(rest.substr(0, end), answer, ended));
    rest.remove_prefix(end + 1);
  }
  if (!ended)
    return make_error(ErrorCode::internal, server_name,
                      "ended with code {} before its work was done{}{}; the next run mends what it "
                      "left",
                      result.exit_code, result.errors.empty() ? "" : ": ",
                      first_line(result.errors));
  return answer;
}

std::string unreadable_warning(const Answer& answer) {
  if (answer.unreadable.empty()) return "";
  std::string names;
  for (size_t i = 0; i < answer.unreadable.size() && i < unreadable_named_max; ++i)
    names += fmt::format("{}{} {}", i == 0 ? "" : ", ", number_at(answer.unreadable[i], "pid"),
                         text_at(answer.unreadable[i], "comm"));
  return fmt::format("{} processes may not be looked into ({}{}); {}", answer.unreadable.size(),
                     names, answer.unreadable.size() > unreadable_named_max ? ", ..." : "",
                     ::geteuid() == 0 ? "they belong to another confinement" : "run as root");
}

}  // namespace livecare::agent
