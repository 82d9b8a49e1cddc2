#include "builder/kernel/kernel_id.h"

#include "trust/keys.h"

namespace livecare::builder {

Result<std::string> kernel_id(const elf::Image& vmlinux) {
  for (const elf::Symbol& symbol : vmlinux.symbols()) {
    if (symbol.name != "linux_banner" || symbol.size == 0) continue;
    auto bytes = vmlinux.at_address(symbol.value, symbol.size);
    auto banner = bytes ? bytes->c_string(0) : std::nullopt;
    if (!banner || !banner->ends_with('\n')) break;
    return trust::sha1_hex(ByteView(*banner));
  }
  return make_error(ErrorCode::unsupported, vmlinux.name(),
                    "has no banner, by which the patch server knows a kernel");
}

}  // namespace livecare::builder
