// Every path that the agent uses, below one root. --root DIR moves them all (not /proc).
#pragma once

#include <filesystem>

namespace livecare::agent {

struct Paths {
  explicit Paths(const std::filesystem::path& root = "/");

  std::filesystem::path root;
  std::filesystem::path configuration;       // /etc/sysconfig/kcare/kcare.conf
  std::filesystem::path keys;                // /etc/sysconfig/kcare/keys: NAME.pub
  std::filesystem::path cache;               // /var/cache/kcare/userspace: patches by build-ID
  std::filesystem::path kernel_cache;        // /var/cache/kcare/kernel: patches by kernel ID
  std::filesystem::path kernel_attempt;      // /var/cache/kcare/kernel/attempt
  std::filesystem::path sysctl;              // /etc/sysconfig/kcare/sysctl.conf
  std::filesystem::path symlink_group;       // /proc/sys/fs/symlinkown_gid, of some patches
  std::filesystem::path local_blacklist;     // /var/cache/kcare/userspace/blacklist
  std::filesystem::path packaged_blacklist;  // /var/lib/libcare/blacklist
  std::filesystem::path lock;                // /run/kcare/lock
  std::filesystem::path libexec;             // /usr/libexec/kcare
};

}  // namespace livecare::agent
