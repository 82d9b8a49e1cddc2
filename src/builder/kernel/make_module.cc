#include "builder/kernel/make_module.h"

#include <elf.h>

#include "base/file_system.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "elf/image.h"
#include "kmod/uapi/kcare_patch.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr size_t quoted_lines_max = 6;
constexpr const char* certificate_days = "36500";

std::string errors_of(const CommandResult& result) {
  std::string out;
  size_t lines = 0;
  for (const std::string* text : {&result.errors, &result.output})
    for (std::string_view line : split_lines(*text)) {
      bool tells = line.find("rror") != std::string_view::npos ||
                   line.find("ERROR") != std::string_view::npos;
      tells = tells || line.find("modpost") != std::string_view::npos ||
              line.find("FATAL") != std::string_view::npos;
      if (!tells || ++lines > quoted_lines_max) continue;
      out += (out.empty() ? "" : "; ") + std::string(line);
    }
  return out.empty() ? "exit code " + std::to_string(result.exit_code) : out;
}

}  // namespace

Result<ModuleKey> load_module_key(const fs::path& maker_key) {
  ModuleKey out{maker_key.parent_path() / "module.key", maker_key.parent_path() / "module.der"};
  std::error_code ignored;
  if (fs::exists(out.key, ignored) && fs::exists(out.certificate, ignored)) return out;
  fs::create_directories(out.key.parent_path(), ignored);
  const std::string script =
      "umask 077; exec openssl req -new -x509 -newkey rsa:3072 -nodes -sha256 -days \"$3\" "
      "-subj '/CN=livecare module signing' -addext keyUsage=digitalSignature -keyout \"$1\" "
      "-outform DER -out \"$2\"";
  TRY(std::string made, run_checked({.arguments = {"sh", "-c", script, "sh", out.key.native(),
                                                   out.certificate.native(), certificate_days}}));
  (void)made;
  log(LogLevel::info, "made a key for modules: {} (certificate to enrol: {})", out.key.native(),
      out.certificate.native());
  return out;
}

Result<fs::path> make_module(const KernelRelease& kernel, const std::string& name,
                             const Bytes& object, const fs::path& work) {
  // The name of a part must not be that of the module.
  TRY_STATUS(write_file_atomic(work / "patch_code.o_shipped", object));
  // kbuild's own rule for _shipped matches anything where $(obj) is ".", so not an object.
  std::string kbuild = "obj-m := " + name + ".o\n" + name +
                       "-y := patch_code.o\n"
                       "$(obj)/patch_code.o: $(obj)/patch_code.o_shipped\n\tcat $< > $@\n";
  TRY_STATUS(write_file_atomic(work / "Kbuild", ByteView(kbuild)));
  // modpost reads where an object's source is, to number the version of that: of this one nowhere.
  TRY_STATUS(write_file_atomic(work / ".patch_code.o.cmd",
                               ByteView(std::string_view("deps_patch_code.o := \\\n none\n"))));
  auto arguments = kernel.make({"M=" + work.native(), "KBUILD_MODPOST_WARN=1", "modules"});
  TRY(CommandResult result, run(kernel.command(arguments, kernel.tree(), {work})));
  fs::path module = work / (name + ".ko");
  std::error_code ignored;
  if (result.exit_code != 0 || !fs::exists(module, ignored))
    return make_error(ErrorCode::internal, name, "kbuild does not make the module: {}",
                      errors_of(result));
  TRY(std::string stripped,
      run_checked({.arguments = {"strip", "--strip-debug", module.native()}}));
  (void)stripped;
  return module;
}

Status check_module(const fs::path& module, const ExportedSymbols& exported,
                    const std::string& release) {
  TRY(elf::Image image, elf::Image::open(module));
  for (const elf::Symbol& symbol : image.symbols())
    if (symbol.index != 0 && symbol.is_undefined() && !symbol.name.empty() &&
        !exported.loader_finds(symbol.name))
      return make_error(ErrorCode::internal, module.native(),
                        "refers to {}, which the kernel does not export", symbol.name);
  for (const char* name : {KCARE_SEC_HEAD, KCARE_SEC_OBJECTS, KCARE_SEC_FUNCS, KCARE_SEC_STRINGS,
                           ".gnu.linkonce.this_module"})
    if (!image.section(name))
      return make_error(ErrorCode::internal, module.native(), "has no section {}", name);
  const elf::Section* information = image.section(".modinfo");
  std::string magic = "vermagic=" + release + " ";
  if (!information || information->bytes.as_text().find(magic) == std::string_view::npos)
    return make_error(ErrorCode::internal, module.native(), "is not made for {}", release);
  return ok_status();
}

Status sign_module(const KernelRelease& kernel, const ModuleKey& key, const fs::path& module) {
  TRY(std::string config, read_text(kernel.entry / "shipped" / "config"));
  std::string hash = config_value(config, "CONFIG_MODULE_SIG_HASH");
  if (hash.empty()) hash = "sha256";
  fs::path tool = kernel.tree() / "scripts/sign-file";
  auto done = run_checked(kernel.command(
      {tool.native(), hash, key.key.native(), key.certificate.native(), module.native()}, {},
      {key.key.parent_path(), key.certificate.parent_path(), module.parent_path()}));
  if (!done.ok()) return done.take_error();
  return ok_status();
}

}  // namespace livecare::builder
