// A kernel is built by nobody here: its source is unpacked, given the shipped configuration, and
// prepared as for out-of-tree modules; that is enough for kbuild to compile any single object as it
// was compiled for the release. Whether it really was is proved later, function by function.
//
// A release of another suite than this machine's is built in a tree of that suite, by its own
// compiler (build_root.h); objtool and sign-file, which kbuild compiles, run there, too.
//
// Traps that this avoids: see stubs.h, and: Kconfig reads other CPUs' Kconfig files, so those are
// unpacked even though their code is not. The debugging package's vmlinux is the only file taken
// out of it.
#include "builder/kernel/release.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/file_system.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "builder/apt.h"
#include "builder/cache_entry.h"
#include "builder/kernel/stubs.h"
#include "builder/suite.h"
#include "builder/tree_edit.h"

namespace livecare::builder {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int entry_version = 1;  // a change of what is kept makes every entry anew
constexpr size_t differences_named_max = 8;

// CPUs whose code is not needed to build for x86-64.
constexpr const char* other_cpus[] = {
    "alpha",     "arc",   "arm",  "arm64",      "csky",  "hexagon",  "ia64",
    "loongarch", "m68k",  "mips", "microblaze", "nios2", "openrisc", "parisc",
    "powerpc",   "riscv", "s390", "sh",         "sparc", "um",       "xtensa"};
constexpr const char* code_patterns[] = {"*.[chS]", "*.dts", "*.dtsi", "*.dtso", "*_defconfig"};

// Unpacks members of a .deb: sh -c SCRIPT sh DEB INTO ...
Status shell(const std::string& script, const std::vector<std::string>& arguments) {
  Command command;
  command.arguments = {"sh", "-c", "set -e; " + script, "sh"};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  auto done = run_checked(command);
  if (!done.ok()) return done.take_error();
  return ok_status();
}

std::string symbols_package(const std::string& release) {
  return "linux-image-" + release + "-dbg";
}

fs::path apt_directory(const fs::path& cache, const std::string& suite) {
  return suite.empty() ? cache / "apt" : cache / ("apt-" + suite);
}

// This machine's own archive, or the suite of Debian that serves the kernel.
Result<Apt> find_archive(const fs::path& cache, KernelRelease& kernel) {
  std::vector<std::string> suites = suite_names();
  suites.insert(suites.begin(), "");
  for (const std::string& suite : suites) {
    fs::path directory = apt_directory(cache, suite);
    auto apt = suite.empty() ? Apt::open(directory) : Apt::open_suite(directory, suite);
    if (!apt.ok()) return apt.take_error();
    auto known = apt->versions(symbols_package(kernel.release));
    if (!known.ok() && known.error().code != ErrorCode::not_found) return known.take_error();
    if (!known.ok()) continue;
    kernel.suite = suite;
    return apt;
  }
  suites.erase(suites.begin());
  return make_error(ErrorCode::not_found, symbols_package(kernel.release),
                    "is served neither by this machine's sources nor in Debian's suites {}",
                    fmt::join(suites, ", "));
}

class Preparation {
 public:
  Preparation(const fs::path& cache, const Apt& apt, KernelRelease& kernel,
              const PrepareOptions& options)
      : cache_(cache), apt_(apt), kernel_(kernel), options_(options) {}

  Status run() {
    TRY_STATUS(download());
    Stopwatch watch;
    Heartbeat heartbeat("unpacking the kernel " + kernel_.release);
    TRY_STATUS(unpack_shipped());
    TRY_STATUS(unpack_source());
    kernel_.seconds["unpack"] = watch.seconds();
    TRY_STATUS(configure());
    std::error_code ignored;
    fs::remove_all(kernel_.entry / "deb", ignored);
    return save();
  }

 private:
  Status fetch(const std::string& name, const std::string& version, fs::path& file) {
    TRY(std::vector<BinaryPackage> all, apt_.versions(name));
    for (const BinaryPackage& package : all) {
      if (!version.empty() && package.version != version) continue;
      TRY(file, apt_.download(package, kernel_.entry / "deb"));
      if (kernel_.version.empty()) kernel_.version = package.version;
      return ok_status();
    }
    return make_error(ErrorCode::not_found, name,
                      "the archive does not serve version {}, which the image has; its source or "
                      "debugging package is gone",
                      version);
  }

