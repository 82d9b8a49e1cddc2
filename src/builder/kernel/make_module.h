// From the object of a patch to a signed module, through kbuild and against the release's own
// configuration, exported symbols and version magic.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/kernel/release.h"
#include "builder/kernel/symvers.h"

namespace livecare::builder {

// The key that the kernel's loader can check: a PEM private key and an X.509 certificate (DER),
// which is enrolled where module signatures are enforced.
struct ModuleKey {
  std::filesystem::path key;
  std::filesystem::path certificate;
};
// Beside the maker's key: module.key and module.der; made when they are missing.
Result<ModuleKey> load_module_key(const std::filesystem::path& maker_key);

// The module NAME.ko in the directory `work`.
Result<std::filesystem::path> make_module(const KernelRelease& kernel, const std::string& name,
                                          const Bytes& object, const std::filesystem::path& work);

// Reads the finished module back: what it leaves undefined the kernel exports, and the sections of
// the patch are in it.
Status check_module(const std::filesystem::path& module, const ExportedSymbols& exported,
                    const std::string& release);

Status sign_module(const KernelRelease& kernel, const ModuleKey& key,
                   const std::filesystem::path& module);

}  // namespace livecare::builder
