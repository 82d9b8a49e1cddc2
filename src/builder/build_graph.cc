#include "builder/build_graph.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace livecare::builder {

namespace fs = std::filesystem;

// What stands behind a path at one moment. Nodes never change once another node points at them.
struct BuildGraph::Node {
  enum class Kind { object, archive, linked, unknown };
  struct Input {
    std::shared_ptr<const Node> node;
    bool certain = true;
  };
  Kind kind = Kind::unknown;
  uint32_t unit = 0;            // object
  bool is_relocatable = false;  // linked with -r: an input like an object
  bool from_driver = false;     // linked: the driver's call; ld's own call follows
  std::vector<Input> inputs;    // linked
  // Archive: by file name, which several members can have.
  std::vector<std::pair<std::string, std::shared_ptr<const Node>>> members;
  std::string path;  // unknown
};

struct BuildGraph::Replay {
  BuildGraph& graph;
  const std::string& tree;
  std::map<std::string, std::shared_ptr<const Node>> files;

  static std::string absolute(const Call& call, const std::string& path) {
    fs::path full = fs::path(path).is_absolute() ? fs::path(path) : fs::path(call.directory) / path;
    return full.lexically_normal().native();
  }

  void put_unit(uint32_t call_index, const Call& call, const Operand& source, Language language,
                const std::string& object) {
    auto node = std::make_shared<Node>();
    node->kind = Node::Kind::object;
    node->unit = static_cast<uint32_t>(graph.units_.size());
    std::string path = source.path == "-" ? "-" : absolute(call, source.path);
    graph.units_.push_back({call_index, path, source.path, object, language});
    files[object] = node;
  }

  void compile(uint32_t index, const Call& call, const Invocation& invocation, bool is_assembler) {
    for (size_t i = 0; i < invocation.sources.size(); ++i) {
      const Operand& source = invocation.sources[i];
      std::string object;
      if (invocation.stops_at_object && !invocation.output.empty())
        object = absolute(call, invocation.output);
      else if (invocation.stops_at_object)
        object =
            absolute(call, is_assembler ? "a.out" : fs::path(source.path).stem().native() + ".o");
      else
        object = absolute(call, invocation.output.empty() ? "a.out" : invocation.output) +
                 "::" + source.path;
      put_unit(index, call, source, invocation.languages[i], object);
    }
  }

  std::shared_ptr<const Node> find(const std::string& path) const {
    auto found = files.find(path);
    return found == files.end() ? nullptr : found->second;
  }

  // -lNAME: the archive that the linker would take, when the build made one.
  std::shared_ptr<const Node> find_library(const Call& call, const Invocation& invocation,
                                           const Operand& operand) const {
    for (const std::string& directory : invocation.library_directories) {
      if (operand.path.starts_with(":")) {  // -l:libx.a
        if (auto exact = find(absolute(call, directory + "/" + operand.path.substr(1))))
          return exact;
        continue;
      }
      std::string base = absolute(call, directory + "/lib" + operand.path);
      if (!operand.is_static && find(base + ".so")) return nullptr;
      if (auto archive = find(base + ".a")) return archive;
    }
    return nullptr;
  }

  void add_input(const Call& call, const Operand& operand, const Invocation& invocation,
                 Node& linked) const {
    std::shared_ptr<const Node> node;
    if (operand.is_library)
      node = find_library(call, invocation, operand);
    else
      node = find(absolute(call, operand.path));
    if (!node && operand.is_library) return;
    if (!node) {
      std::string path = absolute(call, operand.path);
      bool is_object = path.ends_with(".o") || path.ends_with(".a") || path.ends_with(".os") ||
                       path.ends_with(".oS") || path.ends_with(".lo") || path.ends_with(".obj");
      if (!is_object || !path.starts_with(tree)) return;
      auto unknown = std::make_shared<Node>();
      unknown->path = path;
      node = unknown;
    }
    linked.inputs.push_back({node, operand.whole_archive});
  }

  void link(const Call& call, const Invocation& invocation, bool is_driver) {
    auto node = std::make_shared<Node>();
    node->kind = Node::Kind::linked;
    node->is_relocatable = invocation.relocatable;
    node->from_driver = is_driver;
    std::string output = absolute(call, invocation.output.empty() ? "a.out" : invocation.output);
    if (is_driver) {
      for (const Operand& source : invocation.sources)
        if (auto object = find(output + "::" + source.path)) node->inputs.push_back({object, true});
    } else if (auto before = find(output); before && before->from_driver) {
      // The driver's own ld: the driver knew the sources, ld knows every library.
      node->inputs = before->inputs;
    }
    for (const Operand& operand : invocation.inputs) add_input(call, operand, invocation, *node);
    files[output] = node;
  }

  void archive(const Call& call) {
    ArchiveCall parsed = parse_archive_call(call);
    std::string path = absolute(call, parsed.archive);
    if (parsed.operation == 'x') extract(call, path);
    if (parsed.operation != 'r' && parsed.operation != 'q') return;
    auto node = std::make_shared<Node>();
    auto before = find(path);
    if (before && before->kind == Node::Kind::archive) *node = *before;
    node->kind = Node::Kind::archive;
    // Of one call, members of the same name stand beside each other (a/util.o, b/util.o); those
    // that were there before are replaced.
    if (parsed.operation == 'r')
      for (const std::string& member : parsed.members)
        std::erase_if(node->members, [&](const auto& known) {
          return known.first == fs::path(member).filename().native();
        });
    for (const std::string& member : parsed.members) {
      auto object = find(absolute(call, member));
      // "ar r all.a part.a" with the L modifier adds the members.
      if (object && object->kind == Node::Kind::archive)
        node->members.insert(node->members.end(), object->members.begin(), object->members.end());
      else if (object)
        node->members.emplace_back(fs::path(member).filename(), object);
    }
    files[path] = node;
  }

