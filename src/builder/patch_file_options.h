// The part of livecare-build's command line that deals with finished patch files and keys: inspect,
// keygen, sign, verify.
#pragma once

#include <CLI/CLI.hpp>

#include "base/result.h"
#include "trust/keys.h"

namespace livecare::builder {

// Exit codes go to exit_code when a command runs: 0 done, 2 verify found no good signature, 1 any
// other error. default_key is the private key that sign uses and keygen makes when none is named;
// its public half (.pub beside it) is what verify uses.
void add_patch_file_commands(CLI::App& app, const std::filesystem::path& default_key,
                             int& exit_code);

}  // namespace livecare::builder
