#include "builder/kernel/publish_kernel.h"

#include "base/file_system.h"
#include "base/process.h"
#include "builder/publish.h"
#include "patchfmt/codec.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {
constexpr uint32_t kernel_signature_version = 1;
constexpr size_t sha1_digits = 40;
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
  std::string ending = type == "default" ? "" : "." + type;
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
