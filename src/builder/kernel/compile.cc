#include "builder/kernel/compile.h"

#include <algorithm>

#include "base/file_system.h"
#include "base/process.h"
#include "base/text.h"
#include "builder/kernel/symvers.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr size_t quoted_lines_max = 12;

fs::path command_file(const KernelRelease& kernel, const KernelObject& object) {
  fs::path path = kernel.tree() / object.object();
  return path.parent_path() / ("." + path.filename().native() + ".cmd");
}

std::string flat_name(const KernelObject& object) {
  std::string name = object.object();
  std::replace(name.begin(), name.end(), '/', '@');
  return name;
}

std::string last_errors(const CommandResult& result) {
  std::string out;
  size_t lines = 0;
  for (std::string_view line : split_lines(result.errors)) {
    bool tells = line.find("error") != std::string_view::npos ||
                 line.find("***") != std::string_view::npos ||
                 line.find("warning") != std::string_view::npos;
    if (!tells || lines == quoted_lines_max) continue;
    out += (out.empty() ? "" : "\n") + std::string(line);
    lines++;
  }
  return out;
}

Status compile(const KernelRelease& kernel, const std::vector<KernelObject*>& objects,
               unsigned jobs) {
  std::vector<std::string> targets = {
      "-k", "KCFLAGS=-ffunction-sections -fdata-sections -I" + kernel.headers.native(),
      "-j" + std::to_string(std::max(1u, jobs))};
  std::error_code ignored;
  for (const KernelObject* object : objects) {
    fs::remove(kernel.tree() / object->object(), ignored);
    targets.push_back(object->object());
  }
  TRY(CommandResult result, run(kernel.command(kernel.make(targets), kernel.tree())));
  for (KernelObject* object : objects) {
    if (fs::exists(kernel.tree() / object->object(), ignored)) continue;
    object->absent = true;
    if (!object->optional || !object->original.empty())
      return make_error(ErrorCode::refused, object->source, "does not compile:\n{}",
                        last_errors(result));
  }
  return ok_status();
}

// Takes the object out of the tree.
Status take(const KernelRelease& kernel, const KernelObject& object, const fs::path& to) {
  std::error_code failure;
  fs::create_directories(to.parent_path(), failure);
  fs::path made = kernel.tree() / object.object();
  fs::path aside = to;
  aside += ".new";
  fs::copy_file(made, aside, fs::copy_options::overwrite_existing, failure);
  if (!failure) fs::rename(aside, to, failure);
  if (failure) return make_error(ErrorCode::io, to.native(), "{}", failure.message());
  fs::remove(made, failure);
  return ok_status();
}

}  // namespace

std::string module_of_command(std::string_view command) {
  if (command.find(" -DMODULE ") == std::string_view::npos) return {};
  constexpr std::string_view key = "-D__KBUILD_MODNAME=kmod_";
  size_t at = command.find(key);
  if (at == std::string_view::npos) return {};
  at += key.size();
  return module_name(command.substr(at, command.find_first_of(" \n", at) - at));
}

Status compile_kernel_originals(const KernelRelease& kernel, std::vector<KernelObject>& objects,
                                unsigned jobs) {
  std::vector<KernelObject*> missing;
  std::error_code ignored;
  for (KernelObject& object : objects) {
    fs::path original = kernel.objects() / flat_name(object);
    auto module = read_text(kernel.objects() / (flat_name(object) + ".module"));
    if (!module.ok() || !fs::exists(original, ignored)) {
      missing.push_back(&object);
      continue;
    }
    object.original = original;
    object.module = *module;
  }
  if (missing.empty()) return ok_status();
  auto compiled = compile(kernel, missing, jobs);
  if (!compiled.ok() && compiled.error().code == ErrorCode::refused)
    return make_error(
        ErrorCode::refused, compiled.error().object,
        "cannot be compiled without the fix, as this kernel is configured (it may not "
        "be part of it): {}",
        compiled.error().message);
  TRY_STATUS(compiled);
  for (KernelObject* object : missing) {
    if (object->absent) continue;
    object->original = kernel.objects() / flat_name(*object);
    TRY(std::string command, read_text(command_file(kernel, *object)));
    object->module = module_of_command(command);
    TRY_STATUS(take(kernel, *object, object->original));
    TRY_STATUS(write_file_atomic(kernel.objects() / (flat_name(*object) + ".module"),
                                 ByteView(object->module)));
  }
  return ok_status();
}

Status compile_kernel_patched(const KernelRelease& kernel, std::vector<KernelObject>& objects,
                              const fs::path& into, unsigned jobs) {
  std::vector<KernelObject*> all;
  all.reserve(objects.size());
  for (KernelObject& object : objects) all.push_back(&object);
  TRY_STATUS(compile(kernel, all, jobs));
  for (KernelObject& object : objects) {
    object.patched = into / flat_name(object);
    TRY_STATUS(take(kernel, object, object.patched));
  }
  return ok_status();
}

}  // namespace livecare::builder
