// The commands of kcarectl about the kernel: options and configuration in, sentences of the field
// and exit codes out. What is to be done is decided in kernel_patches.h.
#pragma once

#include "agent/config.h"
#include "agent/exit.h"
#include "agent/kernel_patches.h"
#include "agent/options.h"

namespace livecare::agent {

class KernelCommands {
 public:
  KernelCommands(const CommandLine& line, const Paths& paths, kctl::Kernel& kernel)
      : line_(line), paths_(paths), kernel_(kernel), patches_(paths, kernel) {}

  KcarectlExit set_patch_type();
  KcarectlExit update();        // --update
  KcarectlExit smart_update();  // --smart-update: UPDATE_POLICY
  KcarectlExit auto_update();   // --auto-update: AUTO_UPDATE, IGNORE_UNKNOWN_KERNEL
  KcarectlExit unload();
  KcarectlExit info();
  KcarectlExit patch_info();
  KcarectlExit uname();
  // Exit codes of their own: 0 and 1; KernelStatus.
  KcarectlExit check();
  KcarectlExit status();
  KcarectlExit preflight();

 private:
  Result<Config> load_config() const;
  Result<kctl::Freezer> freezer(const Config& config) const;
  Result<KernelUpdateRequest> request(const Config& config) const;
  KcarectlExit run_update(const Config& config, PatchesFrom from, bool by_itself);
  KcarectlExit report(const KernelUpdate& update) const;
  bool wants_json() const { return line_.has("json"); }

  const CommandLine& line_;
  const Paths& paths_;
  kctl::Kernel& kernel_;
  KernelPatches patches_;
};

}  // namespace livecare::agent
