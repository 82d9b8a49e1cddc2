#include "builder/patch_file_options.h"

#include <iostream>

#include "base/log.h"
#include "builder/inspect_command.h"
#include "builder/key_commands.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr int exit_untrusted = 2;

// What the options of all four are stored in; lives as long as the application's callbacks.
struct Arguments {
  std::string file;
  std::string prefix;
  std::string key;
  std::vector<std::string> public_keys;
  bool json = false;
};

int report(const Status& status) {
  if (status.ok()) return 0;
  log(LogLevel::error, "{}", status.error().text());
  return 1;
}

int run_sign(const Arguments& arguments, const fs::path& default_key) {
  auto key = trust::load_private_key(arguments.key.empty() ? default_key : fs::path(arguments.key));
  if (!key.ok()) return report(key.take_error());
  return report(sign_command(arguments.file, *key, std::cout));
}

int run_verify(const Arguments& arguments, const fs::path& default_key) {
  std::vector<fs::path> keys(arguments.public_keys.begin(), arguments.public_keys.end());
  if (keys.empty()) keys.push_back(fs::path(default_key).replace_extension(".pub"));
  auto good = verify_command(arguments.file, keys, std::cout);
  if (!good.ok()) return report(good.take_error());
  return *good ? 0 : exit_untrusted;
}

}  // namespace

void add_patch_file_commands(CLI::App& app, const fs::path& default_key, int& exit_code) {
  auto arguments = std::make_shared<Arguments>();

  auto* inspect = app.add_subcommand("inspect", "show what a patch file holds");
  inspect->add_option("file", arguments->file, "a patch")->required();
  inspect->add_flag("--json", arguments->json, "everything, as JSON");
  inspect->callback([arguments, &exit_code] {
    exit_code = report(inspect_command(arguments->file, arguments->json, std::cout));
  });

  auto* keygen = app.add_subcommand("keygen", "make a maker's key: PREFIX.key and PREFIX.pub");
  keygen->add_option(
      "--out,prefix", arguments->prefix,
      fmt::format("where to ({})", fs::path(default_key).replace_extension().native()));
  keygen->callback([arguments, default_key, &exit_code] {
    fs::path prefix = arguments->prefix.empty() ? fs::path(default_key).replace_extension()
                                                : fs::path(arguments->prefix);
    exit_code = report(keygen_command(prefix, std::cout));
  });

  auto* sign = app.add_subcommand("sign", "add a signature to a patch, in place");
  sign->add_option("file", arguments->file, "a patch")->required();
  sign->add_option("--key", arguments->key,
                   fmt::format("maker's private key ({})", default_key.native()));
  sign->callback(
      [arguments, default_key, &exit_code] { exit_code = run_sign(*arguments, default_key); });

  auto* verify = app.add_subcommand("verify", "exit 0 when a key's good signature covers a patch");
  verify->add_option("file", arguments->file, "a patch")->required();
  verify->add_option("--key", arguments->public_keys, "public key of a maker (repeatable)");
  verify->callback(
      [arguments, default_key, &exit_code] { exit_code = run_verify(*arguments, default_key); });
}

}  // namespace livecare::builder
