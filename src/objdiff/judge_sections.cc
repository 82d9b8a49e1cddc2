#include <elf.h>

#include <algorithm>
#include <map>

#include "objdiff/context.h"
#include "objdiff/entry_tables.h"

namespace livecare::objdiff {
namespace {

using Unnamed = std::map<std::string_view, std::vector<AtomId>>;

// Judged function by function, or not at all.
bool is_settled_elsewhere(std::string_view section, const Options& options) {
  return (options.built_in && is_exit_section(section)) || kernel_table(section) ||
         section == replacement_section || section == feature_test_section ||
         is_dropped_by_kernel(section) || is_sanitizer_record(section);
}

// Atoms of sections with a role of their own (by section name), and unnamed code and writable data.
Unnamed gather(const ObjectMap& map, const Options& options) {
  const bool kernel = options.kernel;
  Unnamed out;
  for (AtomId id = 0; id < map.atoms().size(); id++) {
    const Atom& atom = map.atom(id);
    bool special = atom.role == SectionRole::other || atom.role == SectionRole::initialisers;
    std::string_view section = map.section_of(atom).name;
    if (kernel &&
        (is_settled_elsewhere(section, options) || is_addressable_mark(section, atom.name)))
      continue;
    bool nameless = kernel && is_nameless_in_kernel(section, atom.name);
    if (atom.role == SectionRole::other && atom.kind == AtomKind::variable && !nameless) continue;
    bool unnamed = atom.kind == AtomKind::code ||
                   (atom.kind == AtomKind::anonymous && atom.role == SectionRole::data &&
                    atom.writable && !atom.zero);
    if (special || unnamed) out[section].push_back(id);
  }
  return out;
}

class SectionJudge {
 public:
  explicit SectionJudge(Context& context) : c_(context) {}

  void run() {
    Unnamed originals = gather(c_.original, c_.options);
    Unnamed patcheds = gather(c_.patched, c_.options);
    if (c_.kernel)
      if (auto table = c_.kernel->difference_elsewhere(); !table.empty())
        c_.refuse("", table, "entries about code without a symbol changed; leave it as it is");
    for (const auto& [name, atoms] : patcheds) judge(name, originals[name], atoms);
    for (const auto& [name, atoms] : originals)
      if (!patcheds.contains(name)) judge(name, atoms, {});
  }

 private:
  bool blank(const ObjectMap& map, AtomId id) const {
    const Atom& atom = map.atom(id);
    ByteView bytes = map.bytes(atom);
    return atom.refs.empty() &&
           std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
  }

  void judge(std::string_view name, std::vector<AtomId> before, std::vector<AtomId> after) {
    SectionRole role = SectionRole::data;
    if (!before.empty()) role = c_.original.atom(before[0]).role;
    if (!after.empty()) role = c_.patched.atom(after[0]).role;
    std::erase_if(before, [&](AtomId id) { return blank(c_.original, id); });
    std::erase_if(after, [&](AtomId id) { return blank(c_.patched, id); });
    if (role == SectionRole::other) {
      judge_entries(name, before, after);
    } else if (!same(before, after)) {
      c_.refuse("", name, reason(role));
    }
  }

  bool same(const std::vector<AtomId>& before, const std::vector<AtomId>& after) {
    if (before.size() != after.size()) return false;
    for (size_t i = 0; i < before.size(); i++) {
      bool code = c_.patched.atom(after[i]).is_code();
      bool equal = code ? !c_.comparer.code_difference(before[i], after[i])
                        : c_.comparer.same_data(before[i], after[i]);
      if (!equal) return false;
    }
    return true;
  }

  static std::string reason(SectionRole role) {
    switch (role) {
      case SectionRole::initialisers:
        return "what runs at load or unload changed, but a patch is not loaded that way; use a "
               "hook";
      case SectionRole::code:
        return "code without a symbol changed; give it a function symbol with a size";
      default:
        return "data without a symbol changed; leave it as it is";
    }
  }

  void judge_entries(std::string_view name, const std::vector<AtomId>& before,
                     const std::vector<AtomId>& after) {
    if (same(before, after) && !entries_of_replaced(after)) return;
    std::vector<TableEntry> a, b;
    if (!read_entries(c_.original, before, a) || !read_entries(c_.patched, after, b)) {
      if (!same(before, after))
        c_.refuse("", name, "differs, and its meaning is not known; leave what makes it as it is");
      return;
    }
    std::string function = first_difference(c_, a, b);
    if (!function.empty())
      c_.refuse(function, name,
                "this function's entries in the section would have to change, and "
                "whatever reads them would not see that; leave them as they are");
  }

  bool entries_of_replaced(const std::vector<AtomId>& atoms) const {
    for (AtomId id : atoms)
      for (const Ref& ref : c_.patched.atom(id).refs)
        if (ref.target == Ref::Target::atom && c_.replaced.contains(ref.atom)) return true;
    return false;
  }

  Context& c_;
};

}  // namespace

void judge_sections(Context& context) {
  SectionJudge(context).run();
}

}  // namespace livecare::objdiff
