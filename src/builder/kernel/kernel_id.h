// The name of a kernel on patch servers.
#pragma once

#include <string>

#include "base/result.h"
#include "elf/image.h"

namespace livecare::builder {

// SHA-1 of what /proc/version says of that kernel, read from its banner.
Result<std::string> kernel_id(const elf::Image& vmlinux);

}  // namespace livecare::builder
