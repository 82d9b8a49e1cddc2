#include <elf.h>

#include <algorithm>
#include <map>

#include "objdiff/context.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

class SymbolJudge {
 public:
  explicit SymbolJudge(Context& context) : c_(context) {
    for (const elf::Symbol& symbol : c_.patched.image().symbols())
      if (names_something(symbol)) patched_.emplace(symbol.name, symbol.index);
    for (const elf::Symbol& symbol : c_.original.image().symbols())
      if (names_something(symbol)) original_.emplace(symbol.name, symbol.index);
  }

  void run() {
    for (const elf::Symbol& symbol : c_.original.image().symbols())
      if (names_something(symbol) && original_.count(symbol.name) == 1) judge(symbol);
    for (const elf::Symbol& symbol : c_.patched.image().symbols())
      if (names_something(symbol) && symbol.section == elf::section_common &&
          !original_.contains(symbol.name))
        add_common(symbol);
  }

 private:
  static bool names_something(const elf::Symbol& symbol) {
    return symbol.index != 0 && symbol.type != STT_SECTION && symbol.type != STT_FILE &&
           !is_assembler_local(symbol.name);
  }

  static bool outside_can_use(const elf::Symbol& symbol) {
    return symbol.bind != STB_LOCAL &&
           (symbol.visibility == STV_DEFAULT || symbol.visibility == STV_PROTECTED);
  }

  std::string_view section_name(const elf::Symbol& symbol) const {
    const auto& sections = c_.original.image().sections();
    if (symbol.section < sections.size()) return sections[symbol.section].name;
    return symbol.section == elf::section_common ? "COMMON" : "ABS";
  }

  void refuse(const elf::Symbol& symbol, std::string reason) {
    c_.refuse(symbol.name, section_name(symbol), std::move(reason));
  }

  void judge(const elf::Symbol& symbol) {
    if (symbol.is_undefined()) return;
    auto [first, last] = patched_.equal_range(symbol.name);
    if (first == last) {
      judge_gone(symbol);
      return;
    }
    if (std::next(first) != last) return;
    const elf::Symbol& now = c_.patched.symbol(first->second);
    if (symbol.section == elf::section_absolute) {
      if (now.section != elf::section_absolute || now.value != symbol.value)
        refuse(symbol, "an absolute symbol has another value; leave it as it is");
    } else if (symbol.section == elf::section_common) {
      judge_common(symbol, now);
    } else if (now.is_undefined()) {
      judge_gone(symbol);
    } else if (!is_numbered(symbol.name) && !is_lambda(symbol.name)) {
      judge_place(symbol, now);
    }
  }

  void judge_gone(const elf::Symbol& symbol) {
    // A weak definition is one of several equal ones: whoever needs it has another.
    if (symbol.type != STT_FUNC && symbol.type != STT_GNU_IFUNC) return;
    if (!outside_can_use(symbol) || symbol.bind == STB_WEAK || is_numbered(symbol.name)) return;
    refuse(symbol,
           "a function that others may call is gone, but they would still reach the old "
           "one; keep it and let it fail");
  }

  void judge_common(const elf::Symbol& symbol, const elf::Symbol& now) {
    if (now.section != elf::section_common) return;  // judged as data
    if (now.size != symbol.size)
      refuse(symbol, fmt::format("its size changed from {} to {} bytes; keep the old variable and "
                                 "put what is new into shadow data or a new variable",
                                 symbol.size, now.size));
    else if (now.value > symbol.value)
      refuse(symbol, "its alignment grew; keep the old declaration");
  }

  void add_common(const elf::Symbol& symbol) {
    Variable variable;
    variable.name = symbol.name;
    variable.patched_symbol = symbol.index;
    variable.patched = {elf::section_common, 0, symbol.size};
    variable.kind = DataKind::zero_initialised;
    c_.out.new_data.push_back(variable);
  }

  // A name has to stay a name of the same thing.
  void judge_place(const elf::Symbol& symbol, const elf::Symbol& now) {
    Place before = c_.original.place_of(symbol.index), after = c_.patched.place_of(now.index);
    if (before.atom == no_atom || after.atom == no_atom) return;
    AtomId expected = c_.pairing.patched_of[before.atom];
    if (expected == no_atom || expected == after.atom) {
      if (expected == after.atom && before.at != after.at && !is_replaced(after.atom))
        refuse(symbol, "names another place inside its function or variable; leave it as it is");
      return;
    }
    if (c_.pairing.split_alias.contains(after.atom)) return;  // refused as a function
    if (symbol.bind == STB_LOCAL) return;                     // its users see what it means now
    refuse(symbol,
           fmt::format("was another name of {} and is one of {} now; leave the alias as it is",
                       c_.original.atom(before.atom).name, c_.patched.atom(after.atom).name));
  }

  bool is_replaced(AtomId patched) const { return c_.replaced.contains(patched); }

  Context& c_;
  std::multimap<std::string_view, uint32_t> original_;
  std::multimap<std::string_view, uint32_t> patched_;
};

}  // namespace

void judge_symbols(Context& context) {
  SymbolJudge(context).run();
}

}  // namespace livecare::objdiff
