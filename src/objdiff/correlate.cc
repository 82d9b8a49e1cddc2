// Which is which.
//
// 1. A name that the programmer chose says what a thing is: exact names first, aliases included.
// 2. Clones (.constprop.0) and lambdas (UlvE0_) are numbered by the compiler. Members of a group
//    with one key are paired by content first, then by exact name. A clone that stays unpaired is
//    simply new: only changed callers can refer to it, so that is always safe. Lambdas are paired
//    by name only if there are as many as before: if one was inserted, a stored pointer to an old
//    one must not arrive at another one's code.
// 3. Writable variables with numbers: static_locals.cc.
// 4. Read-only variables have no identity worth keeping but their content: equal content pairs
//    them; what is left over is new.
// 5. A kernel's lists of types (BTF): by their order, if all of them are the same on both sides.
// 6. Unnamed code and unnamed writable data: in order, if there is as much of it in sections of
//    the same name.
//
// Rejected: pairing by similarity of content (edit distance). It would find more clones, but a
// wrong guess gives a running program the wrong code, and not pairing costs only a few bytes.
#include "objdiff/correlate.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/compare.h"
#include "objdiff/kernel_tables.h"
#include "objdiff/names.h"
#include "objdiff/static_locals.h"

namespace livecare::objdiff {
namespace {

struct Group {
  std::vector<AtomId> original;
  std::vector<AtomId> patched;
};

bool same_class(const Atom& a, const Atom& b) {
  return a.kind == b.kind && a.thread_local_ == b.thread_local_;
}

class Correlator {
 public:
  Correlator(const ObjectMap& original, const ObjectMap& patched)
      : original_(original), patched_(patched) {
    pairing_.original_of.assign(patched.atoms().size(), no_atom);
    pairing_.patched_of.assign(original.atoms().size(), no_atom);
  }

  Pairing run() {
    group_by_key();
    pair_type_ids();
    pair_chosen_names(false);
    pair_chosen_names(true);
    pair_function_groups();
    pair_unnamed();
    pair_static_locals(original_, patched_, writable_groups(), pairing_);
    pair_read_only();
    note_split_aliases();
    return std::move(pairing_);
  }

 private:
  static std::string group_key(const Atom& atom) {
    std::string key = name_key(atom.name);
    if (is_static_initialiser(atom.name)) key = "_GLOBAL__sub";
    return (atom.is_code() ? "f:" : atom.thread_local_ ? "t:" : "d:") + key;
  }

  void group_by_key() {
    for (AtomId id = 0; id < original_.atoms().size(); id++)
      if (original_.atom(id).named()) groups_[group_key(original_.atom(id))].original.push_back(id);
    for (AtomId id = 0; id < patched_.atoms().size(); id++)
      if (patched_.atom(id).named()) groups_[group_key(patched_.atom(id))].patched.push_back(id);
    for (const auto& [key, group] : groups_)
      sizes_[key] = {group.original.size(), group.patched.size()};
  }

  // A name that means one thing on its side, was chosen by a person and has no namesakes.
  bool chosen(const Atom& atom, const Group& group) const {
    return !is_numbered(atom.name) && !is_compiler_constant(atom.name) &&
           group.original.size() <= 1 && group.patched.size() <= 1;
  }

  using Names = std::multimap<std::string_view, AtomId>;
  static Names names_of(const ObjectMap& map, bool aliases) {
    Names names;
    for (AtomId id = 0; id < map.atoms().size(); id++) {
      const Atom& atom = map.atom(id);
      if (!atom.named()) continue;
      if (!aliases) names.emplace(atom.name, id);
      if (!aliases) continue;
      for (uint32_t symbol : atom.symbols) names.emplace(map.symbol(symbol).name, id);
    }
    return names;
  }

  void pair_chosen_names(bool aliases) {
    Names originals = names_of(original_, aliases), patcheds = names_of(patched_, aliases);
    for (auto [name, id] : patcheds) {
      const Atom& atom = patched_.atom(id);
      if (pairing_.paired_patched(id) || !chosen(atom, groups_[group_key(atom)])) continue;
      if (originals.count(name) != 1 || patcheds.count(name) != 1) continue;
      AtomId original = originals.find(name)->second;
      const Atom& before = original_.atom(original);
      if (pairing_.paired_original(original) || !same_class(before, atom)) continue;
      if (!chosen(before, groups_[group_key(before)])) continue;
      if (before.is_code() || before.writable == atom.writable) pairing_.pair(original, id);
    }
  }

