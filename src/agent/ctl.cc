#include "agent/ctl.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <limits>

#include "agent/options.h"
#include "agent/server_client.h"
#include "agent/version.h"
#include "base/file_system.h"
#include "base/log.h"

namespace livecare::agent {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view usage =
    "usage: libcare-ctl patch   -p PID|all [options] FILE|DIR...\n"
    "       libcare-ctl unpatch -p PID|all [options] [FILE|DIR|BUILD-ID]...\n"
    "       libcare-ctl info    -p PID|all [options]\n"
    "\n"
    "  -p, --pid PID|all    the process; may be given more than once\n"
    "      --json           one JSON object per process and line\n"
    "      --key FILE       trust this public key for this run, beside the host's key ring\n"
    "      --wait-ms N      how long threads may take to leave old code (3000)\n"
    "      --stop-ms N      hard limit of one stop (250)\n"
    "      --root DIR       look for keys and programs below DIR\n"
    "      --server FILE    the libcare-server to run\n"
    "  -v, --verbose        say more on standard error\n"
    "      --version, --help\n"
    "\n"
    "FILE is a signed patch; DIR holds such files (*.lcpatch) or is a patch server's directory.\n"
    "Exit code: 0 all fine, 1 a process failed or none could be looked into, 2 usage or input\n"
    "refused, nothing was touched. Undone are all objects of a patchset, also when one is named.\n";

const std::vector<Option>& option_table() {
  static const std::vector<Option> table = {
      {"pid", 'p', Takes::value},       {"json"},
      {"key", 0, Takes::value},         {"wait-ms", 0, Takes::value},
      {"stop-ms", 0, Takes::value},     {"root", 0, Takes::value},
      {"server", 0, Takes::value},      {"version"},
      {"verbose", 'v', Takes::nothing}, {"help", 'h', Takes::nothing},
  };
  return table;
}

Error bad_usage(std::string_view object, std::string_view problem) {
  return make_error(ErrorCode::invalid_input, object, "{}; see libcare-ctl --help", problem);
}

Result<uint64_t> parse_number(std::string_view text, uint64_t most) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0 || number > most)
    return bad_usage(text, "is not a number that can be used here");
  return number;
}

Result<Operation> parse_operation(const CommandLine& line) {
  if (line.operands.empty()) return bad_usage("", "say what to do: patch, unpatch or info");
  for (Operation operation : {Operation::patch, Operation::unpatch, Operation::info})
    if (line.operands[0] == to_string(operation)) return operation;
  return bad_usage(line.operands[0], "is none of patch, unpatch, info");
}

