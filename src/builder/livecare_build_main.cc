// livecare-build: makes binary patches from source fixes. See docs/builder.md.
// Exit codes: 0 made, 2 refused (every reason on standard error), 1 any other error. objdiff says 1
// for "nothing changed", and so 2 for any other error.
#include <algorithm>
#include <CLI/CLI.hpp>
#include <iostream>
#include <string_view>

#include "base/log.h"
#include "builder/fix_patch.h"
#include "builder/kernel/kernel_command.h"
#include "builder/objdiff_command.h"
#include "builder/patch_file_options.h"
#include "builder/publish.h"
#include "builder/user_command.h"

namespace {

using namespace livecare;

void add_cache_options(CLI::App& command, builder::PrepareOptions& options) {
  command.add_option("--cache", options.cache, "where prepared trees are kept (~/.cache/livecare)");
  command.add_option("--jobs", options.jobs, "parallel compiles (all processors)");
}

void add_kernel_options(CLI::App& kernel, builder::KernelRequest& request) {
  builder::KernelPatchOptions& patch = request.patch;
  kernel.add_option("--release", request.release, "what uname -r says of the kernel")->required();
  kernel.add_option("--fix", patch.fixes, "a unified diff (repeatable, in order)")->required();
  kernel.add_option("--cve", patch.cves, "CVE of the fix (repeatable)");
  kernel.add_option("--cvss", patch.cvss, "its score");
  kernel.add_option("--description", patch.description, "what the patch is for");
  kernel.add_option("--effective", patch.effective, "what kcare-uname -r says when it is applied");
  kernel.add_option("--type", patch.type, "default, free or extra")
      ->check(CLI::IsMember({"default", "free", "extra"}));
  kernel.add_option("--level", patch.level, "patch level (one more than published)")
      ->check(CLI::Range(1u, 1'000'000u));
  kernel.add_option("--out", patch.out, "directory that gets the patch")->required();
  kernel.add_option("--key", patch.key,
                    "maker's private key (~/.config/livecare/maker.key, made on first use)");
  kernel.add_option("--keep-data", patch.keep_data,
                    "variable whose changed initial value is to be ignored (repeatable)");
  kernel.add_option("--fuzz", patch.fuzz, "lines of context that may differ")
      ->check(CLI::Range(0u, builder::fuzz_lines_max));
  kernel.add_flag("--json", request.json, "result as JSON on standard output");
  add_cache_options(kernel, request.prepare);
}

// The first argument that is no option.
bool is_objdiff(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (argv[i][0] != '-') return std::string_view(argv[i]) == "objdiff";
  return false;
}

int exit_after_bad_usage(int argc, char** argv, const std::string& problem) {
  if (!is_objdiff(argc, argv)) return 1;
  const bool json = std::count(argv, argv + argc, std::string_view("--json")) != 0;
  return builder::objdiff_usage(problem, json, std::cout);
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

  builder::UserRequest user_request;
  auto* user = app.add_subcommand("user", "make a patch for shared objects and programs");
  auto* from_package = user->add_option("--package", user_request.package,
                                        "NAME=VERSION of the distribution's archive");
  auto* from_source =
      user->add_option("--source", user_request.source.source, "a source tree, built in a copy");
  auto* build = user->add_option("--build", user_request.source.command, "builds the source tree");
  auto* target = user->add_option("--target", user_request.source.targets,
                                  "the shipped file that the tree makes (repeatable)");
  from_package->excludes(from_source);
  from_source->needs(build, target);
  build->needs(from_source);
  target->needs(from_source);
  user->add_option("--fix", user_request.patch.fixes, "a unified diff (repeatable, in order)")
      ->required();
  user->add_option("--cve", user_request.patch.cves, "CVE of the fix (repeatable)");
  user->add_option("--cvss", user_request.patch.cvss, "its score");
  user->add_option("--description", user_request.patch.description, "what the patch is for");
  user->add_option("--level", user_request.patch.level, "patch level (one more than published)")
      ->check(CLI::Range(1u, 1'000'000u));
  user->add_option("--out", user_request.patch.out, "directory that gets the patch")->required();
  user->add_option("--key", user_request.patch.key,
                   "maker's private key (~/.config/livecare/maker.key, made on first use)");
  user->add_option("--keep-data", user_request.patch.keep_data,
                   "variable whose changed initial value is to be ignored (repeatable)");
  user->add_option("--fuzz", user_request.patch.fuzz, "lines of context that may differ")
      ->check(CLI::Range(0u, builder::fuzz_lines_max));
  user->add_flag("--json", user_request.json, "result as JSON on standard output");
  add_cache_options(*user, user_request.prepare);
  user->callback([&] {
    if (user_request.package.empty() && user_request.source.source.empty())
      throw CLI::ValidationError("user",
                                 "give --package NAME=VERSION, or --source, --build and --target");
    exit_code = builder::user_command(user_request, std::cout);
  });

  builder::KernelRequest kernel_request;
  auto* kernel = app.add_subcommand("kernel", "make a patch for a kernel and its modules");
  add_kernel_options(*kernel, kernel_request);
  kernel->callback([&] { exit_code = builder::kernel_command(kernel_request, std::cout); });

  builder::PrepareOptions prepare_options;
  std::string package, release;
  auto* prepare = app.add_subcommand(
      "prepare", "build a package once, under recording, or get a kernel's source ready");
  auto* of_package = prepare->add_option("--package", package, "NAME=VERSION");
  prepare->add_option("--kernel", release, "what uname -r says of it")->excludes(of_package);
  bool prepare_json = false;
  prepare->add_flag("--json", prepare_json);
  add_cache_options(*prepare, prepare_options);
  prepare->callback([&] {
    if (package.empty() && release.empty())
      throw CLI::ValidationError("prepare", "give --package NAME=VERSION or --kernel RELEASE");
    if (!release.empty())
      exit_code = builder::prepare_kernel_command(release, prepare_options, std::cout);
    else
      exit_code = builder::prepare_command(package, prepare_options, prepare_json, std::cout);
  });

  std::string directory;
  auto* fetch = app.add_subcommand("fetch", "download and unpack the shipped binary packages");
  fetch->add_option("--package", package, "NAME=VERSION")->required();
  fetch->add_option("--dir", directory, "where to")->required();
  add_cache_options(*fetch, prepare_options);
  fetch->callback(
      [&] { exit_code = builder::fetch_command(package, directory, prepare_options, std::cout); });

  std::string original, patched;
  bool objdiff_as_json = false;
  auto* objdiff = app.add_subcommand(
      "objdiff", "compare two objects: exit 0 changed, 1 nothing changed, 2 refused");
  objdiff->add_option("original", original, "the object before the fix")->required();
  objdiff->add_option("patched", patched, "the object with the fix")->required();
  objdiff->add_flag("--json", objdiff_as_json, "result as JSON");
  bool of_kernel = false;
  objdiff->add_flag("--kernel", of_kernel, "objects of Linux: tables go with their functions");
  objdiff->callback([&] {
    auto code = builder::objdiff_command(original, patched, objdiff_as_json, std::cout, of_kernel);
    exit_code = code.ok() ? *code : builder::objdiff_refused;
  });

  builder::add_patch_file_commands(app, builder::default_key(), exit_code);

  app.parse_complete_callback([&] {
    if (verbose) set_log_level(LogLevel::debug);
    if (quiet) set_log_level(LogLevel::warning);
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    int code = app.exit(failure);
    return code == 0 ? 0 : exit_after_bad_usage(argc, argv, failure.what());
  } catch (const std::exception& failure) {
    log(LogLevel::error, "{}", failure.what());
    return exit_after_bad_usage(argc, argv, failure.what());
  }
  return exit_code;
}
