#include "builder/recompile.h"

#include "base/file_system.h"
#include "base/log.h"
#include "builder/build_space.h"
#include "builder/cache_entry.h"
#include "builder/parallel.h"
#include "trust/keys.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr size_t quoted_bytes_max = 4000;

// Debug information tells the layout of types (type_layout.h); it changes no code.
const std::vector<std::string> common_options = {
    "-ffunction-sections", "-fdata-sections", "-fno-lto",  "-g",
    "-gno-split-dwarf",    "-gz=none",        "-Wno-error"};

// Assembler sources in the same call take no such options.
std::vector<std::string> extra_options(const RecompileOptions& options, const Call& call,
                                       bool patched) {
  std::vector<std::string> extra = common_options;
  // Both compilers leave out classes whose vtable another unit emits.
  bool is_clang = call.arguments.at(0).find("clang") != std::string::npos;
  extra.push_back(is_clang ? "-fstandalone-debug" : "-femit-class-debug-always");
  // Last in line, so that it cannot hide a header of the tree; for both, so that they differ in
  // nothing else.
  if (patched) extra.insert(extra.end(), {"-idirafter", options.headers.native()});
  return extra;
}

Status compile(const PreparedTree& tree, const Call& call,
               const std::vector<std::string>& arguments, const fs::path& object,
               const std::string& name, ErrorCode on_failure) {
  BuildSpace space = tree.space();
  TRY(CommandResult result, space.run_again(call, arguments));
  std::error_code ignored;
  if (result.exit_code == 0 && fs::exists(object, ignored)) return ok_status();
  size_t size = std::min(result.errors.size(), quoted_bytes_max);
  return make_error(on_failure, name, "does not compile (exit code {}):\n{}", result.exit_code,
                    result.errors.substr(0, size));
}

std::string cache_key(const Call& call, const std::vector<std::string>& arguments) {
  std::string all = call.directory;
  for (const std::string& argument : arguments) all.append(1, '\0').append(argument);
  for (const auto& [name, value] : call.environment)
    all.append(1, '\0').append(name).append("=").append(value);
  return trust::sha256_hex(ByteView(all)).substr(0, 32);
}

Status first_error(std::vector<Status>& results) {
  for (Status& result : results)
    if (!result.ok()) return result.take_error();
  return ok_status();
}

}  // namespace

Result<std::vector<CompiledUnit>> compile_originals(const PreparedTree& tree,
                                                    const std::vector<AffectedUnit>& units,
                                                    const RecompileOptions& options) {
  fs::path store = tree.entry / "objects";
  std::error_code failure;
  fs::create_directories(store, failure);
  std::vector<CompiledUnit> compiled(units.size());
  std::vector<Status> results(units.size(), ok_status());
  for_each_parallel(units.size(), options.jobs, [&](size_t i) {
    const AffectedUnit& affected = units[i];
    if (!affected.new_source.empty()) return;
    const CompileUnit& unit = tree.graph.units()[affected.unit];
    const Call& call = tree.calls[unit.call];
    auto extra = extra_options(options, call, false);
    std::string key = cache_key(call, recompile_arguments(call, unit.spelled, "o", extra));
    compiled[i].original = store / (key + ".o");
    std::error_code ignored;
    if (fs::exists(compiled[i].original, ignored)) return;
    // A killed compile must not leave half an object under the final name.
    fs::path fresh = store / (key + ".new.o");
    results[i] = compile(tree, call, recompile_arguments(call, unit.spelled, fresh.native(), extra),
                         fresh, affected.name, ErrorCode::io);
    if (results[i].ok()) fs::rename(fresh, compiled[i].original, ignored);
  });
  TRY_STATUS(first_error(results));
  return compiled;
}

Status compile_patched(const PreparedTree& tree, const std::vector<AffectedUnit>& units,
                       const fs::path& into, const RecompileOptions& options,
                       std::vector<CompiledUnit>& compiled) {
  std::vector<Status> results(units.size(), ok_status());
  for_each_parallel(units.size(), options.jobs, [&](size_t i) {
    const AffectedUnit& affected = units[i];
    const CompileUnit& unit = tree.graph.units()[affected.unit];
    Call call = tree.calls[unit.call];
    std::string source = unit.spelled;
    if (!affected.new_source.empty()) {
      for (std::string& argument : call.arguments)
        if (argument == unit.spelled) argument = affected.new_source;
      source = affected.new_source;
    }
    compiled[i].patched = into / (std::to_string(i) + ".o");
    results[i] = compile(tree, call,
                         recompile_arguments(call, source, compiled[i].patched.native(),
                                             extra_options(options, call, true)),
                         compiled[i].patched, affected.name, ErrorCode::refused);
  });
  return first_error(results);
}

}  // namespace livecare::builder
