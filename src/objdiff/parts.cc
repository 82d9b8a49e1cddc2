#include "objdiff/parts.h"

#include <algorithm>

#include "objdiff/names.h"

namespace livecare::objdiff {

Parts::Parts(const ObjectMap& map) : map_(map), parent_(map.atoms().size(), no_atom) {
  std::map<std::string_view, AtomId> functions;
  for (AtomId id = 0; id < map.atoms().size(); id++) {
    if (map.atom(id).kind != AtomKind::function) continue;
    for (uint32_t symbol : map.atom(id).symbols) functions.emplace(map.symbol(symbol).name, id);
  }
  for (const auto& [name, id] : functions) {
    std::string_view parent = part_parent(name);
    auto found = functions.find(parent);
    if (parent.empty() || found == functions.end() || found->second == id) continue;
    if (parent_[id] != no_atom) continue;
    parent_[id] = found->second;
    parts_[found->second].push_back(id);
  }
}

std::vector<uint32_t> Parts::symbols_of(AtomId parent) const {
  std::vector<uint32_t> symbols;
  for (AtomId id : of(parent)) symbols.push_back(map_.atom(id).symbol);
  return symbols;
}

const std::vector<AtomId>& Parts::of(AtomId parent) const {
  static const std::vector<AtomId> none;
  auto found = parts_.find(parent);
  return found == parts_.end() ? none : found->second;
}

}  // namespace livecare::objdiff
