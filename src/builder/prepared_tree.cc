#include "builder/prepared_tree.h"

#include <nlohmann/json.hpp>

#include "base/file_system.h"

namespace livecare::builder {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {
constexpr int prepared_version = 1;  // a change of the format makes every entry anew
}

fs::path PreparedTree::on_disk(const std::string& seen) const {
  if (seen == root_seen) return root;
  if (!seen.starts_with(root_seen + "/")) return seen;
  return root / seen.substr(root_seen.size() + 1);
}

std::string PreparedTree::as_seen(const fs::path& path) const {
  const std::string& text = path.native();
  if (text == root.native()) return root_seen;
  if (!text.starts_with(root.native() + "/")) return text;
  return root_seen + text.substr(root.native().size());
}

Status save_prepared(const PreparedTree& tree) {
  json targets = json::array();
  for (const PreparedTarget& target : tree.targets)
    targets.push_back({{"shipped", target.shipped.native()},
                       {"rebuilt", target.rebuilt.native()},
                       {"rebuilt_seen", target.rebuilt_seen},
                       {"name", target.name},
                       {"package", target.package},
                       {"build_id", target.build_id},
                       {"comparison", target.comparison}});
  json document = {{"version", prepared_version}, {"root", tree.root.native()},
                   {"root_seen", tree.root_seen}, {"source_package", tree.source_package},
                   {"unpaired", tree.unpaired},   {"targets", targets}};
  std::string text = document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  return write_file_atomic(tree.entry / "prepared.json", ByteView(text));
}

Result<PreparedTree> load_prepared(const fs::path& entry) {
  fs::path file = entry / "prepared.json";
  TRY(std::string text, read_text(file));
  json document = json::parse(text, nullptr, false);
  if (!document.is_object() || document.value("version", 0) != prepared_version)
    return make_error(ErrorCode::not_found, file.native(), "is of another version");
  PreparedTree tree;
  tree.entry = entry;
  try {
    tree.root = document.at("root").get<std::string>();
    tree.root_seen = document.at("root_seen").get<std::string>();
    tree.source_package = document.at("source_package").get<std::string>();
    tree.unpaired = document.at("unpaired").get<std::vector<std::string>>();
    for (const json& item : document.at("targets"))
      tree.targets.push_back(
          {item.at("shipped").get<std::string>(), item.at("rebuilt").get<std::string>(),
           item.at("rebuilt_seen").get<std::string>(), item.at("name").get<std::string>(),
           item.at("package").get<std::string>(), item.at("build_id").get<std::string>(),
           item.at("comparison").get<std::string>()});
  } catch (const json::exception& failure) {
    return make_error(ErrorCode::not_found, file.native(), "is damaged: {}", failure.what());
  }
  TRY_STATUS(replay_record(tree));
  return tree;
}

Status replay_record(PreparedTree& tree) {
  fs::path file = tree.entry / "record";
  TRY(Bytes bytes, read_file(file));
  TRY(tree.calls, read_record(bytes, file.native()));
  tree.graph = BuildGraph::replay(tree.calls, tree.root_seen);
  return ok_status();
}

}  // namespace livecare::builder
