#include "builder/user_command.h"

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "builder/cache_entry.h"
#include "builder/command_report.h"

namespace livecare::builder {

using nlohmann::json;

namespace {

json functions_of(const patchfmt::Object& object) {
  json functions = json::array();
  for (const patchfmt::FunctionPatch& function : object.functions)
    functions.push_back({{"name", function.name},
                         {"address", fmt::format("{:#x}", function.address)},
                         {"size", function.size},
                         {"new_size", function.new_size},
                         {"proof", function.proof}});
  return functions;
}

json to_json(const PatchResult& result) {
  json refused = json::array();
  for (const objdiff::Refusal& refusal : result.refused)
    refused.push_back(
        {{"function", refusal.function}, {"section", refusal.section}, {"reason", refusal.reason}});
  json objects = json::array();
  for (const patchfmt::Object& object : result.patchset.objects)
    objects.push_back({{"name", object.soname},
                       {"build_id", object.build_id},
                       {"package", object.package},
                       {"image_bytes", object.image_size},
                       {"functions", functions_of(object)}});
  json fixes = json::array();
  for (const patchfmt::Fix& fix : result.patchset.fixes)
    fixes.push_back({{"name", fix.name}, {"cves", fix.cves}});
  json document = {{"source", result.patchset.source_package},
                   {"objects", objects},
                   {"ignored", result.ignored},
                   {"refused", refused},
                   {"seconds", result.seconds}};
  if (result.refused.empty()) {
    document["patchset"] = result.patchset.name;
    document["level"] = result.patchset.level;
    document["file"] = result.file.native();
    document["file_bytes"] = result.file_bytes;
    document["fixes"] = fixes;
  }
  return document;
}

void print_result(const PatchResult& result, std::ostream& out) {
  out << fmt::format("{} level {}: {} ({} bytes)\n", result.patchset.name, result.patchset.level,
                     result.file.native(), result.file_bytes);
  for (const patchfmt::Object& object : result.patchset.objects) {
    out << fmt::format("  {} {} ({})\n", object.soname, object.build_id, object.package);
    for (const patchfmt::FunctionPatch& function : object.functions)
      out << fmt::format("    {} {} -> {} bytes; {}\n", function.name, function.size,
                         function.new_size, function.proof);
  }
}

}  // namespace

int user_command(const UserRequest& request, std::ostream& out) {
  Stopwatch watch;
  if (auto checked = check_inputs(request.patch); !checked.ok()) return fail(checked.error());
  auto workspace = request.package.empty() ? prepare_source(request.source, request.prepare)
                                           : prepare_package(request.package, request.prepare);
  if (!workspace.ok()) return fail(workspace.error());
  PatchOptions options = request.patch;
  options.jobs = request.prepare.jobs;
  auto tools = install_tools(cache_directory(request.prepare));
  if (!tools.ok()) return fail(tools.error());
  options.headers = *tools / "include";
  auto result = make_patch(workspace->tree, options);
  if (!result.ok()) return fail(result.error());
  for (const auto& [stage, seconds] : workspace->seconds)
    result->seconds["prepare_" + stage] = seconds;
  result->seconds["total"] = watch.seconds();
  result->patchset.source_package = workspace->tree.source_package;
  if (request.json)
    out << to_json(*result).dump(2, ' ', false, json::error_handler_t::replace) << "\n";
  for (const objdiff::Refusal& refusal : result->refused)
    log(LogLevel::error, "refused: {}", refusal_text(refusal));
  if (!result->refused.empty()) return exit_refused;
  if (!request.json) print_result(*result, out);
  say_seconds(result->seconds, watch.seconds());
  return exit_made;
}

int prepare_command(const std::string& package, const PrepareOptions& options, bool as_json,
                    std::ostream& out) {
  auto workspace = prepare_package(package, options);
  if (!workspace.ok()) return fail(workspace.error());
  const PreparedTree& tree = workspace->tree;
  if (as_json) {
    json targets = json::array();
    for (const PreparedTarget& target : tree.targets)
      targets.push_back({{"name", target.name},
                         {"package", target.package},
                         {"build_id", target.build_id},
                         {"shipped", target.shipped.native()},
                         {"rebuilt", target.rebuilt.native()},
                         {"comparison", target.comparison}});
    json document = {{"source", tree.source_package},   {"tree", tree.root.native()},
                     {"cached", workspace->was_cached}, {"targets", targets},
                     {"unpaired", tree.unpaired},       {"seconds", workspace->seconds}};
    out << document.dump(2) << "\n";
    return exit_made;
  }
  out << fmt::format("{}: {}\n", tree.source_package, tree.root.native());
  for (const PreparedTarget& target : tree.targets)
    out << fmt::format("  {} ({}): {}\n", target.name, target.package, target.comparison);
  for (const std::string& name : tree.unpaired)
    out << fmt::format("  {}: not made by this build\n", name);
  return exit_made;
}

int fetch_command(const std::string& package, const std::string& directory,
                  const PrepareOptions& options, std::ostream& out) {
  auto names = fetch_package(package, directory, options);
  if (!names.ok()) return fail(names.error());
  for (const std::string& name : *names) out << directory << "/" << name << "\n";
  return exit_made;
}

}  // namespace livecare::builder