  // Modules are in a package of their own from 7.x on.
  Status fetch_modules() {
    std::string name = "linux-modules-" + kernel_.release;
    auto known = apt_.versions(name);
    if (!known.ok() && known.error().code != ErrorCode::not_found) return known.take_error();
    has_modules_package_ = known.ok();
    if (!known.ok()) name = "linux-image-" + kernel_.release + "-unsigned";
    return fetch(name, kernel_.version, modules_);
  }

  Status download() {
    Stopwatch watch;
    log(LogLevel::info, "{}: fetching the image, its symbols, headers and source{}",
        kernel_.release, kernel_.suite.empty() ? "" : " of " + kernel_.suite);
    Heartbeat heartbeat("fetching the kernel " + kernel_.release);
    TRY_STATUS(fetch("linux-headers-" + kernel_.release, "", headers_));
    TRY_STATUS(fetch_modules());
    TRY_STATUS(fetch(symbols_package(kernel_.release), kernel_.version, symbols_));
    TRY(std::string source, kernel_source_package(kernel_.version));
    TRY_STATUS(fetch(source, kernel_.version, source_));
    kernel_.seconds["download"] = watch.seconds();
    return ok_status();
  }

  Status unpack_shipped() {
    fs::path shipped = kernel_.entry / "shipped";
    // Where the file is; what is a link is at the end of the package, which takes a minute to read.
    const std::string in_boot = "boot/vmlinux-" + kernel_.release;
    const std::string beside_modules = "lib/modules/" + kernel_.release + "/vmlinux";
    TRY_STATUS(
        shell("mkdir -p \"$4\"; cd \"$4\"; mkdir image headers; "
              "dpkg-deb --fsys-tarfile \"$3\" | tar -xC headers --wildcards "
              "'*/.config' '*/Module.symvers'; "
              "mv \"$(find headers -name .config)\" config; "
              "mv \"$(find headers -name Module.symvers)\" symvers; "
              "dpkg-deb --fsys-tarfile \"$1\" | tar -xC image --wildcards '*/modules/*'; "
              "mv \"$(find image -type d -path \"*/modules/$5\")\" modules; "
              "rm -r image headers; "
              "find modules -name '*.ko.xz' -exec xz -d {} +; "
              "find modules -name '*.ko.zst' -exec zstd -q -d --rm {} +; "
              // tar ends after the one member, so the rest is not unpacked at all.
              "for file in \"$6\" \"$7\"; do "
              "[ -s debug ] || (dpkg-deb --fsys-tarfile \"$2\" 2>/dev/null || true) | "
              "tar -xO --occurrence=1 \"./usr/lib/debug/$file\" > debug 2>/dev/null || true; "
              "done; "
              "objcopy --strip-debug --keep-file-symbols --remove-section='.rela*' debug vmlinux; "
              "rm debug",
              {modules_, symbols_, headers_, shipped, kernel_.release,
               has_modules_package_ ? beside_modules : in_boot,
               has_modules_package_ ? in_boot : beside_modules}));
    return ok_status();
  }

  Status unpack_source() {
    std::string excluded = "*/Documentation/[a-z]*\n*/tools/testing/*\n";
    for (const char* cpu : other_cpus)
      for (const char* pattern : code_patterns)
        excluded += fmt::format("linux-source-*/arch/{}/{}\n", cpu, pattern);
    fs::path list = kernel_.entry / "deb" / "excluded";
    TRY_STATUS(write_file_atomic(list, ByteView(excluded)));
    return shell(
        "mkdir -p \"$2\"; dpkg-deb --fsys-tarfile \"$1\" | "
        "tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | "
        "tar -xJC \"$2\" --strip-components=1 --exclude-from=\"$3\"; "
        "cp \"$4/config\" \"$2/.config\"; cp \"$4/symvers\" \"$2/Module.symvers\"",
        {source_, kernel_.tree(), list, kernel_.entry / "shipped"});
  }

