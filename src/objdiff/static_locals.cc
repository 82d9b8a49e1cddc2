// `static int count;` in two functions gives count.0 and count.1, and which is which changes with
// every function that is added. Taking one for the other would make two functions of a running
// program share or swap their state, so nothing here is a guess. Evidence, best first:
//
// 1. Functions that did not change refer to the same variable from the same instruction.
//    So do unchanged tables from the same word.
// 2. Of a changed function: the only variable with that name, size and initial value on both sides.
// 3. The variable is alone in its group on both sides and the functions that use it are related:
//    a function in common, counting the callers of a function that exists on one side only (it was
//    inlined there).
// 4. Variables without a byte (the kernel's lock classes) have no state: any of a group will do.
//
// Evidence that contradicts itself is no evidence. What stays open on both sides is ambiguous; the
// caller refuses if code of the patch uses it.
#include "objdiff/static_locals.h"

#include <algorithm>
#include <set>

#include "objdiff/compare.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

constexpr int inline_depth_max = 8;

using Names = std::set<std::string>;

// Which functions (by source name) refer to an atom, directly or through read-only tables.
class Users {
 public:
  explicit Users(const ObjectMap& map) : map_(map), users_(map.atoms().size()) {
    for (AtomId id = 0; id < map.atoms().size(); id++) {
      const Atom& atom = map.atom(id);
      if (atom.kind == AtomKind::function) functions_.insert(source(atom));
      for (const Ref& ref : atom.refs)
        if (ref.target == Ref::Target::atom && ref.atom != no_atom) users_[ref.atom].insert(id);
    }
  }

  static std::string source(const Atom& atom) { return std::string(source_name(atom.name)); }
  bool has_function(const std::string& name) const { return functions_.contains(name); }

  // Functions that `other` lacks are replaced by their callers.
  Names of(AtomId id, const Users& other) const {
    Names names;
    std::set<AtomId> seen;
    collect(id, other, inline_depth_max, seen, names);
    return names;
  }

 private:
  void collect(AtomId id, const Users& other, int depth, std::set<AtomId>& seen,
               Names& names) const {
    if (depth == 0 || !seen.insert(id).second) return;
    for (AtomId user : users_[id]) {
      const Atom& atom = map_.atom(user);
      if (!atom.is_code()) {
        collect(user, other, depth - 1, seen, names);
        continue;
      }
      names.insert(source(atom));
      if (!other.has_function(source(atom))) collect(user, other, depth - 1, seen, names);
    }
  }

  const ObjectMap& map_;
  std::vector<std::set<AtomId>> users_;
  std::set<std::string> functions_;
};

class StaticLocals {
 public:
  StaticLocals(const ObjectMap& original, const ObjectMap& patched,
               const std::vector<VariableGroup>& groups, Pairing& pairing)
      : original_(original),
        patched_(patched),
        groups_(groups),
        pairing_(pairing),
        original_users_(original),
        patched_users_(patched) {
    for (size_t i = 0; i < groups.size(); i++) {
      for (AtomId id : groups[i].original) group_of_original_[id] = i;
      for (AtomId id : groups[i].patched) group_of_patched_[id] = i;
    }
  }

  void run() {
    if (groups_.empty()) return;
    vote_by_unchanged();
    settle_votes();
    vote_by_changed();
    settle_votes();
    for (const VariableGroup& group : groups_) pair_single(group);
    for (const VariableGroup& group : groups_) pair_empty(group);
    for (const VariableGroup& group : groups_) note_ambiguous(group);
  }

 private:
  bool open(AtomId original, AtomId patched) const {
    auto a = group_of_original_.find(original);
    auto b = group_of_patched_.find(patched);
    return a != group_of_original_.end() && b != group_of_patched_.end() &&
           a->second == b->second && !pairing_.paired_original(original) &&
           !pairing_.paired_patched(patched);
  }

  void vote(AtomId original, AtomId patched) {
    if (!open(original, patched)) return;
    for_original_[original].insert(patched);
    for_patched_[patched].insert(original);
  }

  void vote_by_unchanged() {
    Comparer comparer(original_, patched_, pairing_);
    for (AtomId id = 0; id < patched_.atoms().size(); id++) {
      AtomId before = pairing_.original_of[id];
      if (before == no_atom || !comparer.same_shape(before, id)) continue;
      std::set<std::pair<AtomId, AtomId>> seen;
      vote_by_references(comparer, before, id, seen);
    }
  }

  // Through read-only tables of the same shape too: they may wait for the very variables that they
  // hold the addresses of.
  void vote_by_references(Comparer& comparer, AtomId original, AtomId patched,
                          std::set<std::pair<AtomId, AtomId>>& seen) {
    if (!seen.insert({original, patched}).second) return;
    const Atom &a = original_.atom(original), &b = patched_.atom(patched);
    for (size_t i = 0; i < a.refs.size(); i++) {
      const Ref &x = a.refs[i], &y = b.refs[i];
      if (x.target != Ref::Target::atom || y.target != Ref::Target::atom || x.at != y.at) continue;
      if (x.atom == no_atom || y.atom == no_atom) continue;
      vote(x.atom, y.atom);
      if (is_table(original_.atom(x.atom)) && is_table(patched_.atom(y.atom)) &&
          comparer.same_shape(x.atom, y.atom))
        vote_by_references(comparer, x.atom, y.atom, seen);
    }
  }

