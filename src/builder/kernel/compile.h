// Compiles single objects of a prepared kernel through kbuild, as they were and with a fix.
//
// Originals are kept in the cache entry. An object is never taken from a former run of make: the
// times of files that a fix touched and gave back say nothing.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/kernel/release.h"

namespace livecare::builder {

struct KernelObject {
  std::string source;  // "net/ipv4/tcp_input.c"
  std::string module;  // "nf_tables"; empty: part of vmlinux
  std::filesystem::path original;
  std::filesystem::path patched;
  bool optional = false;  // need not be part of this kernel
  bool absent = false;    // cannot be compiled as this kernel is configured; optional ones only

  std::string object() const { return source.substr(0, source.rfind('.')) + ".o"; }
};

// The tree must be pristine.
Status compile_kernel_originals(const KernelRelease& kernel, std::vector<KernelObject>& objects,
                                unsigned jobs);
// The fixes must be applied. A compile error is one of the fix (refused) and quotes the compiler.
Status compile_kernel_patched(const KernelRelease& kernel, std::vector<KernelObject>& objects,
                              const std::filesystem::path& into, unsigned jobs);

// Of a .cmd file that kbuild wrote: the module that the object is for; empty for vmlinux.
std::string module_of_command(std::string_view command);

}  // namespace livecare::builder
