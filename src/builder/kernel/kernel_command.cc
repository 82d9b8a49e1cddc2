#include "builder/kernel/kernel_command.h"

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "builder/cache_entry.h"
#include "builder/command_report.h"
#include "builder/fix_patch.h"
#include "builder/publish.h"
#include "builder/user_command.h"

namespace livecare::builder {

using nlohmann::json;

namespace {

json to_json(const KernelRequest& request, const KernelPatchResult& result) {
  json refused = json::array(), functions = json::array(), fixes = json::array();
  for (const objdiff::Refusal& refusal : result.refused)
    refused.push_back(
        {{"function", refusal.function}, {"section", refusal.section}, {"reason", refusal.reason}});
  for (const auto& function : result.functions)
    functions.push_back({{"name", function.name},
                         {"object", function.object},
                         {"size", function.size},
                         {"new_size", function.new_size},
                         {"proof", function.proof}});
  for (const patchfmt::Fix& fix : result.metadata.fixes)
    fixes.push_back({{"name", fix.name}, {"cves", fix.cves}});
  json fresh = json::array();
  for (const auto& [module, reasons] : result.fresh)
    fresh.push_back({{"module", module}, {"reasons", reasons}});
  json document = {{"fresh_modules", fresh},    {"release", request.release},
                   {"functions", functions},    {"references", result.references},
                   {"ignored", result.ignored}, {"refused", refused},
                   {"seconds", result.seconds}};
  if (result.refused.empty()) {
    document["patchset"] = result.metadata.name;
    document["level"] = result.metadata.level;
    document["kernel_id"] = result.kernel_id;
    document["file"] = result.file.native();
    document["file_bytes"] = result.file_bytes;
    document["fixes"] = fixes;
  }
  return document;
}

void print_result(const KernelPatchResult& result, std::ostream& out) {
  out << fmt::format("{} level {}: {} ({} bytes)\n", result.metadata.name, result.metadata.level,
                     result.file.native(), result.file_bytes);
  for (const auto& function : result.functions)
    out << fmt::format("  {} {} {} -> {} bytes; {}\n", function.object, function.name,
                       function.size, function.new_size, function.proof);
  for (const auto& [module, reasons] : result.fresh)
    out << fmt::format("  {} must not be loaded before the patch is applied: {}\n", module,
                       fmt::join(reasons, "; "));
}

Status check_kernel_inputs(const KernelPatchOptions& options) {
  if (options.fixes.empty())
    return make_error(ErrorCode::invalid_input, "--fix", "at least one fix is needed");
  TRY_STATUS(check_output_directory(options.out));
  auto key = load_maker_key(options.key);
  if (!key.ok()) return key.take_error();
  return ok_status();
}

}  // namespace

int kernel_command(const KernelRequest& request, std::ostream& out) {
  Stopwatch watch;
  KernelPatchOptions options = request.patch;
  options.jobs = request.prepare.jobs;
  options.out = std::filesystem::absolute(options.out);
  if (auto checked = check_kernel_inputs(options); !checked.ok()) return fail(checked.error());
  auto kernel = prepare_kernel(request.release, request.prepare);
  if (!kernel.ok()) return fail(kernel.error());
  auto result = make_kernel_patch(*kernel, options);
  if (!result.ok()) return fail(result.error());
  for (const auto& [stage, seconds] : kernel->seconds)
    result->seconds["prepare_" + stage] = seconds;
  result->seconds["total"] = watch.seconds();
  if (request.json)
    out << to_json(request, *result).dump(2, ' ', false, json::error_handler_t::replace) << "\n";
  for (const std::string& name : result->ignored) log(LogLevel::info, "ignored: {}", name);
  for (const objdiff::Refusal& refusal : result->refused)
    log(LogLevel::error, "refused: {}", refusal_text(refusal));
  say_seconds(result->seconds, watch.seconds());
  if (!result->refused.empty()) return exit_refused;
  if (!request.json) print_result(*result, out);
  return exit_made;
}

int prepare_kernel_command(const std::string& release, const PrepareOptions& options,
                           std::ostream& out) {
  auto kernel = prepare_kernel(release, options);
  if (!kernel.ok()) return fail(kernel.error());
  out << fmt::format("{} ({}, {}): {}\n", release, kernel->version, kernel->compiler,
                     kernel->entry.native());
  return exit_made;
}

}  // namespace livecare::builder
