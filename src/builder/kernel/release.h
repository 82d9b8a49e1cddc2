// One release of a distribution's kernel in the builder's cache: its source, configured and ready
// to compile single objects and modules, and what was shipped: vmlinux with its symbols, the
// modules, the exported symbols.
//
// The entry is locked for as long as the KernelRelease lives. Disk: about 1.6 GB, most of it the
// source; debugging information and other CPUs' code are left out.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/process.h"
#include "base/result.h"
#include "builder/build_root.h"
#include "builder/prepare.h"

namespace livecare::builder {

struct KernelRelease {
  Fd lock;
  std::filesystem::path entry;
  std::string release;   // what uname -r says
  std::string version;   // of the packages: "6.1.170-3"
  std::string compiler;  // "gcc-12", "x86_64-linux-gnu-gcc-14"
  std::string suite;     // where it is served; empty: in this machine's own sources
  bool was_cached = false;
  std::map<std::string, double> seconds;

  std::filesystem::path headers;  // directory that holds livecare/kernel_patch.h

  std::filesystem::path tree() const { return entry / "source"; }
  std::filesystem::path vmlinux() const { return entry / "shipped" / "vmlinux"; }
  std::filesystem::path modules() const { return entry / "shipped" / "modules"; }
  std::filesystem::path exported_symbols() const { return tree() / "Module.symvers"; }
  std::filesystem::path objects() const { return entry / "objects"; }

  // Runs where this kernel is built: on this machine, or in a tree of its suite. `also`: further
  // directories, than the entry and the headers, that the command reads or writes.
  Command command(std::vector<std::string> arguments, const std::filesystem::path& directory,
                  const std::vector<std::filesystem::path>& also = {}) const;
  // make with everything that makes it this release's build; targets are appended.
  std::vector<std::string> make(const std::vector<std::string>& targets) const;

  BuildRoot root;
};

Result<KernelRelease> prepare_kernel(const std::string& release, const PrepareOptions& options);

// "linux-source-6.1" of "6.1.170-3".
Result<std::string> kernel_source_package(const std::string& version);
// The package that a compiler is in: "gcc-14" of "x86_64-linux-gnu-gcc-14".
std::string compiler_package(const std::string& compiler);
// The value of a line KEY="VALUE" or KEY=VALUE of a configuration; empty without one.
std::string config_value(std::string_view config, std::string_view key);
// Lines that differ between two configurations and may change compiled code.
std::vector<std::string> config_differences(std::string_view shipped, std::string_view ours);
bool is_release_name(std::string_view release);

}  // namespace livecare::builder