  // All of them or none: lists of another length or order are lists of something else.
  void pair_type_ids() {
    std::vector<AtomId> before = type_ids_of(original_), after = type_ids_of(patched_);
    if (before.size() != after.size()) return;
    for (size_t i = 0; i < before.size(); i++) {
      const Atom &a = original_.atom(before[i]), &b = patched_.atom(after[i]);
      bool same = a.offset == b.offset && a.size == b.size && a.kind == b.kind &&
                  without_number(a.name) == without_number(b.name);
      if (!same) return;
    }
    for (size_t i = 0; i < before.size(); i++) pairing_.pair(before[i], after[i]);
  }

  static std::vector<AtomId> type_ids_of(const ObjectMap& map) {
    const elf::Section* section = map.image().section(type_ids_section);
    if (!section) return {};
    auto atoms = map.atoms_of_section(section->index);
    return {atoms.begin(), atoms.end()};
  }

  static std::string_view without_number(std::string_view name) {
    return name.substr(0, name.find_last_not_of("0123456789") + 1);
  }

  // --- groups of clones, parts, lambdas ---

  // What a function does, as far as it can be told before anything is paired.
  static std::string fingerprint(const ObjectMap& map, AtomId id) {
    const Atom& atom = map.atom(id);
    Bytes bytes = masked_bytes(map, id);
    std::string text(bytes.begin(), bytes.end());
    for (const Ref& ref : atom.refs) {
      text += fmt::format("|{}+{}:", ref.offset, ref.width);
      if (ref.target != Ref::Target::atom || ref.atom == no_atom) {
        text += fmt::format("{}{:+}", map.symbol(ref.symbol).name, ref.at);
        continue;
      }
      const Atom& target = map.atom(ref.atom);
      if (target.named()) {
        text += fmt::format("{}{:+}", name_key(target.name), ref.at);
      } else if (target.kind == AtomKind::string) {
        text += map.bytes(target).as_text();
      }
    }
    return text;
  }

  void pair_function_groups() {
    for (auto& [key, group] : groups_) {
      if (!key.starts_with("f:")) continue;
      size_t before = group.original.size(), after = group.patched.size();
      drop_paired(group);
      if (group.original.empty() || group.patched.empty()) continue;
      if (before == 1 && after == 1) {
        pairing_.pair(group.original[0], group.patched[0]);
        continue;
      }
      pair_by_content(group);
      drop_paired(group);
      bool lambda = is_lambda(std::string_view(key).substr(2));
      if (!lambda || before == after) pair_by_name(group);
    }
  }

  void drop_paired(Group& group) const {
    std::erase_if(group.original, [&](AtomId id) { return pairing_.paired_original(id); });
    std::erase_if(group.patched, [&](AtomId id) { return pairing_.paired_patched(id); });
  }

  void pair_by_content(const Group& group) {
    std::multimap<std::string, AtomId> content;
    for (AtomId id : group.original) content.emplace(fingerprint(original_, id), id);
    for (bool same_name : {true, false}) {
      for (AtomId id : group.patched) {
        if (pairing_.paired_patched(id)) continue;
        auto [first, last] = content.equal_range(fingerprint(patched_, id));
        for (; first != last; ++first) {
          AtomId original = first->second;
          if (pairing_.paired_original(original)) continue;
          if (same_name && original_.atom(original).name != patched_.atom(id).name) continue;
          pairing_.pair(original, id);
          break;
        }
      }
    }
  }

  void pair_by_name(const Group& group) {
    for (AtomId id : group.patched) {
      for (AtomId original : group.original) {
        if (pairing_.paired_original(original) || pairing_.paired_patched(id)) continue;
        if (original_.atom(original).name == patched_.atom(id).name) pairing_.pair(original, id);
      }
    }
  }

  // --- variables ---

