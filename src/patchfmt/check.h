// What a Patchset must fulfil before anybody may act on it: every offset inside its image, every
// number inside its table, nothing overlapping, names that are safe as file names. Users of a
// Patchset that read() returned rely on each of these.
// Pure, thread-safe.
#pragma once

#include <string_view>

#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::patchfmt {

inline constexpr uint64_t new_tls_bytes_max = 1 << 20;
inline constexpr uint64_t new_tls_align_max = 4096;
inline constexpr uint64_t build_id_digits_max = 128;
inline constexpr uint64_t patchset_name_bytes_max = 128;
inline constexpr uint64_t kernel_id_digits = 40;
inline constexpr uint64_t module_name_bytes_max = 55;  // MODULE_NAME_LEN - 1 of the kernel
// User-space addresses of both CPUs end below this, so sums of two of them cannot wrap.
inline constexpr uint64_t target_address_max = uint64_t{1} << 56;

Status check(const Patchset& patchset, std::string_view name);

}  // namespace livecare::patchfmt