  static bool is_table(const Atom& atom) {
    return !atom.is_code() && !atom.writable && !atom.thread_local_ && !atom.refs.empty();
  }

  bool alike(AtomId original, AtomId patched) const {
    const Atom &a = original_.atom(original), &b = patched_.atom(patched);
    return a.size == b.size && a.zero == b.zero && a.thread_local_ == b.thread_local_ &&
           masked_bytes(original_, original) == masked_bytes(patched_, patched);
  }

  static std::set<AtomId> open_targets(const ObjectMap& map, AtomId function,
                                       const std::map<AtomId, size_t>& groups,
                                       const std::vector<AtomId>& other) {
    std::set<AtomId> out;
    for (const Ref& ref : map.atom(function).refs)
      if (ref.target == Ref::Target::atom && groups.contains(ref.atom) &&
          other[ref.atom] == no_atom)
        out.insert(ref.atom);
    return out;
  }

  void vote_by_changed() {
    for (AtomId id = 0; id < patched_.atoms().size(); id++) {
      AtomId before = pairing_.original_of[id];
      if (before == no_atom || !patched_.atom(id).is_code()) continue;
      auto mine = open_targets(patched_, id, group_of_patched_, pairing_.original_of);
      auto theirs = open_targets(original_, before, group_of_original_, pairing_.patched_of);
      for (AtomId variable : mine) {
        auto fits = [&](AtomId x) { return open(x, variable) && alike(x, variable); };
        auto rivals = std::count_if(mine.begin(), mine.end(), [&](AtomId other) {
          return group_of_patched_[other] == group_of_patched_[variable] &&
                 alike_patched(other, variable);
        });
        if (rivals != 1 || std::count_if(theirs.begin(), theirs.end(), fits) != 1) continue;
        vote(*std::find_if(theirs.begin(), theirs.end(), fits), variable);
      }
    }
  }

  bool alike_patched(AtomId x, AtomId y) const {
    const Atom &a = patched_.atom(x), &b = patched_.atom(y);
    return a.size == b.size && a.zero == b.zero &&
           masked_bytes(patched_, x) == masked_bytes(patched_, y);
  }

  void settle_votes() {
    for (auto& [patched, originals] : for_patched_) {
      if (originals.size() != 1) continue;
      AtomId original = *originals.begin();
      if (for_original_[original].size() == 1 && open(original, patched))
        pairing_.pair(original, patched);
    }
  }

  void pair_single(const VariableGroup& group) {
    auto [originals, patcheds] = still_open(group);
    if (originals.size() != 1 || patcheds.size() != 1) return;
    if (for_original_.contains(originals[0]) || for_patched_.contains(patcheds[0])) return;
    Names a = original_users_.of(originals[0], patched_users_);
    Names b = patched_users_.of(patcheds[0], original_users_);
    bool related =
        std::any_of(a.begin(), a.end(), [&](const auto& name) { return b.contains(name); });
    // Nobody uses it on either side: then its name is all there is, and all that is needed.
    if (related || (a.empty() && b.empty())) pairing_.pair(originals[0], patcheds[0]);
  }

  void pair_empty(const VariableGroup& group) {
    auto [originals, patcheds] = still_open(group);
    auto empty = [](const ObjectMap& map, const std::vector<AtomId>& atoms) {
      return std::all_of(atoms.begin(), atoms.end(),
                         [&](AtomId id) { return map.atom(id).size == 0; });
    };
    if (!empty(original_, originals) || !empty(patched_, patcheds)) return;
    for (size_t i = 0; i < std::min(originals.size(), patcheds.size()); i++)
      pairing_.pair(originals[i], patcheds[i]);
  }

  std::pair<std::vector<AtomId>, std::vector<AtomId>> still_open(const VariableGroup& group) const {
    std::pair<std::vector<AtomId>, std::vector<AtomId>> out;
    for (AtomId id : group.original)
      if (!pairing_.paired_original(id)) out.first.push_back(id);
    for (AtomId id : group.patched)
      if (!pairing_.paired_patched(id)) out.second.push_back(id);
    return out;
  }

  void note_ambiguous(const VariableGroup& group) {
    auto [originals, patcheds] = still_open(group);
    if (originals.empty() || patcheds.empty()) return;
    std::string candidates;
    for (AtomId id : originals)
      candidates += (candidates.empty() ? "" : ", ") + std::string(original_.atom(id).name);
    for (AtomId id : patcheds) pairing_.ambiguous[id] = candidates;
  }

  const ObjectMap& original_;
  const ObjectMap& patched_;
  const std::vector<VariableGroup>& groups_;
  Pairing& pairing_;
  Users original_users_;
  Users patched_users_;
  std::map<AtomId, size_t> group_of_original_;
  std::map<AtomId, size_t> group_of_patched_;
  std::map<AtomId, std::set<AtomId>> for_original_;
  std::map<AtomId, std::set<AtomId>> for_patched_;
};

}  // namespace

void pair_static_locals(const ObjectMap& original, const ObjectMap& patched,
                        const std::vector<VariableGroup>& groups, Pairing& pairing) {
  StaticLocals(original, patched, groups, pairing).run();
}

}  // namespace livecare::objdiff
