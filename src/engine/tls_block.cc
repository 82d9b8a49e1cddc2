#include "engine/tls_block.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <filesystem>

#include "base/fd.h"
#include "engine/layout.h"
#include "engine/loader.h"
#include "engine/steps.h"
#include "engine/tls_carrier.h"

namespace livecare::engine {
namespace {

using patchfmt::RelocationKind;
using remote::BorrowedThread;
using remote::RemoteAddress;
using remote::RemotePtr;

constexpr std::string_view memfd_name = "livecare-tls";

bool wants_static_block(const patchfmt::Object& patch) {
  for (const patchfmt::Relocation& relocation : patch.relocations) {
    bool is_tp = relocation.symbol < patch.symbols.size() &&
                 (relocation.kind == RelocationKind::tp_offset64 ||
                  relocation.kind == RelocationKind::tp_offset32 ||
                  relocation.kind == RelocationKind::tls_offset32);
    if (is_tp && patch.symbols[relocation.symbol].kind == patchfmt::SymbolKind::new_tls)
      return true;
  }
  return false;
}

// The dynamic linker takes a path that it has loaded for the same object, and descriptors are given
// out again: so each carrier's path is spelt in its own way. "./" and "/" lead nowhere else.
std::string spelling_of(const TlsCarrier& carrier) {
  constexpr size_t digest_digits = 16;
  std::string path;
  for (char digit : carrier.soname.substr(carrier.soname.size() - digest_digits))
    for (int bit = 0; bit < 4; ++bit) {
      const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
      path += (value >> bit & 1) != 0 ? "./" : "/";
    }
  return path;
}

// A file that the target can open under path_in_target() and that is gone when this object is.
class CarrierFile {
 public:
  CarrierFile(BorrowedThread& thread, RemoteAddress scratch) : thread_(thread), scratch_(scratch) {}
  CarrierFile(const CarrierFile&) = delete;
  CarrierFile& operator=(const CarrierFile&) = delete;
  ~CarrierFile() {
    if (remote_fd_ >= 0) (void)thread_.syscall(SYS_close, {static_cast<uint64_t>(remote_fd_)});
    if (!on_disk_.empty()) {
      std::error_code ignored;
      std::filesystem::remove(on_disk_, ignored);
    }
  }

  Status make(const TlsCarrier& carrier) {
    if (make_memfd(carrier).ok()) return ok_status();
    return make_file(carrier);  // the target may not use memfd_create, or has no /proc
  }
  const std::string& path_in_target() const { return path_; }

 private:
  std::filesystem::path proc() const { return "/proc/" + std::to_string(thread_.memory().pid()); }

  Status make_memfd(const TlsCarrier& carrier) {
    std::error_code ignored;
    if (!std::filesystem::exists(proc() / "root/proc/self", ignored))
      return make_error(ErrorCode::unsupported, "", "no /proc in the target's root");
    Bytes name(memfd_name.begin(), memfd_name.end());
    name.push_back(0);
    TRY_STATUS(thread_.write(scratch_, name));
    TRY(uint64_t fd, thread_.syscall(SYS_memfd_create, {scratch_.address(), MFD_CLOEXEC}));
    step("memfd");
    remote_fd_ = static_cast<int>(fd);
    path_ = "/proc/self/fd/" + spelling_of(carrier) + std::to_string(fd);
    return fill(proc() / "fd" / std::to_string(fd), O_RDWR, carrier);
  }

  Status make_file(const TlsCarrier& carrier) {
    Status status = ok_status();
    for (std::string_view directory : {"/dev/shm", "/run", "/tmp", "/var/tmp"}) {
      std::string path =
          fmt::format("{}/.{}-{}", directory, carrier.soname, thread_.memory().pid());
      std::filesystem::path full = proc() / ("root" + path);
      status = fill(full, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, carrier);
      if (!status.ok()) continue;
      on_disk_ = full;
      path_ = path;
      return ok_status();
    }
    return make_error(ErrorCode::refused, carrier.soname,
                      "new thread-local data needs memfd_create and /proc, or a writable /dev/shm, "
                      "/run, /tmp or /var/tmp, in the root of the process; {}",
                      status.error().text());
  }

