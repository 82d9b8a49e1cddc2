// A variable that the program writes is shared with the running program: its initial value was used
// once, long ago. So a changed initialiser, size or alignment cannot take effect, and only the
// fix's author knows what should happen instead. Read-only data is different: a changed table is
// emitted anew, and whoever refers to it refers to the new one (the comparer has made all of them
// changed functions). Exceptions are tables whose address the program has stored: virtual tables
// and typeinfo.
#include <elf.h>

#include <algorithm>

#include "objdiff/context.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

constexpr uint32_t dynamic_debug_line_mask = (1u << 18) - 1;

class DataJudge {
 public:
  explicit DataJudge(Context& context) : c_(context) {}

  void run() {
    read_keep_section();
    find_used();
    for (AtomId id = 0; id < c_.patched.atoms().size(); id++) {
      const Atom& atom = c_.patched.atom(id);
      bool ordinary = atom.role == SectionRole::data || atom.role == SectionRole::other;
      if (atom.kind == AtomKind::variable && ordinary) judge(id);
    }
  }

 private:
  void read_keep_section() {
    for (const elf::Section& section : c_.patched.image().sections()) {
      if (section.name != ".livecare.data_keep") continue;
      uint64_t at = 0;
      while (auto name = section.bytes.c_string(at)) {
        if (!name->empty()) kept_.insert(*name);
        at += name->size() + 1;
      }
    }
  }

  // Data that code of the patch reaches without passing through something that exists already.
  void find_used() {
    std::vector<AtomId> open(c_.replaced.begin(), c_.replaced.end());
    while (!open.empty()) {
      AtomId user = open.back();
      open.pop_back();
      for (const Ref& ref : c_.patched.atom(user).refs) {
        if (ref.target != Ref::Target::atom || ref.atom == no_atom) continue;
        const Atom& target = c_.patched.atom(ref.atom);
        if (target.is_code()) continue;
        if (!used_by_.emplace(ref.atom, user).second) continue;
        if (!target.writable || !c_.pairing.paired_patched(ref.atom)) open.push_back(ref.atom);
      }
    }
  }

  // The function of the patch that uses a variable; empty for none.
  std::string_view user_of(AtomId id) const {
    for (int depth = 0; depth < 64; depth++) {
      auto found = used_by_.find(id);
      if (found == used_by_.end()) return {};
      id = found->second;
      if (c_.patched.atom(id).is_code()) return c_.patched.atom(id).name;
    }
    return {};
  }

  static DataKind kind_of(const Atom& atom) {
    if (atom.thread_local_)
      return atom.zero ? DataKind::thread_local_zero : DataKind::thread_local_data;
    if (!atom.writable) return DataKind::read_only;
    return atom.zero ? DataKind::zero_initialised : DataKind::writable;
  }

  Variable describe(AtomId before, AtomId id) const {
    Variable variable;
    const Atom& atom = c_.patched.atom(id);
    variable.name = atom.name;
    variable.patched_symbol = atom.symbol;
    variable.patched = c_.patched.extent(id);
    variable.kind = kind_of(atom);
    variable.compiler_made = is_compiler_constant(atom.name);
    if (before == no_atom) return variable;
    const Atom& old = c_.original.atom(before);
    variable.original_symbol = old.symbol;
    variable.original = c_.original.extent(before);
    const elf::Symbol& symbol = c_.original.symbol(old.symbol);
    variable.visible_outside = symbol.bind != STB_LOCAL;
    return variable;
  }

  void refuse(AtomId id, std::string reason) {
    const Atom& atom = c_.patched.atom(id);
    c_.refuse(atom.name, c_.patched.section_of(atom).name, std::move(reason));
  }

  void judge(AtomId id) {
    const Atom& atom = c_.patched.atom(id);
    AtomId before = c_.pairing.original_of[id];
    std::string_view section = c_.patched.section_of(atom).name;
    if (c_.options.kernel && (kernel_table(section) || is_dropped_by_kernel(section) ||
                              is_nameless_in_kernel(section, atom.name) ||
                              (c_.options.built_in && is_exit_section(section))))
      return;  // judge_sections.cc
    if (c_.options.kernel && section == dynamic_debug_section) {
      judge_dynamic_debug(before, id);
    } else if (before == no_atom) {
      judge_new(id);
    } else if (atom.role == SectionRole::other) {
      if (!c_.comparer.same_data(before, id))
        refuse(id, "changed in a section whose meaning is not known; leave it as it is");
    } else if (atom.writable || atom.thread_local_) {
      judge_writable(before, id);
      if (AtomId inside = points_into_replaced(id); inside != no_atom)
        refuse(id, fmt::format("holds addresses inside {}, whose code changed; make it const",
                               c_.patched.atom(inside).name));
    } else if (!c_.comparer.same_data(before, id)) {
      judge_read_only(before, id);
    } else if (AtomId inside = points_into_replaced(id); inside != no_atom) {
      judge_label_table(before, id, inside);
    }
  }

