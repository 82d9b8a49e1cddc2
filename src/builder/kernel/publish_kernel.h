// Where finished kernel patches go: a directory that is a patch server as it stands.
//   DIR/KERNEL_ID/LEVEL/{kpatch.ko,kpatch.sig,kpatch.info}, DIR/KERNEL_ID/{version,latest.v2},
//   DIR/NAME.ko, DIR/maker.pub, DIR/module.der
// Of a patch type other than the default one the files of a level end in .TYPE. A reader sees a
// level only when it is complete: latest.v2 is written last.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "elf/image.h"
#include "patchfmt/patch.h"
#include "trust/keys.h"

namespace livecare::builder {

// SHA-1 of what /proc/version says of that kernel, read from its banner.
Result<std::string> kernel_id(const elf::Image& vmlinux);

// The next free "KYYYYMMDD_NN" of a directory.
Result<std::string> next_kernel_patchset_name(const std::filesystem::path& directory,
                                              const std::string& date);

// A level replaces the one before as a whole: names the fixes that the newest published level has
// and this one has not (conflict). A fix counts by its CVEs; without any, or with one in common, by
// name.
Status check_kernel_cumulative(const std::filesystem::path& directory, const std::string& kernel,
                               const std::string& type, const patchfmt::Patchset& patchset);

// kpatch.sig: "LCKS", version 1 (u32), the key's ID (32 bytes), the Ed25519 signature (64 bytes) of
// the whole module file, the kernel's own signature included.
inline constexpr std::string_view kernel_signature_magic = "LCKS";
Result<Bytes> kernel_signature(const trust::PrivateKey& key, ByteView module);

Result<std::filesystem::path> publish_kernel(const std::filesystem::path& directory,
                                             const std::string& kernel, const std::string& type,
                                             const patchfmt::Patchset& patchset,
                                             const std::filesystem::path& module,
                                             const std::filesystem::path& certificate,
                                             const trust::PrivateKey& key);

}  // namespace livecare::builder
