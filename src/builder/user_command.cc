#include "builder/user_command.h"

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace livecare::builder {

using nlohmann::json;

namespace {

int fail(const Error& error) {
  log(LogLevel::error, "{}", error.text());
  return error.code == ErrorCode::refused ? exit_refused : exit_error;
}

}  // namespace

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
