// livecare-build: makes binary patches from source fixes. See docs/builder.md.
// Exit codes: 0 made, 2 refused (every reason on standard error), 1 any other error.
#include <CLI/CLI.hpp>
#include <iostream>

#include "base/log.h"
#include "builder/user_command.h"

namespace {

using namespace livecare;

void add_cache_options(CLI::App& command, builder::PrepareOptions& options) {
  command.add_option("--cache", options.cache, "where prepared trees are kept (~/.cache/livecare)");
  command.add_option("--jobs", options.jobs, "parallel compiles (all processors)");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Makes binary patches for running programs from source fixes"};
  app.require_subcommand(1);
  bool verbose = false, quiet = false;
  app.add_flag("--verbose", verbose, "say more");
  app.add_flag("--quiet", quiet, "only warnings and errors");
  app.fallthrough();
  int exit_code = 1;

  builder::PrepareOptions prepare_options;
  std::string package;
  auto* prepare = app.add_subcommand("prepare", "build a package once, under recording");
  prepare->add_option("--package", package, "NAME=VERSION")->required();
  bool prepare_json = false;
  prepare->add_flag("--json", prepare_json);
  add_cache_options(*prepare, prepare_options);
  prepare->callback([&] {
    exit_code = builder::prepare_command(package, prepare_options, prepare_json, std::cout);
  });

  std::string directory;
  auto* fetch = app.add_subcommand("fetch", "download and unpack the shipped binary packages");
  fetch->add_option("--package", package, "NAME=VERSION")->required();
  fetch->add_option("--dir", directory, "where to")->required();
  add_cache_options(*fetch, prepare_options);
  fetch->callback(
      [&] { exit_code = builder::fetch_command(package, directory, prepare_options, std::cout); });

  app.parse_complete_callback([&] {
    if (verbose) set_log_level(LogLevel::debug);
    if (quiet) set_log_level(LogLevel::warning);
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    int code = app.exit(failure);
    return code == 0 ? 0 : 1;
  } catch (const std::exception& failure) {
    log(LogLevel::error, "{}", failure.what());
    return 1;
  }
  return exit_code;
}