  Status configure() {
    Stopwatch watch;
    Heartbeat heartbeat("configuring the kernel " + kernel_.release);
    TRY(std::string config, read_text(kernel_.entry / "shipped" / "config"));
    std::string compiler = config_value(config, "CONFIG_CC_VERSION_TEXT");
    kernel_.compiler = compiler.substr(0, compiler.find(' '));
    if (kernel_.compiler.empty())
      return make_error(ErrorCode::unsupported, kernel_.release,
                        "its configuration does not say which compiler made it");
    if (!kernel_.suite.empty()) {
      TRY(kernel_.root,
          BuildRoot::make(cache_, kernel_.suite, apt_, compiler_package(kernel_.compiler)));
    }
    TRY_STATUS(check_compiler(compiler));
    TRY_STATUS(write_stubs(kernel_.entry, kernel_.tree(), config));
    fs::path log_file = kernel_.entry / "prepare.log";
    for (std::vector<std::string> targets :
         {std::vector<std::string>{"olddefconfig"}, std::vector<std::string>{"modules_prepare"}}) {
      unsigned jobs = options_.jobs != 0 ? options_.jobs : std::thread::hardware_concurrency();
      targets.push_back("-j" + std::to_string(std::max(1u, jobs)));
      Command command = kernel_.command(kernel_.make(targets), kernel_.tree());
      command.output_file = log_file;
      if (auto made = run_checked(command); !made.ok())
        return make_error(ErrorCode::io, kernel_.release,
                          "make {} failed; see {} (flex, bison, bc, libelf-dev and libssl-dev are "
                          "needed)",
                          targets[0], log_file.native());
    }
    TRY(std::string ours, read_text(kernel_.tree() / ".config"));
    auto differences = config_differences(config, ours);
    if (!differences.empty()) {
      differences.resize(std::min(differences.size(), differences_named_max));
      return make_error(ErrorCode::unsupported, kernel_.release,
                        "its configuration cannot be reproduced here: {}; use the release's own "
                        "compiler and tools",
                        fmt::join(differences, ", "));
    }
    kernel_.seconds["configure"] = watch.seconds();
    return ok_status();
  }

  Status check_compiler(const std::string& wanted) {
    auto shown = run_checked(kernel_.command({kernel_.compiler, "--version"}, {}));
    if (!shown.ok())
      return make_error(ErrorCode::not_found, kernel_.compiler,
                        "made the kernel {} and is not installed here; install it, or use a chroot "
                        "of that release",
                        kernel_.release);
    std::string first = shown->substr(0, shown->find('\n'));
    if (first != wanted)
      log(LogLevel::warning, "{} is \"{}\", but \"{}\" made the kernel; what differs is refused",
          kernel_.compiler, first, wanted);
    return ok_status();
  }

  Status save() {
    json document = {{"version", entry_version},
                     {"release", kernel_.release},
                     {"package_version", kernel_.version},
                     {"compiler", kernel_.compiler},
                     {"suite", kernel_.suite}};
    return write_file_atomic(kernel_.entry / "prepared.json", ByteView(document.dump(1) + "\n"));
  }

  const fs::path& cache_;
  const Apt& apt_;
  KernelRelease& kernel_;
  const PrepareOptions& options_;
  fs::path modules_, symbols_, headers_, source_;
  bool has_modules_package_ = false;
};

bool load(KernelRelease& kernel) {
  auto text = read_text(kernel.entry / "prepared.json");
  if (!text.ok()) return false;
  json document = json::parse(*text, nullptr, false);
  if (!document.is_object() || document.value("version", 0) != entry_version ||
      document.value("release", "") != kernel.release)
    return false;
  kernel.version = document.value("package_version", "");
  kernel.compiler = document.value("compiler", "");
  kernel.suite = document.value("suite", "");
  return !kernel.version.empty() && !kernel.compiler.empty();
}

}  // namespace

Command KernelRelease::command(std::vector<std::string> arguments, const fs::path& directory,
                               const std::vector<fs::path>& also) const {
  std::vector<fs::path> directories = {entry, headers};
  directories.insert(directories.end(), also.begin(), also.end());
  Command out = root.command(std::move(arguments), directories);
  out.directory = directory;
  return out;
}