bool is_build_id(std::string_view text) {
  return text.size() >= 8 && text.size() % 2 == 0 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// *.lcpatch of a directory; without any, the newest level of each build-ID of a patch server's.
Status add_directory(const fs::path& directory, std::vector<std::string>& files) {
  std::vector<std::string> patches, newest;
  std::error_code failure;
  for (fs::directory_iterator entry(directory, failure);
       !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    if (entry->path().extension() == ".lcpatch") patches.push_back(entry->path().native());
    auto latest = read_text(entry->path() / "latest.v2", 64);
    if (!latest.ok()) continue;
    std::string level = latest->substr(0, latest->find_first_not_of("0123456789"));
    newest.push_back((entry->path() / level / "patch").native());
  }
  if (failure)
    return make_error(ErrorCode::io, directory.native(), "cannot list: {}", failure.message());
  const auto& found = patches.empty() ? newest : patches;
  if (found.empty())
    return make_error(ErrorCode::invalid_input, directory.native(),
                      "holds no patch (*.lcpatch, or BUILD-ID/latest.v2)");
  files.insert(files.end(), found.begin(), found.end());
  return ok_status();
}

Status add_operand(const std::string& operand, Request& request) {
  std::error_code failure;
  if (fs::is_directory(operand, failure)) return add_directory(operand, request.patch_files);
  if (request.operation == Operation::unpatch && !fs::exists(operand, failure) &&
      is_build_id(operand))
    request.build_ids.push_back(operand);
  else
    request.patch_files.push_back(operand);
  return ok_status();
}

Result<Request> make_request(const CommandLine& line) {
  Request request;
  TRY(request.operation, parse_operation(line));
  for (const std::string& pid : line.values("pid")) {
    if (pid == "all") {
      request.all = true;
      continue;
    }
    TRY(uint64_t number, parse_number(pid, std::numeric_limits<pid_t>::max()));
    request.pids.push_back(static_cast<pid_t>(number));
  }
  if (!request.all && request.pids.empty())
    return bad_usage("", "say which process: -p PID or -p all");
  for (size_t i = 1; i < line.operands.size(); ++i)
    TRY_STATUS(add_operand(line.operands[i], request));
  if (request.operation == Operation::patch && request.patch_files.empty())
    return bad_usage("patch", "say which patch: FILE or DIR");
  if (request.operation == Operation::info && line.operands.size() > 1)
    return bad_usage(line.operands[1], "info takes no file");
  constexpr uint64_t limit_ms_max = 3'600'000;
  if (line.has("wait-ms")) {
    TRY(uint64_t wait_ms, parse_number(line.value("wait-ms"), limit_ms_max));
    request.limits.leave_wait_us_max = wait_ms * 1000;
  }
  if (line.has("stop-ms")) {
    TRY(uint64_t stop_ms, parse_number(line.value("stop-ms"), limit_ms_max));
    request.limits.stop_window_us_max = stop_ms * 1000;
  }
  request.verbose = line.has("verbose");
  request.key_files = line.values("key");
  request.root = line.value("root");
  return request;
}

std::string describe_object(const Json& object) {
  std::string text = fmt::format("    {} {} level {}, {}, {} functions", text_at(object, "soname"),
                                 text_at(object, "patchset"), number_at(object, "level"),
                                 text_at(object, "state"), number_at(object, "functions"));
  for (const std::string& cve : texts_at(object, "cves")) text += " " + cve;
  return text;
}

bool has_live_object(const Json& line) {
  for (const Json& object : list_at(line, "objects"))
    if (text_at(object, "state") == "live") return true;
  return false;
}

void print_for_people(const Json& line, Operation operation) {
  bool failed = text_at(line, "outcome") == "failed";
  std::string head = fmt::format("{} {}: ", number_at(line, "pid"), text_at(line, "comm"));
  if (operation == Operation::info && !failed)
    head += has_live_object(line) ? "patched" : "not patched";
  else
    head += text_at(line, "outcome");
  if (number_at(line, "stop_us") > 0)
    head += fmt::format(", {} threads stopped for {} us, {} us in all", number_at(line, "threads"),
                        number_at(line, "stop_us"), number_at(line, "total_us"));
  if (std::string reason = text_at(line, "reason"); !reason.empty()) head += ": " + reason;
  fmt::print(failed ? stderr : stdout, "{}\n", head);
  for (const Json& object : list_at(line, "objects")) fmt::print("{}\n", describe_object(object));
  for (const Json& thread : list_at(line, "in_the_way")) {
    fmt::print(stderr, "    thread {} {} is in {}\n", number_at(thread, "tid"),
               text_at(thread, "comm"), text_at(thread, "function"));
    for (const std::string& frame : texts_at(thread, "frames"))
      fmt::print(stderr, "        {}\n", frame);
  }
}

void print_json(Json line) {
  if (line.contains("objects"))
    for (Json& object : line["objects"])
      if (object.is_object()) object.erase("info");
  fmt::print("{}\n", to_line(line));
}

int refuse(const Error& error) {
  fmt::print(stderr, "libcare-ctl: {}\n", error.text());
  return error.code == ErrorCode::internal ? ctl_exit_failed : ctl_exit_refused;
}

}  // namespace

int run_libcare_ctl(const std::vector<std::string>& arguments) {
  auto line = parse_command_line(arguments, option_table());
  if (!line.ok()) return refuse(line.error());
  if (line->has("help")) {
    fmt::print("{}", usage);
    return 0;
  }
  if (line->has("version")) {
    fmt::print("libcare-ctl {}\n", version());
    return 0;
  }
  if (line->has("verbose")) set_log_level(LogLevel::debug);
  auto request = make_request(*line);
  if (!request.ok()) return refuse(request.error());
  auto server = find_server(Paths(request->root), line->value("server"));
  if (!server.ok()) return refuse(server.error());
  auto answer = ask_server(*server, *request);
  if (!answer.ok()) return refuse(answer.error());
  bool failed = answer->interrupted || answer->nothing_examined;
  for (const Json& process : answer->lines) {
    failed = failed || text_at(process, "outcome") == "failed";
    if (line->has("json"))
      print_json(process);
    else
      print_for_people(process, request->operation);
  }
  if (std::string warning = unreadable_warning(*answer); !warning.empty())
    log(LogLevel::warning, "{}", warning);
  if (answer->interrupted)
    fmt::print(stderr, "libcare-ctl: interrupted; run it again for the rest\n");
  return failed ? ctl_exit_failed : 0;
}

}  // namespace livecare::agent
