#include "builder/kernel/publish_kernel.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/file_system.h"
#include "base/process.h"
#include "base/text.h"
#include "builder/fix_patch.h"
#include "builder/publish.h"
#include "patchfmt/codec.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {
constexpr uint32_t kernel_signature_version = 1;
constexpr size_t sha1_digits = 40;

std::string ending_of(const std::string& type) {
  return type == "default" ? "" : "." + type;
}

// The blocks of a kpatch.info, as far as they say which fix it is.
std::vector<patchfmt::Fix> fixes_of(std::string_view information) {
  constexpr std::string_view name_key = "kpatch-name: ", cve_key = "kpatch-cve: ";
  std::vector<patchfmt::Fix> fixes;
  for (std::string_view line : split_lines(information)) {
    if (line.starts_with(name_key)) {
      fixes.emplace_back();
      fixes.back().name = line.substr(name_key.size());
    } else if (line.starts_with(cve_key) && !fixes.empty()) {
      fixes.back().cves = find_cves(line.substr(cve_key.size()));
    }
  }
  return fixes;
}

bool holds(const patchfmt::Patchset& patchset, const patchfmt::Fix& published) {
  auto has = [](const std::vector<std::string>& list) {
    return [&list](const std::string& cve) {
      return std::find(list.begin(), list.end(), cve) != list.end();
    };
  };
  std::vector<std::string> all;
  for (const patchfmt::Fix& fix : patchset.fixes)
    all.insert(all.end(), fix.cves.begin(), fix.cves.end());
  if (!published.cves.empty() &&
      std::all_of(published.cves.begin(), published.cves.end(), has(all)))
    return true;
  return std::any_of(patchset.fixes.begin(), patchset.fixes.end(), [&](const patchfmt::Fix& fix) {
    return fix.name == published.name &&
           (fix.cves.empty() || published.cves.empty() ||
            std::any_of(published.cves.begin(), published.cves.end(), has(fix.cves)));
  });
}

}  // namespace

Result<std::string> kernel_id(const elf::Image& vmlinux) {
  for (const elf::Symbol& symbol : vmlinux.symbols()) {
    if (symbol.name != "linux_banner" || symbol.size == 0) continue;
    auto bytes = vmlinux.at_address(symbol.value, symbol.size);
    auto banner = bytes ? bytes->c_string(0) : std::nullopt;
    if (!banner || !banner->ends_with('\n')) break;
    TRY(std::string digest, run_checked({.arguments = {"sha1sum"}, .input = std::string(*banner)}));
    if (digest.size() < sha1_digits) break;
    return digest.substr(0, sha1_digits);
  }
  return make_error(ErrorCode::unsupported, vmlinux.name(),
                    "has no banner, by which the patch server knows a kernel");
}

Result<std::string> next_kernel_patchset_name(const fs::path& directory, const std::string& date) {
  for (unsigned number = 1; number <= patchsets_per_day_max; ++number) {
    std::string name = fmt::format("K{}_{:02}", date, number);
    std::error_code ignored;
    if (!fs::exists(directory / (name + ".ko"), ignored)) return name;
  }
  return make_error(ErrorCode::unsupported, directory.native(),
                    "has {} patchsets of {} already; use another directory", patchsets_per_day_max,
                    date);
}

Status check_kernel_cumulative(const fs::path& directory, const std::string& kernel,
                               const std::string& type, const patchfmt::Patchset& patchset) {
  uint32_t level = latest_level(directory, kernel);
  if (level == 0) return ok_status();
  fs::path file = directory / kernel / std::to_string(level) / ("kpatch.info" + ending_of(type));
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return ok_status();  // that level has other types only
  TRY(std::string information, read_text(file));
  std::string missing;
  for (const patchfmt::Fix& fix : fixes_of(information)) {
    if (holds(patchset, fix)) continue;
    missing += (missing.empty() ? "" : ", ") + fix.name;
    if (!fix.cves.empty()) missing += fmt::format(" ({})", fmt::join(fix.cves, ", "));
  }
  if (missing.empty()) return ok_status();
  return make_error(ErrorCode::conflict, directory.native(),
                    "level {} is published there with {}, which this patch would take out of "
                    "kernels again: a level replaces the one before as a whole; give every fix "
                    "with a --fix of its own, or another --out",
                    level, missing);
}

Result<Bytes> kernel_signature(const trust::PrivateKey& key, ByteView module) {
  Bytes out(kernel_signature_magic.begin(), kernel_signature_magic.end());
  append_le(out, kernel_signature_version);
  trust::KeyId id = key.public_key().id();
  out.insert(out.end(), id.begin(), id.end());
  TRY(auto signature, trust::sign(key, module));
  out.insert(out.end(), signature.begin(), signature.end());
  return out;
}

Result<fs::path> publish_kernel(const fs::path& directory, const std::string& kernel,
                                const std::string& type, const patchfmt::Patchset& patchset,
                                const fs::path& module, const fs::path& certificate,
                                const trust::PrivateKey& key) {
  TRY(Bytes file, read_file(module));
  TRY(Bytes signature, kernel_signature(key, file));
  std::string ending = ending_of(type);
  fs::path level = directory / kernel / std::to_string(patchset.level);
  std::string info = patchfmt::kpatch_info(patchset);
  TRY_STATUS(write_file_atomic(level / ("kpatch.info" + ending), ByteView(info)));
  TRY_STATUS(write_file_atomic(level / ("kpatch.ko" + ending), file));
  TRY_STATUS(write_file_atomic(level / ("kpatch.sig" + ending), signature));
  fs::path named = directory / (patchset.name + ".ko");
  TRY_STATUS(write_file_atomic(named, file));
  TRY(Bytes certificate_bytes, read_file(certificate));
  TRY_STATUS(write_file_atomic(directory / "module.der", certificate_bytes));
  fs::path public_key = directory / "maker.pub";
  auto before = trust::load_public_key(public_key);
  if (!before.ok() || before->raw != key.public_key().raw)
    TRY_STATUS(trust::save_public_key(public_key, key.public_key()));
  std::string number = std::to_string(patchset.level) + "\n";
  TRY_STATUS(write_file_atomic(directory / kernel / "version", ByteView(number)));
  TRY_STATUS(write_file_atomic(directory / kernel / "latest.v2", ByteView(number)));
  return named;
}

}  // namespace livecare::builder
