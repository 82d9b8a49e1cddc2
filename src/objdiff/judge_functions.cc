#include <elf.h>

#include <algorithm>

#include "objdiff/callers.h"
#include "objdiff/context.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

bool is_ifunc(const ObjectMap& map, const Atom& atom) {
  return std::any_of(atom.symbols.begin(), atom.symbols.end(),
                     [&](uint32_t symbol) { return map.symbol(symbol).type == STT_GNU_IFUNC; });
}

bool has_inner_entry(const ObjectMap& map, const Atom& atom) {
  return std::any_of(atom.interior.begin(), atom.interior.end(), [&](uint32_t symbol) {
    return map.symbol(symbol).type == STT_FUNC || map.symbol(symbol).bind != STB_LOCAL;
  });
}

class FunctionJudge {
 public:
  explicit FunctionJudge(Context& context) : c_(context) {}

  void run() {
    for (AtomId id = 0; id < c_.patched.atoms().size(); id++)
      if (c_.patched.atom(id).kind == AtomKind::function &&
          c_.patched_parts.parent_of(id) == no_atom)
        judge(id);
    if (c_.traced && !c_.traced->empty()) redirect_callers();
    if (c_.options.kernel) check_sections();
    for (AtomId id = 0; id < c_.original.atoms().size(); id++)
      if (c_.original.atom(id).kind == AtomKind::function && !c_.pairing.paired_original(id) &&
          c_.original_parts.parent_of(id) == no_atom)
        c_.out.removed_functions.push_back(removed(id));
    for (AtomId id = 0; id < c_.patched.atoms().size(); id++)
      if (c_.patched.atom(id).is_code() && !c_.replaced.contains(id) && !comes_along(id))
        check_jumps_inside(id);
  }

 private:
  void judge(AtomId id) {
    if (c_.options.built_in && is_exit_section(c_.patched.section_of(c_.patched.atom(id)).name))
      return;
    AtomId before = c_.pairing.original_of[id];
    if (before == no_atom) {
      add_new(id);
      return;
    }
    if (auto why = difference(before, id)) add_changed(before, id, *why);
  }

  void add_changed(AtomId before, AtomId id, std::string why) {
    Function function = describe(before, id);
    function.why = std::move(why);
    c_.out.changed_functions.push_back(function);
    changed_.push_back(id);
    replace(id);
    check_changed(before, id);
  }

  // A kernel's `inline` function that was not inlined has nothing at its entry that could be
  // redirected. Where all that is done with it is calling it, its callers are replaced instead, and
  // call the new one. Nobody may be in the old one then: it counts as a part of the first of them.
  // What cannot be helped like that stays, and is the builder's to refuse.
  void redirect_callers() {
    for (size_t i = 0; i < changed_.size(); i++) {  // grows
      AtomId id = changed_[i], before = c_.pairing.original_of[id];
      if (c_.traced->contains(before)) continue;
      auto callers = callers_of(c_.patched, c_.patched_parts, id);
      auto old_callers = callers_of(c_.original, c_.original_parts, before);
      if (!callers || !old_callers || callers->empty() || is_visible(id)) continue;
      AtomId keeper = no_atom;
      for (AtomId caller : *callers) {
        AtomId old_caller = c_.pairing.original_of[caller];
        if (!c_.replaced.contains(caller))
          add_changed(old_caller, caller, fmt::format("calls {}", c_.patched.atom(id).name));
        if (keeper == no_atom && old_caller != no_atom && keeper_of(caller) != id)
          keeper = keeper_of(caller);
      }
      if (keeper != no_atom) become_part(id, keeper);
    }
  }

  // Itself, unless it became a part of another one.
  AtomId keeper_of(AtomId id) const {
    for (auto at = keepers_.find(id); at != keepers_.end(); at = keepers_.find(id)) id = at->second;
    return id;
  }

  bool is_visible(AtomId id) const {
    const Atom& atom = c_.patched.atom(id);
    return std::any_of(atom.symbols.begin(), atom.symbols.end(), [&](uint32_t symbol) {
      return c_.patched.symbol(symbol).bind != STB_LOCAL;
    });
  }

  void become_part(AtomId id, AtomId keeper) {
    auto& changed = c_.out.changed_functions;
    auto of = [&](AtomId atom) {
      return std::find_if(changed.begin(), changed.end(), [&](const Function& function) {
        return function.patched_symbol == c_.patched.atom(atom).symbol;
      });
    };
    Function function = *of(id);
    auto& parts = of(keeper)->original_parts;
    parts.push_back(function.original_symbol);
    parts.insert(parts.end(), function.original_parts.begin(), function.original_parts.end());
    changed.erase(of(id));
    function.original_parts.clear();
    function.original_symbol = 0;
    function.original = {};
    function.why = "cannot be redirected; " + function.why;
    keepers_[id] = keeper;
    c_.out.new_functions.push_back(std::move(function));
  }

  std::optional<std::string> difference(AtomId before, AtomId id) {
    if (auto why = piece_difference(before, id)) return why;
    const auto& old_parts = c_.original_parts.of(before);
    for (AtomId part : c_.patched_parts.of(id)) {
      AtomId old_part = c_.pairing.original_of[part];
      std::string name(c_.patched.atom(part).name);
      if (old_part == no_atom) return "its part " + name + " is new";
      if (std::find(old_parts.begin(), old_parts.end(), old_part) == old_parts.end())
        return "its part " + name + " belonged to another function";
      if (auto why = piece_difference(old_part, part)) return "its part " + name + ": " + *why;
    }
    for (AtomId part : old_parts)
      if (!c_.pairing.paired_original(part))
        return "its part " + std::string(c_.original.atom(part).name) + " is gone";
    return std::nullopt;
  }