  // `&&label`: an address inside a function is one in its old code, even if the distance stayed.
  AtomId points_into_replaced(AtomId id) const {
    for (const Ref& ref : c_.patched.atom(id).refs)
      if (ref.target == Ref::Target::atom && ref.at != 0 && c_.replaced.contains(ref.atom))
        return ref.atom;
    return no_atom;
  }

  // Descriptors of pr_debug(): where a message stands. One that is new, or says something else,
  // comes with the patch; code that stays goes on with the old one.
  void judge_dynamic_debug(AtomId before, AtomId id) {
    if (before == no_atom) {
      c_.out.new_data.push_back(describe(no_atom, id));
    } else if (!same_descriptor(before, id)) {
      c_.out.changed_data.push_back(describe(before, id));
    }
  }

  // But for the line: struct _ddebug has its number in the low bits of the word behind the texts.
  bool same_descriptor(AtomId before, AtomId id) const {
    const Atom &a = c_.original.atom(before), &b = c_.patched.atom(id);
    if (!same_ref_places(a, b) || a.refs.empty()) return false;
    for (size_t i = 0; i < a.refs.size(); i++)
      if (!c_.comparer.same_target(a.refs[i], b.refs[i])) return false;
    Bytes x = masked_bytes(c_.original, before), y = masked_bytes(c_.patched, id);
    uint64_t line = 0;
    for (const Ref& ref : a.refs)
      if (ref.offset == line) line = ref.offset + ref.width;
    for (Bytes* bytes : {&x, &y}) {
      auto word = ByteView(*bytes).read<uint32_t>(line);
      if (!word) return false;
      store_le(*bytes, line, *word & ~dynamic_debug_line_mask);
    }
    return x == y;
  }

  void judge_label_table(AtomId before, AtomId id, AtomId inside) {
    c_.out.changed_data.push_back(describe(before, id));
    for (AtomId user = 0; user < c_.patched.atoms().size(); user++) {
      if (c_.replaced.contains(user)) continue;
      for (const Ref& ref : c_.patched.atom(user).refs)
        if (ref.target == Ref::Target::atom && ref.atom == id)
          refuse(id, fmt::format("holds addresses inside the changed {}, and {} uses it as well; "
                                 "give each a table of its own",
                                 c_.patched.atom(inside).name, c_.patched.atom(user).name));
    }
  }

  void judge_new(AtomId id) {
    const Atom& atom = c_.patched.atom(id);
    if (c_.options.kernel && c_.patched.section_of(atom).name.starts_with(per_cpu_section)) {
      refuse(id, "a new per-CPU variable; use shadow data or an ordinary variable");
      return;
    }
    if (atom.role == SectionRole::other) {
      refuse(id,
             "new in a section whose meaning is not known: whatever walks that section would "
             "not see it; use an ordinary variable");
      return;
    }
    if (atom.name.starts_with("DW.ref.")) {
      c_.out.new_data.push_back(describe(no_atom, id));
      return;
    }
    if (c_.options.kernel && is_message_state(atom.name)) {
      c_.out.new_data.push_back(describe(no_atom, id));
      return;
    }
    auto ambiguous = c_.pairing.ambiguous.find(id);
    if (ambiguous != c_.pairing.ambiguous.end() && !user_of(id).empty()) {
      c_.refuse(user_of(id), c_.patched.section_of(atom).name,
                fmt::format("cannot tell which of the original's static variables ({}) its {} is; "
                            "give the variables names of their own",
                            ambiguous->second, atom.name));
      return;
    }
    if (AtomId old = moved_scope(atom); old != no_atom && !user_of(id).empty()) {
      refuse(id,
             fmt::format("may be the original's {}, which is gone: a variable that moves into or "
                         "out of a function loses its value; leave it where it was",
                         c_.original.atom(old).name));
      return;
    }
    const elf::Symbol* namesake = namesake_of(atom);
    if (namesake && !judge_namesake(id, *namesake)) return;
    c_.out.new_data.push_back(describe(no_atom, id));
  }

  // "x" of "x.3" (gcc) and "f.x.3" (clang).
  static std::string_view plain_name(std::string_view name) {
    name = source_variable(name);
    size_t dot = name.rfind('.');
    return dot == std::string_view::npos ? name : name.substr(dot + 1);
  }

  // A writable variable that only the original has, of the same plain name: one of the two is
  // local to a function.
  AtomId moved_scope(const Atom& atom) const {
    if (!atom.writable && !atom.thread_local_) return no_atom;
    for (AtomId id = 0; id < c_.original.atoms().size(); id++) {
      const Atom& old = c_.original.atom(id);
      bool gone = old.kind == AtomKind::variable && !c_.pairing.paired_original(id);
      if (!gone || !(old.writable || old.thread_local_) || old.name == atom.name) continue;
      bool one_is_local = plain_name(old.name) == old.name || plain_name(atom.name) == atom.name;
      if (one_is_local && plain_name(old.name) == plain_name(atom.name)) return id;
    }
    return no_atom;
  }