std::vector<std::string> KernelRelease::make(const std::vector<std::string>& targets) const {
  std::vector<std::string> arguments = {
      "make", "ARCH=x86", "CC=" + compiler, "HOSTCC=" + compiler, "KERNELRELEASE=" + release,
  };
  auto stubs = stub_variables(entry);
  arguments.insert(arguments.end(), stubs.begin(), stubs.end());
  arguments.insert(arguments.end(), targets.begin(), targets.end());
  return arguments;
}

Result<KernelRelease> prepare_kernel(const std::string& release, const PrepareOptions& options) {
  if (!is_release_name(release))
    return make_error(ErrorCode::invalid_input, release, "is not what uname -r says of a kernel");
  fs::path cache = cache_directory(options);
  KernelRelease kernel;
  kernel.release = release;
  kernel.entry = cache / "kernels" / release;
  TRY(fs::path installed, install_tools(cache));
  kernel.headers = installed / "include";
  TRY(kernel.lock, lock_entry(kernel.entry));
  if (load(kernel)) {
    kernel.was_cached = true;
    TRY_STATUS(restore_tree(kernel.entry));
    TRY(std::string config, read_text(kernel.entry / "shipped" / "config"));
    TRY_STATUS(write_stubs(kernel.entry, kernel.tree(), config));
    if (kernel.suite.empty()) return kernel;
    auto root = BuildRoot::open(cache, kernel.suite);
    if (!root.ok()) {
      TRY(Apt apt, Apt::open_suite(apt_directory(cache, kernel.suite), kernel.suite));
      TRY(kernel.root,
          BuildRoot::make(cache, kernel.suite, apt, compiler_package(kernel.compiler)));
      return kernel;
    }
    kernel.root = std::move(*root);
    return kernel;
  }
  TRY_STATUS(clear_entry(kernel.entry));
  TRY(Apt apt, find_archive(cache, kernel));
  TRY_STATUS(Preparation(cache, apt, kernel, options).run());
  return kernel;
}

std::string compiler_package(const std::string& compiler) {
  size_t at = compiler.rfind("gcc-");
  return at == std::string::npos ? compiler : compiler.substr(at);
}

Result<std::string> kernel_source_package(const std::string& version) {
  size_t first = version.find('.');
  size_t second = first == std::string::npos ? first : version.find_first_of(".-~+", first + 1);
  if (second == std::string::npos)
    return make_error(ErrorCode::invalid_input, version, "is not the version of a kernel package");
  return "linux-source-" + version.substr(0, second);
}

std::string config_value(std::string_view config, std::string_view key) {
  for (std::string_view line : split_lines(config)) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    std::string_view value = line.substr(key.size() + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    return std::string(value);
  }
  return {};
}

std::vector<std::string> config_differences(std::string_view shipped, std::string_view ours) {
  // Of signing keys and the build's salt: no code depends on them, and Debian removes them from the
  // file that it ships.
  static const std::set<std::string_view> harmless = {"CONFIG_BUILD_SALT", "CONFIG_MODULE_SIG_ALL",
                                                      "CONFIG_MODULE_SIG_KEY",
                                                      "CONFIG_SYSTEM_TRUSTED_KEYS"};
  auto lines_of = [](std::string_view text) {
    std::set<std::string_view> lines;
    for (std::string_view line : split_lines(text))
      if (line.starts_with("CONFIG_") && !harmless.contains(line.substr(0, line.find('='))))
        lines.insert(line);
    return lines;
  };
  std::set<std::string_view> a = lines_of(shipped), b = lines_of(ours);
  std::vector<std::string> out;
  for (std::string_view line : a)
    if (!b.contains(line)) out.push_back("-" + std::string(line));
  for (std::string_view line : b)
    if (!a.contains(line)) out.push_back("+" + std::string(line));
  return out;
}

bool is_release_name(std::string_view release) {
  bool plain = std::all_of(release.begin(), release.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '-' || c == '+' || c == '_' || c == '~';
  });
  return plain && !release.empty() && std::isdigit(static_cast<unsigned char>(release[0]));
}

}  // namespace livecare::builder
