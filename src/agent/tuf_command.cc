#include "agent/tuf_command.h"

#include <fmt/format.h>

#include <cstdio>

#include "agent/options.h"
#include "agent/repository_fetcher.h"
#include "base/clock.h"
#include "base/file_system.h"
#include "base/log.h"
#include "net/curl_client.h"
#include "net/retrying_client.h"
#include "trust/tuf/updater.h"

namespace livecare::agent {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view help =
    "livecare-tuf --metadata-dir DIR init TRUSTED_ROOT\n"
    "livecare-tuf --metadata-dir DIR --metadata-url URL refresh\n"
    "livecare-tuf --metadata-dir DIR --metadata-url URL --target-name PATH [--target-name PATH "
    "...]\n"
    "             --target-base-url URL --target-dir DIR download\n"
    "\n"
    "A client of repositories of The Update Framework 1.0. Exit code 0, or 1 with the reason.\n"
    "  --metadata-dir DIR     what this host trusts: root.json and others\n"
    "  --metadata-url URL     where the repository has its metadata\n"
    "  --target-name PATH     a target to download, by its path in the metadata\n"
    "  --target-base-url URL  where the repository has its targets\n"
    "  --target-dir DIR       gets the targets, each under its path, percent-encoded\n"
    "  --proxy URL            HTTP proxy (otherwise http_proxy and https_proxy)\n"
    "  --verbose              say more on standard error\n";

const std::vector<Option>& option_table() {
  static const std::vector<Option> table = {
      {"metadata-dir", 0, Takes::value}, {"metadata-url", 0, Takes::value},
      {"target-name", 0, Takes::value},  {"target-base-url", 0, Takes::value},
      {"target-dir", 0, Takes::value},   {"proxy", 0, Takes::value},
      {"verbose", 0, Takes::nothing},    {"help", 'h', Takes::nothing},
  };
  return table;
}

Result<std::string> required(const CommandLine& line, std::string_view name) {
  std::string value = line.value(name);
  if (value.empty())
    return make_error(ErrorCode::invalid_input, line.operands[0], "needs --{}; see --help", name);
  return value;
}

Status init(const CommandLine& line, const fs::path& directory) {
  if (line.operands.size() != 2)
    return make_error(ErrorCode::invalid_input, "init", "needs one file, the trusted root");
  TRY(Bytes root, read_file(line.operands[1], trust::tuf::Limits().root_bytes_max));
  return trust::tuf::Updater::init(directory, root);
}

Status download(const CommandLine& line, trust::tuf::Updater& updater) {
  TRY(std::string target_directory, required(line, "target-dir"));
  for (const std::string& name : line.values("target-name")) {
    TRY(auto found, updater.find(name));
    if (!found)
      return make_error(ErrorCode::not_found, name,
                        "is a target that no role of the repository knows");
    TRY(fs::path path, updater.download(*found, target_directory));
    log(LogLevel::info, "{}: in {}", name, path.native());
  }
  return ok_status();
}

Status refresh(const CommandLine& line, const fs::path& directory, bool is_download) {
  TRY(std::string metadata_url, required(line, "metadata-url"));
  if (is_download) {
    TRY(std::string named, required(line, "target-name"));
    TRY(std::string target_url, required(line, "target-base-url"));
  }
  net::CurlOptions options;
  options.proxy = line.value("proxy");
  TRY(auto curl, net::CurlClient::make(options));
  net::RetryingClient client(*curl, {}, net::RetrySeam::real());
  RepositoryFetcher fetcher(client, metadata_url, line.value("target-base-url"));
  TRY(auto updater, trust::tuf::Updater::open(directory, fetcher, wall_clock_s()));
  TRY_STATUS(updater.refresh());
  return is_download ? download(line, updater) : ok_status();
}

Status run(const CommandLine& line) {
  if (line.operands.empty())
    return make_error(ErrorCode::invalid_input, "livecare-tuf",
                      "needs init, refresh or download; see --help");
  TRY(std::string directory, required(line, "metadata-dir"));
  const std::string& verb = line.operands[0];
  if (verb == "init") return init(line, directory);
  if (line.operands.size() == 1 && verb == "refresh") return refresh(line, directory, false);
  if (line.operands.size() == 1 && verb == "download") return refresh(line, directory, true);
  return make_error(ErrorCode::invalid_input, verb,
                    "is not a command, or has too many arguments; see --help");
}

}  // namespace

int run_tuf_command(const std::vector<std::string>& arguments) {
  auto line = parse_command_line(arguments, option_table());
  if (line.ok() && line->has("help")) {
    fmt::print("{}", help);
    return 0;
  }
  if (line.ok() && line->has("verbose")) set_log_level(LogLevel::debug);
  Status status = line.ok() ? run(*line) : Status(line.take_error());
  if (status.ok()) return 0;
  fmt::print(stderr, "livecare-tuf: {}\n", status.error().text());
  return 1;
}

}  // namespace livecare::agent