  std::optional<std::string> piece_difference(AtomId before, AtomId id) {
    if (auto why = c_.comparer.code_difference(before, id)) return why;
    if (!c_.kernel) return std::nullopt;
    std::string_view table = c_.kernel->difference(before, id);
    if (table.empty()) return std::nullopt;
    return fmt::format("its entries in {}", table);
  }

  Function describe(AtomId before, AtomId id) const {
    Function function;
    const Atom& atom = c_.patched.atom(id);
    function.name = atom.name;
    function.patched_symbol = atom.symbol;
    function.patched = c_.patched.extent(id);
    function.patched_parts = c_.patched_parts.symbols_of(id);
    if (before == no_atom) return function;
    function.original_symbol = c_.original.atom(before).symbol;
    function.original = c_.original.extent(before);
    function.original_parts = c_.original_parts.symbols_of(before);
    return function;
  }

  Function removed(AtomId id) const {
    Function function;
    function.name = c_.original.atom(id).name;
    function.original_symbol = c_.original.atom(id).symbol;
    function.original = c_.original.extent(id);
    function.original_parts = c_.original_parts.symbols_of(id);
    function.why = "no longer in the object";
    return function;
  }

  void replace(AtomId id) {
    c_.replaced.insert(id);
    for (AtomId part : c_.patched_parts.of(id)) c_.replaced.insert(part);
  }

  void refuse(AtomId id, std::string reason) {
    const Atom& atom = c_.patched.atom(id);
    c_.refuse(atom.name, c_.patched.section_of(atom).name, std::move(reason));
  }

  void add_new(AtomId id) {
    Function function = describe(no_atom, id);
    function.why = "new";
    c_.out.new_functions.push_back(function);
    replace(id);
    const Atom& atom = c_.patched.atom(id);
    if (is_ifunc(c_.patched, atom))
      refuse(id,
             "a new ifunc would need the dynamic linker to resolve it; call the chosen "
             "implementation directly");
    if (is_static_initialiser(atom.name))
      refuse(id, "a new static initialiser would never run; initialise in a hook");
    check_decodable(id);
    auto split = c_.pairing.split_alias.find(id);
    if (split != c_.pairing.split_alias.end())
      refuse(id, fmt::format("shares its code with {} in the original object, so it cannot be "
                             "redirected alone; compile both with -fno-ipa-icf",
                             c_.original.atom(split->second).name));
  }

  void check_changed(AtomId before, AtomId id) {
    const Atom &a = c_.original.atom(before), &b = c_.patched.atom(id);
    if (is_ifunc(c_.original, a) || is_ifunc(c_.patched, b))
      refuse(id,
             "the resolver of an ifunc changed, but its choice is already made; change the "
             "implementations instead");
    if (is_static_initialiser(a.name) || is_static_initialiser(b.name))
      refuse(id,
             "a static initialiser changed, but it has already run; set the new values in a "
             "hook");
    if (is_thread_initialiser(a.name))
      refuse(id,
             "initialises thread-local variables, but threads that run have done so already; use "
             "thread-local variables with constant initial values");
    if (has_inner_entry(c_.original, a))
      refuse(id, fmt::format("has another entry inside, {}, that cannot be redirected; leave this "
                             "function as it is",
                             c_.original.symbol(a.interior.front()).name));
    check_decodable(id);
  }

  void check_sections() {
    for (const Function& function : c_.out.changed_functions) {
      std::string_view section = c_.original.image().sections()[function.original.section].name;
      std::string_view why = kernel_code_refusal(section);
      bool entry = !c_.options.built_in &&
                   ((is_exit_section(section) && is_called(function, module_exit_name)) ||
                    (is_init_section(section) && is_called(function, module_init_name)));
      if (!why.empty() && !entry) c_.refuse(function.name, section, std::string(why));
    }
  }

  bool is_called(const Function& function, std::string_view name) const {
    Place place = c_.original.place_of(function.original_symbol);
    const auto& names = c_.original.atom(place.atom).symbols;
    return std::any_of(names.begin(), names.end(),
                       [&](uint32_t symbol) { return c_.original.symbol(symbol).name == name; });
  }

  // Reached only from the function that it jumps back into, or copied over a place of it.
  bool comes_along(AtomId id) const {
    std::string_view section = c_.patched.section_of(c_.patched.atom(id)).name;
    return c_.options.kernel && (section == replacement_section || section == feature_test_section);
  }

  // Code that stays must not go on in the middle of old code.
  void check_jumps_inside(AtomId id) {
    for (const Ref& ref : c_.patched.atom(id).refs) {
      if (ref.target != Ref::Target::atom || ref.at == 0 || !c_.replaced.contains(ref.atom))
        continue;
      const Atom& from = c_.patched.atom(id);
      refuse(ref.atom, fmt::format("changed, but {}, which did not, refers to a place inside it; "
                                   "leave this function as it is",
                                   from.named() ? from.name : c_.patched.section_of(from).name));
      return;
    }
  }

  void check_decodable(AtomId id) {
    if (c_.patched.atom(id).undecodable)
      refuse(id, "its code cannot be decoded to the end; leave this function as it is");
  }

  Context& c_;
  std::vector<AtomId> changed_;
  std::map<AtomId, AtomId> keepers_;
};

}  // namespace

void judge_functions(Context& context) {
  FunctionJudge(context).run();
}

}  // namespace livecare::objdiff
