// The running kernel as the agent sees it: kcare.ko, patch modules, /proc/kcare. An interface, so
// that the agent's decisions are tested without a kernel; open_kernel() gives the real one.
// Facts: kmod/uapi/kcare_ioctl.h, /proc/kcare (docs/internals/kmod.md), init_module(2).
// Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::kctl {

enum class Freezer : uint8_t { none, full, smart };

struct LoadedPatch {
  std::string module;  // as in /proc/modules
  uint32_t level = 0;
  std::string name;  // of the patchset
  bool is_applied = false;
  std::vector<std::string> functions;
  // Undone, and its memory stays until the next boot: something may still point into it
  // (KCARE_PATCH_STAYS). It is there to be switched to again.
  bool is_kept = false;
};

struct KernelState {
  bool has_kcare = false;     // kcare.ko is loaded
  std::string kcare_version;  // of it
  std::string release;        // uname -r
  std::string effective;      // what is as safe: the release, where nothing is applied
  std::vector<std::string> cves;
  std::vector<LoadedPatch> patches;
  const LoadedPatch* applied() const;
};

struct SwitchRequest {
  std::string module;
  Freezer freezer = Freezer::full;
  bool force = false;  // skips only freezing
  uint32_t timeout_ms = 10'000;
};

struct SwitchReport {
  uint64_t stop_ns = 0;
  uint32_t attempts = 0;
  uint32_t functions = 0;
  uint32_t tasks_walked = 0;  // inside of the stop
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  // The bytes of /proc/version.
  virtual Result<std::string> version_text() const = 0;
  virtual Result<KernelState> state() const = 0;

  // Loads kcare.ko by modprobe when it is not there.
  virtual Status load_kcare() = 0;
  // Stages a patch: nothing runs in it yet. Errors: untrusted (the kernel wants another module
  // signature), permission, conflict (loaded already; a kept one of the same build is no error),
  // refused (kcare.ko said no; the kernel log says why).
  virtual Status load_patch(const std::string& module, ByteView file) = 0;
  // A patch that is not applied. busy: some task is still in it; later. A kept one stays: no error.
  virtual Status unload_patch(const std::string& module) = 0;

  // Errors: busy (somebody did not leave in time: the tasks and functions), conflict (a function
  // is in the hands of another patcher or tracer), not_found (no such patch is staged).
  virtual Result<SwitchReport> switch_to(const SwitchRequest& request) = 0;
  // Back to what was shipped.
  virtual Result<SwitchReport> switch_back(const SwitchRequest& request) = 0;
  // What stands in the way of a staged patch, one line each; empty: nothing.
  virtual Result<std::string> obstacles(const SwitchRequest& request) = 0;
};

// root: where /proc, /sys and /dev are; "/" but in tests.
std::unique_ptr<Kernel> open_kernel(const std::filesystem::path& root = "/");

// The text of /proc/kcare/patches: lines MODULE LEVEL NAME applied|staged|kept FUNCTION...
Result<std::vector<LoadedPatch>> parse_patches(std::string_view text);

// Why kcare.ko refused a module, from the newest line of the kernel's log about it; empty: nothing
// is said there.
std::string refusal_in_log(std::string_view log, std::string_view module);

}  // namespace livecare::kctl
