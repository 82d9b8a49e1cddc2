// What the kernel says is believed only as far as it can be parsed; nothing is remembered between
// two calls, because another run, or root with rmmod, may have changed it meanwhile.
#include "kctl/kernel.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/fd.h"
#include "base/file_system.h"
#include "base/process.h"
#include "kmod/uapi/kcare_ioctl.h"

namespace livecare::kctl {

namespace fs = std::filesystem;

namespace {

constexpr int load_tries_max = 100;
constexpr unsigned load_pause_us = 20'000;

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    size_t end = std::min(line.find_first_of(" \n"), line.size());
    if (end != 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

std::string without_newline(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<kcare_ioc_switch> argument_of(const SwitchRequest& request) {
  kcare_ioc_switch argument{};
  argument.size = sizeof(argument);
  argument.freezer = static_cast<uint32_t>(request.freezer);
  argument.flags = request.force ? KCARE_SWITCH_FORCE : 0;
  argument.timeout_ms = request.timeout_ms;
  if (request.module.size() >= sizeof(argument.module))
    return make_error(ErrorCode::invalid_input, request.module, "is too long for a module's name");
  std::copy(request.module.begin(), request.module.end(), argument.module);
  return argument;
}

// Its last part; empty where it may not be read.
std::string read_kernel_log() {
  constexpr int log_bytes_max = 64 << 10;
  constexpr int syslog_read_all = 3;  // syslog(2)
  std::string text(log_bytes_max, '\0');
  int got = ::klogctl(syslog_read_all, text.data(), log_bytes_max);
  text.resize(static_cast<size_t>(std::max(got, 0)));
  return text;
}

class RunningKernel final : public Kernel {
 public:
  explicit RunningKernel(fs::path root) : root_(std::move(root)) {}

  Result<std::string> version_text() const override { return read_proc(root_ / "proc/version"); }

  Result<KernelState> state() const override {
    KernelState state;
    utsname names{};
    ::uname(&names);
    state.release = state.effective = names.release;
    fs::path proc = root_ / "proc/kcare";
    auto version = read_proc(proc / "version");
    if (!version.ok()) return state;
    state.has_kcare = true;
    state.kcare_version = without_newline(std::move(version).value());
    TRY(std::string effective, read_proc(proc / "effective_version"));
    state.effective = without_newline(std::move(effective));
    TRY(std::string cves, read_proc(proc / "cvelist"));
    state.cves = words_of(cves);
    TRY(std::string patches, read_proc(proc / "patches"));
    TRY(state.patches, parse_patches(patches));
    return state;
  }

  Status load_kcare() override {
    std::error_code ignored;
    if (fs::exists(root_ / "proc/kcare/version", ignored)) return check_abi();
    auto result = run({.arguments = {"modprobe", "kcare"}});
    if (!result.ok()) return result.take_error();
    if (result->exit_code != 0)
      return make_error(ErrorCode::not_found, "kcare.ko",
                        "cannot be loaded into this kernel: {}; is the module built for it "
                        "(modinfo kcare), and does Secure Boot know its key?",
                        without_newline(result->errors));
    return check_abi();
  }

  Status load_patch(const std::string& module, ByteView file) override {
    // EAGAIN: a module that the patch is for is being loaded or unloaded at this moment.
    for (int tries = 0; ::syscall(SYS_init_module, file.data(), file.size(), "") != 0; ++tries) {
      if (errno != EAGAIN || tries == load_tries_max) return load_error(module, file);
      ::usleep(load_pause_us);
    }
    return ok_status();
  }

  Status unload_patch(const std::string& module) override {
    if (::syscall(SYS_delete_module, module.c_str(), O_NONBLOCK) == 0 || errno == ENOENT)
      return ok_status();
    if ((errno == EAGAIN || errno == EBUSY) && is_kept(module)) return ok_status();
    if (errno == EAGAIN || errno == EBUSY)
      return make_error(ErrorCode::busy, module, "is still in use; it is unloaded by the next run");
    return errno_error(module, "cannot be unloaded", errno);
  }

  Result<SwitchReport> switch_to(const SwitchRequest& request) override {
    TRY(kcare_ioc_switch done, ask(KCARE_IOC_SWITCH, request));
    return report_of(done);
  }

  Result<SwitchReport> switch_back(const SwitchRequest& request) override {
    TRY(kcare_ioc_switch done, ask(KCARE_IOC_UNSWITCH, request));
    return report_of(done);
  }

  Result<std::string> obstacles(const SwitchRequest& request) override {
    TRY(kcare_ioc_switch argument, argument_of(request));
    TRY(Fd device, open_device());
    if (::ioctl(device.get(), KCARE_IOC_PREFLIGHT, &argument) == 0 || argument.reason[0] != 0)
      return reason_of(argument);
    return errno_error(KCARE_DEVICE, "cannot look ahead", errno);
  }

 private:
  static SwitchReport report_of(const kcare_ioc_switch& done) {
    return {done.stop_ns, done.attempts, done.functions, done.tasks_walked};
  }

  static std::string reason_of(const kcare_ioc_switch& argument) {
    return without_newline(
        std::string(argument.reason, ::strnlen(argument.reason, sizeof(argument.reason))));
  }

  Result<Fd> open_device() const {
    fs::path path = root_ / std::string_view(KCARE_DEVICE).substr(1);
    Fd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (device.valid()) return device;
    if (errno == EACCES || errno == EPERM)
      return make_error(ErrorCode::permission, path.native(), "is for root only");
    return make_error(ErrorCode::not_found, path.native(),
                      "cannot be opened: {}; is kcare.ko loaded (modprobe kcare)?",
                      std::strerror(errno));
  }

  Status check_abi() const {
    TRY(Fd device, open_device());
    uint32_t abi = 0;
    if (::ioctl(device.get(), KCARE_IOC_ABI, &abi) != 0)
      return errno_error(KCARE_DEVICE, "does not say its version", errno);
    if (abi != KCARE_ABI_VERSION)
      return make_error(ErrorCode::unsupported, KCARE_DEVICE,
                        "kcare.ko speaks version {}, this kcarectl version {}; reboot, or unload "
                        "and load the module of the same release",
                        abi, KCARE_ABI_VERSION);
    return ok_status();
  }

  Result<kcare_ioc_switch> ask(unsigned long what, const SwitchRequest& request) const {
    TRY(kcare_ioc_switch argument, argument_of(request));
    TRY(Fd device, open_device());
    if (::ioctl(device.get(), what, &argument) == 0) return argument;
    int number = errno;
    std::string reason = reason_of(argument);
    if (reason.empty()) reason = std::strerror(number);
    std::string_view name = request.module.empty() ? "kernel" : std::string_view(request.module);
    switch (number) {
      case EBUSY:
        return make_error(ErrorCode::busy, name, "nothing was changed, for in the way stood: {}",
                          reason);
      case ETIMEDOUT:
        return make_error(ErrorCode::timed_out, name, "nothing was changed: {}", reason);
      case ENOENT:
        return make_error(ErrorCode::not_found, name, "is not staged: {}", reason);
      default:
        return make_error(ErrorCode::conflict, name, "nothing was changed: {}", reason);
    }
  }

  Status load_error(const std::string& module, ByteView file) const {
    switch (errno) {
      case EAGAIN:
        return make_error(ErrorCode::busy, module,
                          "a module that it is for is being loaded or unloaded all the time; the "
                          "kernel log (dmesg) names it");
      case EEXIST:
        if (!is_kept(module))
          return make_error(ErrorCode::conflict, module, "is loaded already; kcarectl --unload");
        if (is_same_build(module, file)) return ok_status();
        return make_error(ErrorCode::conflict, module,
                          "another build of this patch is kept in memory until the next boot; a "
                          "patchset of another name can be loaded beside it");
      case EKEYREJECTED:
      case ENOKEY:
      case EBADMSG:
        return make_error(
            ErrorCode::untrusted, module,
            "its module signature is not one that this kernel accepts ({}); enrol the "
            "maker's certificate (mokutil --import)",
            std::strerror(errno));
      case EPERM:
        return make_error(
            ErrorCode::permission, module,
            "the kernel does not let it be loaded: not root, kernel.modules_disabled, "
            "or lockdown");
      default: {
        const char* error = std::strerror(errno);
        std::string reason = refusal_in_log(read_kernel_log(), module);
        if (!reason.empty()) return make_error(ErrorCode::refused, module, "{}", reason);
        return make_error(ErrorCode::refused, module,
                          "the kernel refused it: {}; the reason is in the kernel log (dmesg)",
                          error);
      }
    }
  }

  bool is_kept(const std::string& module) const {
    auto text = read_proc(root_ / "proc/kcare/patches");
    auto patches =
        text.ok() ? parse_patches(*text) : Result<std::vector<LoadedPatch>>(text.take_error());
    return patches.ok() &&
           std::any_of(patches->begin(), patches->end(), [&](const LoadedPatch& patch) {
             return patch.is_kept && patch.module == module;
           });
  }

  // By the note with the build-ID, which the linker made of the content.
  bool is_same_build(const std::string& module, ByteView file) const {
    auto note = read_proc(root_ / "sys/module" / module / "notes/.note.gnu.build-id");
    constexpr size_t note_bytes_min = 16 + 8;  // header, owner, a short ID
    return note.ok() && note->size() >= note_bytes_min &&
           std::search(file.begin(), file.end(), note->begin(), note->end(), [](uint8_t a, char b) {
             return a == static_cast<uint8_t>(b);
           }) != file.end();
  }

  fs::path root_;
};

}  // namespace

const LoadedPatch* KernelState::applied() const {
  auto found = std::find_if(patches.begin(), patches.end(),
                            [](const LoadedPatch& patch) { return patch.is_applied; });
  return found == patches.end() ? nullptr : &*found;
}

Result<std::vector<LoadedPatch>> parse_patches(std::string_view text) {
  std::vector<LoadedPatch> patches;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::vector<std::string> words = words_of(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.empty()) continue;
    LoadedPatch patch;
    bool is_whole =
        words.size() >= 4 && (words[3] == "applied" || words[3] == "staged" || words[3] == "kept");
    if (is_whole) {
      auto [stop, error] =
          std::from_chars(words[1].data(), words[1].data() + words[1].size(), patch.level);
      is_whole = error == std::errc() && stop == words[1].data() + words[1].size();
    }
    if (!is_whole)
      return make_error(ErrorCode::unsupported, "/proc/kcare/patches",
                        "is not as this kcarectl knows it; use the one of kcare.ko's release");
    patch.module = words[0];
    patch.name = words[2];
    patch.is_applied = words[3] == "applied";
    patch.is_kept = words[3] == "kept";
    patch.functions.assign(words.begin() + 4, words.end());
    patches.push_back(std::move(patch));
  }
  return patches;
}

std::string refusal_in_log(std::string_view log, std::string_view module) {
  std::string wanted = fmt::format("kcare: {} is refused", module);
  size_t at = log.rfind(wanted);
  if (at == std::string_view::npos) return "";
  std::string_view line = log.substr(at + wanted.size(), log.find('\n', at) - at - wanted.size());
  // " (-22): reason"
  size_t reason = line.find("): ");
  return std::string(reason == std::string_view::npos ? line : line.substr(reason + 3));
}

std::unique_ptr<Kernel> open_kernel(const fs::path& root) {
  return std::make_unique<RunningKernel>(root);
}

}  // namespace livecare::kctl
