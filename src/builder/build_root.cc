// mmdebstrap makes a tree in half a minute, and a chroot in a mount name space of its own runs a
// command in it: no daemon, nothing to unmount when the command or we are killed. Directories are
// bound under their own names, so paths in messages and in what kbuild writes mean the same on both
// sides.
#include "builder/build_root.h"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_system.h"
#include "base/log.h"
#include "builder/cache_entry.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

// What kbuild needs to configure a kernel and to make its host programs (objtool, sign-file,
// resolve_btfids, genksyms).
constexpr const char* tools =
    "bc,bison,ca-certificates,flex,kmod,libc6-dev,libdw-dev,libelf-dev,libssl-dev,make,openssl,"
    "perl,python3-minimal,xz-utils,zlib1g-dev";

struct Mount {
  std::string from, to;
};

int mount_all(const std::string& root, const std::vector<Mount>& mounts) {
  if (::unshare(CLONE_NEWNS) != 0) return errno;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  if (::mount("proc", (root + "/proc").c_str(), "proc", 0, nullptr) != 0) return errno;
  for (const Mount& mount : mounts)
    if (::mount(mount.from.c_str(), mount.to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
      return errno;
  if (::chroot(root.c_str()) != 0 || ::chdir("/") != 0) return errno;
  return 0;
}

Status install(const BuildRoot& root, const std::string& package, const fs::path& log_file) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"apt-get", "-q", "update"},
        std::vector<std::string>{"apt-get", "-q", "-y", "--no-install-recommends", "install",
                                 package}}) {
    Command command = root.command(arguments, {});
    command.environment = {{"DEBIAN_FRONTEND", "noninteractive"}, {"LC_ALL", "C"}};
    command.output_file = log_file;
    TRY(CommandResult done, run(command));
    if (done.exit_code != 0)
      return make_error(ErrorCode::io, package, "cannot be installed in the build tree; see {}",
                        log_file.native());
  }
  return ok_status();
}

}  // namespace

Result<BuildRoot> BuildRoot::open(const fs::path& cache, const std::string& suite) {
  std::error_code ignored;
  fs::path entry = cache / "roots" / suite;
  if (!fs::exists(entry / "ready", ignored))
    return make_error(ErrorCode::not_found, (entry / "ready").native(),
                      "the build tree of {} is gone", suite);
  return BuildRoot(entry / "root");
}

Result<BuildRoot> BuildRoot::make(const fs::path& cache, const std::string& suite, const Apt& apt,
                                  const std::string& package) {
  if (::geteuid() != 0)
    return make_error(ErrorCode::permission, suite,
                      "a build tree of another suite needs root; run it as root, or on a machine "
                      "with that suite");
  fs::path entry = cache / "roots" / suite;
  TRY(Fd lock, lock_entry(entry));
  std::error_code ignored;
  BuildRoot root(entry / "root");
  fs::path log_file = entry / "log";
  if (!fs::exists(entry / "ready", ignored)) {
    log(LogLevel::info, "{}: making a build tree (kept in {})", suite, entry.native());
    Heartbeat heartbeat("making a build tree of " + suite);
    TRY_STATUS(clear_entry(entry));
    auto made = run({.arguments = {"mmdebstrap", "-q", "--variant=apt",
                                   "--include=" + std::string(tools) + "," + package,
                                   "--aptopt=Acquire::Check-Valid-Until \"false\"", suite,
                                   root.path_.native(), apt.sources_file().native()},
                     .output_file = log_file});
    if (!made.ok())
      return make_error(ErrorCode::not_found, "mmdebstrap",
                        "makes build trees and is not there; install it");
    if (made->exit_code != 0)
      return make_error(ErrorCode::io, suite, "mmdebstrap makes no build tree; see {}",
                        log_file.native());
    TRY_STATUS(write_file_atomic(entry / "ready", {}));
  }
  // Of every suite, dpkg keeps a list of the files of what is installed.
  if (!fs::exists(root.path_ / "var/lib/dpkg/info" / (package + ".list"), ignored))
    TRY_STATUS(install(root, package, log_file));
  return root;
}

Command BuildRoot::command(std::vector<std::string> arguments,
                           const std::vector<fs::path>& directories) const {
  Command out;
  out.arguments = std::move(arguments);
  if (path_.empty()) return out;
  std::vector<Mount> mounts = {{"/dev", path_ / "dev"}};
  for (const fs::path& directory : directories) {
    std::error_code ignored;
    fs::path inside = path_ / directory.relative_path();
    fs::create_directories(inside, ignored);  // a failure is one of mount()
    mounts.push_back({directory, inside});
  }
  out.in_child = [root = path_.native(), mounts] { return mount_all(root, mounts); };
  return out;
}

}  // namespace livecare::builder
