#include "builder/kernel/stubs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file_system.h"
#include "builder/kernel/release.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Two digits, without a zero in front.
std::string short_number(std::string text) {
  return text.size() == 2 && text[0] == '0' ? text.substr(1) : text;
}

Status write_stub(const fs::path& file, const std::string& body) {
  return write_file_atomic(file, ByteView("#!/bin/sh\n" + body), 0755);
}

// What scripts/rust_is_available.sh and Kconfig ask.
Status write_rust_stubs(const fs::path& entry, const std::string& config) {
  std::string llvm = llvm_version(config_value(config, "CONFIG_RUSTC_LLVM_VERSION"));
  std::string bindgen = config_value(config, "CONFIG_BINDGEN_VERSION_TEXT");
  // Older configurations do not say it.
  if (bindgen.empty()) bindgen = "bindgen 99.0.0";
  fs::path sysroot = entry / "rust";
  TRY_STATUS(write_file_atomic(sysroot / "lib/rustlib/src/rust/library/core/src/lib.rs", {}));
  TRY_STATUS(write_stub(entry / "bindgen",
                        fmt::format("case \"$*\" in\n*libclang*) echo 'pub foo'; "
                                    "echo 'clang version {}' >&2 ;;\n*) echo '{}' ;;\nesac\n",
                                    llvm, bindgen)));
  return write_stub(
      entry / "rustc",
      fmt::format("case \"$*\" in\n*sysroot*) echo '{}'; exit ;;\nesac\necho '{}'\n"
                  "case \"$*\" in\n*verbose*) echo 'LLVM version: {}' ;;\nesac\n",
                  sysroot.native(), config_value(config, "CONFIG_RUSTC_VERSION_TEXT"), llvm));
}

}  // namespace

std::string pahole_version(const std::string& number) {
  if (number.size() != 3 || !is_number(number)) return {};
  return number.substr(0, 1) + "." + number.substr(1);
}

std::string llvm_version(const std::string& number) {
  if (number.size() < 5 || number.size() > 7 || !is_number(number)) return {};
  size_t size = number.size();
  return number.substr(0, size - 4) + "." + short_number(number.substr(size - 4, 2)) + "." +
         short_number(number.substr(size - 2));
}

Status write_stubs(const fs::path& entry, const fs::path& tree, const std::string& config) {
  std::string pahole = pahole_version(config_value(config, "CONFIG_PAHOLE_VERSION"));
  TRY_STATUS(write_stub(entry / "pahole", "echo v" + pahole + "\n"));
  TRY_STATUS(write_stub(entry / "objtool",
                        fmt::format("for argument; do\n  shift\n"
                                    "  [ \"$argument\" = --ibt ] || set -- \"$@\" \"$argument\"\n"
                                    "done\nexec '{}' \"$@\"\n",
                                    (tree / "tools/objtool/objtool").native())));
  if (config_value(config, "CONFIG_RUST") != "y") return ok_status();
  return write_rust_stubs(entry, config);
}

std::vector<std::string> stub_variables(const fs::path& entry) {
  std::vector<std::string> out = {"PAHOLE=" + (entry / "pahole").native(),
                                  "delay-objtool=", "objtool=" + (entry / "objtool").native()};
  std::error_code ignored;
  if (fs::exists(entry / "rustc", ignored))
    out.insert(out.end(), {"RUSTC=" + (entry / "rustc").native(),
                           "BINDGEN=" + (entry / "bindgen").native(), "CONFIG_RUST="});
  return out;
}

}  // namespace livecare::builder