  std::vector<VariableGroup> writable_groups() const {
    std::vector<VariableGroup> out;
    for (const auto& [key, group] : groups_) {
      if (key.starts_with("f:")) continue;
      VariableGroup variables;
      variables.key = key;
      for (AtomId id : group.original)
        if (is_open_writable(original_, id, pairing_.patched_of)) variables.original.push_back(id);
      for (AtomId id : group.patched)
        if (is_open_writable(patched_, id, pairing_.original_of)) variables.patched.push_back(id);
      if (!variables.original.empty() && !variables.patched.empty())
        out.push_back(std::move(variables));
    }
    return out;
  }

  static bool is_open_writable(const ObjectMap& map, AtomId id, const std::vector<AtomId>& other) {
    const Atom& atom = map.atom(id);
    return (atom.writable || atom.thread_local_) && other[id] == no_atom;
  }

  // Again until nothing is found: a table may refer to one whose turn comes later.
  void pair_read_only() {
    while (pair_read_only_once()) {
    }
  }

  bool pair_read_only_once() {
    Comparer comparer(original_, patched_, pairing_);
    auto open = [&] {
      return std::count(pairing_.original_of.begin(), pairing_.original_of.end(), no_atom);
    };
    auto before_all = open();
    for (auto& [key, group] : groups_) {
      if (!key.starts_with("d:")) continue;
      size_t before = sizes_[key].first, after = sizes_[key].second;
      drop_paired(group);
      for (bool same_name : {true, false})
        for (AtomId id : group.patched) pair_equal_table(comparer, group, id, same_name);
      drop_paired(group);
      bool one_each =
          before == 1 && after == 1 && !group.original.empty() && !group.patched.empty();
      if (!one_each || is_compiler_constant(patched_.atom(group.patched[0]).name)) continue;
      const Atom &a = original_.atom(group.original[0]), &b = patched_.atom(group.patched[0]);
      if (!a.writable && !b.writable) pairing_.pair(group.original[0], group.patched[0]);
    }
    return open() != before_all;
  }

  void pair_equal_table(Comparer& comparer, const Group& group, AtomId id, bool same_name) {
    const Atom& atom = patched_.atom(id);
    for (AtomId original : group.original) {
      const Atom& before = original_.atom(original);
      if (pairing_.paired_patched(id) || pairing_.paired_original(original)) continue;
      if (atom.writable || before.writable) continue;
      if (same_name && before.name != atom.name) continue;
      if (comparer.same_data(original, id)) pairing_.pair(original, id);
    }
  }

  // --- the unnamed ---

  using Unnamed = std::map<std::pair<std::string_view, AtomKind>, std::vector<AtomId>>;
  static Unnamed unnamed_of(const ObjectMap& map) {
    Unnamed out;
    for (AtomId id = 0; id < map.atoms().size(); id++) {
      const Atom& atom = map.atom(id);
      bool wanted =
          atom.kind == AtomKind::code || (atom.kind == AtomKind::anonymous && atom.writable);
      if (wanted) out[{map.section_of(atom).name, atom.kind}].push_back(id);
    }
    return out;
  }

  void pair_unnamed() {
    Unnamed originals = unnamed_of(original_), patcheds = unnamed_of(patched_);
    for (auto& [key, after] : patcheds) {
      auto& before = originals[key];
      if (before.size() != after.size()) continue;
      for (size_t i = 0; i < after.size(); i++) pairing_.pair(before[i], after[i]);
    }
  }

  void note_split_aliases() {
    Names originals = names_of(original_, true);
    for (AtomId id = 0; id < patched_.atoms().size(); id++) {
      const Atom& atom = patched_.atom(id);
      if (!atom.named() || pairing_.paired_patched(id) || is_lambda(atom.name)) continue;
      auto found = originals.find(atom.name);
      if (found == originals.end() || originals.count(atom.name) != 1) continue;
      if (original_.atom(found->second).symbols.size() < 2) continue;
      AtomId taken = pairing_.patched_of[found->second];
      if (taken != no_atom && same_class(original_.atom(found->second), atom))
        pairing_.split_alias[id] = found->second;
    }
  }

  const ObjectMap& original_;
  const ObjectMap& patched_;
  Pairing pairing_;
  std::map<std::string, Group> groups_;
  std::map<std::string, std::pair<size_t, size_t>> sizes_;  // of the groups, before any pairing
};

}  // namespace

Pairing correlate(const ObjectMap& original, const ObjectMap& patched) {
  return Correlator(original, patched).run();
}

}  // namespace livecare::objdiff