  // The original's symbol of the same name for a variable that was not paired with it.
  const elf::Symbol* namesake_of(const Atom& atom) const {
    if (is_compiler_constant(atom.name) || is_numbered(atom.name)) return nullptr;
    for (const elf::Symbol& symbol : c_.original.image().symbols())
      if (symbol.name == atom.name && symbol.type != STT_SECTION && symbol.type != STT_FILE)
        return &symbol;
    return nullptr;
  }

  // False when it was refused.
  bool judge_namesake(AtomId id, const elf::Symbol& namesake) {
    const Atom& atom = c_.patched.atom(id);
    if (namesake.is_undefined()) {
      if (!atom.writable && !atom.thread_local_) return true;
      refuse(id,
             "was defined in another file and is defined here now: there would be two of it; "
             "leave it where it was");
      return false;
    }
    if (namesake.section == elf::section_common) {
      refuse(id, "was a common symbol and is initialised now; set its value in a hook");
      return false;
    }
    if (namesake.bind != STB_LOCAL && !was_optional(namesake)) {
      refuse(id,
             "changed between read-only, writable and thread-local, and other files use it; "
             "give the new one a name of its own");
      return false;
    }
    // Its users in this object are changed functions, and nobody else can know it. What the
    // program has written to a variable that is read-only now must not be lost.
    AtomId old = c_.original.place_of(namesake.index).atom;
    if (old != no_atom && c_.original.atom(old).writable && atom.writable) {
      refuse(id,
             "is not the original's variable of that name (thread-local, or several of the "
             "name); give it a name of its own");
      return false;
    }
    return true;
  }

  static bool was_optional(const elf::Symbol& symbol) { return symbol.bind == STB_WEAK; }

  bool keeps(const Atom& atom) const {
    std::string name(atom.name);
    auto policy = c_.options.data_policies.find(name);
    return kept_.contains(atom.name) || kept_.contains(source_variable(atom.name)) ||
           policy != c_.options.data_policies.end();
  }

  // "count" of "count.3": how an author names a static local.
  static std::string_view source_variable(std::string_view name) {
    size_t dot = name.rfind('.');
    return dot == std::string_view::npos || !is_numbered(name) ? name : name.substr(0, dot);
  }

  void judge_writable(AtomId before, AtomId id) {
    const Atom &a = c_.original.atom(before), &b = c_.patched.atom(id);
    if (a.size != b.size) {
      refuse(id, fmt::format("its size changed from {} to {} bytes; keep the old variable and put "
                             "what is new into shadow data or a new variable",
                             a.size, b.size));
      return;
    }
    check_alignment(before, id);
    if (c_.comparer.same_data(before, id)) return;
    if (keeps(b)) {
      Variable variable = describe(before, id);
      variable.kept = true;
      c_.out.changed_data.push_back(variable);
      return;
    }
    refuse(id, b.thread_local_
                   ? "its initial value changed, but threads that run have their copy already; "
                     "state LIVECARE_DATA_KEEP or use a new variable"
                   : "its initial value changed, but the running program has its own value; state "
                     "LIVECARE_DATA_KEEP to keep that, or set the new one in a hook");
  }

  bool alone(const ObjectMap& map, const Atom& atom) const {
    return map.section_of(atom).size == atom.size;
  }

  void check_alignment(AtomId before, AtomId id) {
    const Atom &a = c_.original.atom(before), &b = c_.patched.atom(id);
    if (!alone(c_.original, a) || !alone(c_.patched, b) || user_of(id).empty()) return;
    uint64_t was = c_.original.section_of(a).alignment, is = c_.patched.section_of(b).alignment;
    if (is > was)
      refuse(id, fmt::format("its alignment changed from {} to {} bytes, and {} may rely on it; "
                             "keep the old declaration",
                             was, is, user_of(id)));
  }

  void judge_read_only(AtomId before, AtomId id) {
    const Atom& atom = c_.patched.atom(id);
    if (is_virtual_table(atom.name)) {
      refuse(id,
             "a virtual table changed: objects that exist already keep the old one; add "
             "functions that are not virtual instead");
      return;
    }
    if (is_typeinfo(atom.name)) {
      refuse(id,
             "a class's typeinfo changed, and its address is its identity; leave the class's "
             "bases as they are");
      return;
    }
    c_.out.changed_data.push_back(describe(before, id));
  }

  Context& c_;
  std::set<std::string_view> kept_;
  std::map<AtomId, AtomId> used_by_;
};

}  // namespace

void judge_data(Context& context) {
  DataJudge(context).run();
}

}  // namespace livecare::objdiff