  static Status fill(const std::filesystem::path& path, int flags, const TlsCarrier& carrier) {
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC, 0755));
    if (!fd.valid()) return errno_error(path.native(), "open", errno);
    ssize_t written = ::write(fd.get(), carrier.file.data(), carrier.file.size());
    if (written == static_cast<ssize_t>(carrier.file.size())) return ok_status();
    int saved = errno;
    if ((flags & O_CREAT) != 0) ::unlink(path.c_str());
    return errno_error(path.native(), "write", saved);
  }

  BorrowedThread& thread_;
  RemoteAddress scratch_;
  int remote_fd_ = -1;
  std::filesystem::path on_disk_;
  std::string path_;
};

Result<uint64_t> load_carrier(BorrowedThread& thread, const Target& target, const Control& control,
                              const TlsCarrier& carrier) {
  CarrierFile file(thread, RemoteAddress(scratch_of(control)));
  TRY_STATUS(file.make(carrier));
  TRY(uint64_t handle, load_library(thread, target, control, file.path_in_target()));
  step("carrier");
  if (handle == 0)
    return make_error(ErrorCode::refused, control.soname,
                      "the dynamic linker has no room for the patch's new thread-local data");
  // glibc's handle is its struct link_map, whose first field is the load bias.
  return thread.memory().read_value(RemotePtr<uint64_t>(handle));
}

struct WantedBlock {
  TlsCarrier carrier;
  bool is_static = false;
};

Result<WantedBlock> wanted_block(const StageRequest& request,
                                 const std::vector<SymbolValue>& values) {
  const patchfmt::Object& patch = *request.planned->patch;
  TRY(Bytes initial, relocate_new_tls(patch, values));
  std::string identity =
      fmt::format("{} level {}", request.patchset->name, request.patchset->level);
  for (const patchfmt::Symbol& symbol : patch.symbols)
    if (symbol.kind == patchfmt::SymbolKind::new_tls)
      identity += fmt::format(" {} {}", symbol.name, symbol.value);
  TlsBlock block{initial, std::move(identity), patch.new_tls_size, patch.new_tls_align,
                 wants_static_block(patch)};
  return WantedBlock{make_tls_carrier(patch.build_id, block), block.is_static};
}

// bias: of the loaded carrier.
Status fill_in(const remote::Memory& memory, uint64_t bias, bool is_static,
               const patchfmt::Object& patch, std::vector<SymbolValue>& values) {
  TRY(uint64_t module, memory.read_value(RemotePtr<uint64_t>(bias + carrier_module_offset)));
  TRY(int64_t tp_offset, memory.read_value(RemotePtr<int64_t>(bias + carrier_tp_offset_offset)));
  for (size_t i = 0; i < patch.symbols.size(); ++i) {
    if (patch.symbols[i].kind != patchfmt::SymbolKind::new_tls) continue;
    values[i] = SymbolValue{.is_tls = true,
                            .tls_module = module,
                            .tls_offset = patch.symbols[i].value,
                            .has_tp_offset = is_static,
                            .tp_offset = tp_offset + static_cast<int64_t>(patch.symbols[i].value)};
  }
  return ok_status();
}

}  // namespace

Result<bool> find_tls_block(const Target& target, const StageRequest& request,
                            std::vector<SymbolValue>& values) {
  const patchfmt::Object& patch = *request.planned->patch;
  if (patch.new_tls_size == 0) return true;
  TRY(WantedBlock wanted, wanted_block(request, values));
  const remote::LoadedObject* loaded = target.loaded().by_name(wanted.carrier.soname);
  if (loaded == nullptr) return false;
  TRY_STATUS(fill_in(target.memory(), loaded->bias, wanted.is_static, patch, values));
  return true;
}

Status provide_tls_block(BorrowedThread& thread, const Target& target, const Control& control,
                         const StageRequest& request, std::vector<SymbolValue>& values) {
  TRY(bool found, find_tls_block(target, request, values));
  if (found) return ok_status();
  TRY(WantedBlock wanted, wanted_block(request, values));
  TRY(uint64_t bias, load_carrier(thread, target, control, wanted.carrier));
  return fill_in(thread.memory(), bias, wanted.is_static, *request.planned->patch, values);
}

}  // namespace livecare::engine