  void extract(const Call& call, const std::string& path) {
    auto node = find(path);
    if (!node) return;
    for (const auto& [name, member] : node->members) files[absolute(call, name)] = member;
  }

  // By what the build put below it, because the path may mean nothing outside of the build's own
  // mount namespace.
  bool is_directory(const std::string& path) const {
    auto below = files.lower_bound(path + "/");
    std::error_code ignored;
    return (below != files.end() && below->first.starts_with(path + "/")) ||
           fs::is_directory(path, ignored);
  }

  // "mv .libs done", "cp -a src/. copy": with everything that the build put below it.
  void move_directory(const std::string& spelled, std::string from, std::string to, bool into,
                      bool keeps_source) {
    while (from.size() > 1 && from.back() == '/') from.pop_back();
    bool only_content = spelled.ends_with("/.") || spelled == ".";
    if (!only_content && (into || is_directory(to))) to += "/" + fs::path(from).filename().native();
    std::string below = from + "/";
    if (to.starts_with(below)) return;
    std::map<std::string, std::shared_ptr<const Node>> moved;
    auto at = files.lower_bound(below);
    while (at != files.end() && at->first.starts_with(below)) {
      moved[to + "/" + at->first.substr(below.size())] = at->second;
      at = keeps_source ? std::next(at) : files.erase(at);
    }
    for (auto& [path, node] : moved) files[path] = std::move(node);
  }

  void move(const Call& call, bool keeps_source) {
    MoveCall parsed = parse_move_call(call);
    std::string destination = absolute(call, parsed.destination);
    if (destination.size() > 1 && destination.back() == '/') destination.pop_back();
    for (const std::string& source : parsed.sources) {
      std::string from = absolute(call, source);
      auto node = find(from);
      if (!node && call.arguments[0].ends_with("ln"))
        node = find((fs::path(destination).parent_path() / source).lexically_normal());
      if (!node) {
        move_directory(source, from, destination, parsed.into, keeps_source);
        continue;
      }
      if (parsed.into || is_directory(destination))
        files[destination + "/" + fs::path(from).filename().native()] = node;
      else
        files[destination] = node;
      if (!keeps_source) files.erase(from);
    }
  }

  void collect(const Node& node, bool certain, std::set<const Node*>& seen,
               std::map<uint32_t, bool>& units, LinkedFile& linked) const {
    switch (node.kind) {
      case Node::Kind::object: {
        bool& known = units[node.unit];
        known = known || certain;
        break;
      }
      case Node::Kind::archive:
        for (const auto& [name, member] : node.members)
          collect(*member, certain, seen, units, linked);
        break;
      case Node::Kind::linked:
        if (!node.is_relocatable || !seen.insert(&node).second) break;
        for (const auto& input : node.inputs) collect_input(input, seen, units, linked);
        break;
      case Node::Kind::unknown:
        linked.unknown.push_back(node.path);
    }
  }

  void collect_input(const Node::Input& input, std::set<const Node*>& seen,
                     std::map<uint32_t, bool>& units, LinkedFile& linked) const {
    bool is_archive = input.node->kind == Node::Kind::archive;
    collect(*input.node, !is_archive || input.certain, seen, units, linked);
  }

  void finish() const {
    for (const auto& [path, node] : files) {
      if (node->kind != Node::Kind::linked || node->is_relocatable) continue;
      LinkedFile linked;
      linked.path = path;
      std::set<const Node*> seen;
      std::map<uint32_t, bool> units;
      for (const auto& input : node->inputs) collect_input(input, seen, units, linked);
      for (const auto& [unit, certain] : units) linked.units.push_back({unit, certain});
      if (!linked.units.empty()) graph.linked_.push_back(std::move(linked));
    }
  }
};

BuildGraph BuildGraph::replay(const std::vector<Call>& calls, const std::string& tree) {
  BuildGraph graph;
  Replay replay{graph, tree, {}};
  std::set<uint64_t>
      drivers;  // process numbers of compiler drivers: their own `as` says nothing new
  for (uint32_t i = 0; i < calls.size(); ++i) {
    const Call& call = calls[i];
    Tool tool = tool_of(call);
    switch (tool) {
      case Tool::compiler:
      case Tool::linker: {
        Invocation invocation = parse_invocation(call, tool);
        drivers.insert(call.pid);
        if (invocation.compiles) replay.compile(i, call, invocation, false);
        if (invocation.links) replay.link(call, invocation, tool == Tool::compiler);
        break;
      }
      case Tool::assembler: {
        if (drivers.contains(call.parent)) break;
        Invocation invocation = parse_invocation(call, tool);
        if (invocation.compiles) replay.compile(i, call, invocation, true);
        break;
      }
      case Tool::archiver:
        replay.archive(call);
        break;
      case Tool::move:
        replay.move(call, false);
        break;
      case Tool::copy:
        replay.move(call, true);
        break;
      case Tool::other:
        break;
    }
  }
  replay.finish();
  return graph;
}

}  // namespace livecare::builder
