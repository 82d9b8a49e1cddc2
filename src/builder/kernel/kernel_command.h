// `livecare-build kernel` and `livecare-build prepare --kernel`: options in, text or JSON out.
#pragma once

#include <ostream>
#include <string>

#include "builder/kernel/make_kernel_patch.h"
#include "builder/prepare.h"

namespace livecare::builder {

struct KernelRequest {
  std::string release;
  PrepareOptions prepare;
  KernelPatchOptions patch;
  bool json = false;
};

// Give the process's exit code.
int kernel_command(const KernelRequest& request, std::ostream& out);
int prepare_kernel_command(const std::string& release, const PrepareOptions& options,
                           std::ostream& out);

}  // namespace livecare::builder
