#include "agent/paths.h"

namespace livecare::agent {

Paths::Paths(const std::filesystem::path& prefix)
    : root(prefix.empty() ? "/" : prefix),
      configuration(root / "etc/sysconfig/kcare/kcare.conf"),
      keys(root / "etc/sysconfig/kcare/keys"),
      cache(root / "var/cache/kcare/userspace"),
      kernel_cache(root / "var/cache/kcare/kernel"),
      kernel_attempt(kernel_cache / "attempt"),
      sysctl(root / "etc/sysconfig/kcare/sysctl.conf"),
      symlink_group(root / "proc/sys/fs/symlinkown_gid"),
      local_blacklist(cache / "blacklist"),
      packaged_blacklist(root / "var/lib/libcare/blacklist"),
      lock(root / "run/kcare/lock"),
      libexec(root / "usr/libexec/kcare") {}

}  // namespace livecare::agent
