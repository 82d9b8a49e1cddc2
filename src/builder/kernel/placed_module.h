// A shipped module as if it were loaded: its sections at addresses of their own, relocations
// applied, and every symbol of another object at an address that is nobody else's. So one and the
// same matcher proves functions in vmlinux and in modules.
#pragma once

#include "base/result.h"
#include "elf/image.h"

namespace livecare::builder {

Result<elf::Image> place_module(const elf::Image& module);

}  // namespace livecare::builder
