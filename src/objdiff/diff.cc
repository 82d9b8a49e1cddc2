// One run: cut both objects into atoms, find which is which, compare, and let judges say what
// follows for functions, data, sections, symbols and compilers.
//
// Limits. The differ sees one object: that another one has the same inline function, or uses a
// changed global table, is for the builder to find (Variable::visible_outside). Without function
// and data sections a reference that points one past a variable is taken for the next one.
#include "objdiff/diff.h"

#include <elf.h>

#include "objdiff/callers.h"
#include "objdiff/context.h"
#include "objdiff/correlate.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

std::multimap<std::string_view, uint32_t> global_names(const elf::Image& image) {
  std::multimap<std::string_view, uint32_t> names;
  for (const elf::Symbol& symbol : image.symbols())
    if (symbol.index != 0 && symbol.type != STT_SECTION && symbol.type != STT_FILE &&
        symbol.bind != STB_LOCAL)
      names.emplace(symbol.name, symbol.index);
  return names;
}

// The symbol of the paired atom with the same name, otherwise its best one.
uint32_t counterpart(const ObjectMap& map, AtomId id, std::string_view name) {
  for (uint32_t symbol : map.atom(id).symbols)
    if (map.symbol(symbol).name == name) return symbol;
  for (uint32_t symbol : map.atom(id).interior)
    if (map.symbol(symbol).name == name) return symbol;
  return map.atom(id).symbol;
}

std::vector<uint32_t> correlate_symbols(const ObjectMap& from, const ObjectMap& to,
                                        const std::vector<AtomId>& other) {
  std::vector<uint32_t> out(from.image().symbols().size(), 0);
  auto names = global_names(to.image());
  for (const elf::Symbol& symbol : from.image().symbols()) {
    if (symbol.index == 0 || symbol.type == STT_SECTION || symbol.type == STT_FILE) continue;
    Place place = from.place_of(symbol.index);
    if (place.atom != no_atom) {
      bool names_it = !is_assembler_local(symbol.name) && from.atom(place.atom).named();
      if (names_it && other[place.atom] != no_atom)
        out[symbol.index] = counterpart(to, other[place.atom], symbol.name);
    } else if (auto found = names.find(symbol.name); found != names.end()) {
      out[symbol.index] = found->second;
    }
  }
  return out;
}

// What the compilers that made an object call themselves.
std::set<std::string_view> compilers(const elf::Image& image) {
  std::set<std::string_view> names;
  const elf::Section* section = image.section(".comment");
  if (!section) return names;
  uint64_t at = 0;
  while (auto name = section->bytes.c_string(at)) {
    if (!name->empty()) names.insert(*name);
    at += name->size() + 1;
  }
  return names;
}

// Two compilers number and name what is static in different ways, so nothing says what became what.
void judge_compilers(Context& context) {
  auto before = compilers(context.original.image()), after = compilers(context.patched.image());
  if (before.empty() || after.empty() || before == after || !context.out.anything_changed()) return;
  context.refuse("", ".comment",
                 fmt::format("the objects were made by two compilers, {} and {}; compile both with "
                             "the one that made the target",
                             fmt::join(before, ", "), fmt::join(after, ", ")));
}

}  // namespace

Result<Diff> diff(const elf::Image& original, const elf::Image& patched, const Options& options) {
  if (original.machine() != patched.machine())
    return make_error(ErrorCode::invalid_input, patched.name(),
                      "made for another CPU than {}; compile both with one compiler",
                      original.name());
  TRY(ObjectMap before, ObjectMap::make(original));
  TRY(ObjectMap after, ObjectMap::make(patched));
  Pairing pairing = correlate(before, after);
  Comparer comparer(before, after, pairing);
  Parts original_parts(before), patched_parts(after);
  Diff out;
  std::optional<KernelEntries> kernel;
  if (options.kernel) {
    TRY_STATUS(comparer.know_kernel_tables());
    TRY(KernelEntries entries, KernelEntries::make(before, after, pairing, comparer));
    kernel.emplace(std::move(entries));
  }
  Context context{before,
                  after,
                  options,
                  pairing,
                  comparer,
                  original_parts,
                  patched_parts,
                  out,
                  kernel ? &*kernel : nullptr,
                  {},
                  {}};
  if (options.kernel) {
    TRY(context.traced, traced_functions(before));
  }
  judge_functions(context);
  judge_data(context);
  judge_sections(context);
  judge_symbols(context);
  judge_compilers(context);
  out.correlation.original_of_patched = correlate_symbols(after, before, pairing.original_of);
  out.correlation.patched_of_original = correlate_symbols(before, after, pairing.patched_of);
  return out;
}

struct Resolver::State {
  ObjectMap map;
};

Resolver::Resolver(std::unique_ptr<State> state) : state_(std::move(state)) {}
Resolver::Resolver(Resolver&&) noexcept = default;
Resolver& Resolver::operator=(Resolver&&) noexcept = default;
Resolver::~Resolver() = default;

Result<Resolver> Resolver::make(const elf::Image& object) {
  TRY(ObjectMap map, ObjectMap::make(object));
  return Resolver(std::make_unique<State>(State{std::move(map)}));
}

Reference Resolver::resolve(const elf::Relocation& relocation, uint32_t in_section) const {
  return state_->map.resolve(relocation, in_section);
}

std::optional<Extent> Resolver::extent_at(uint32_t section, uint64_t offset) const {
  Place place = state_->map.find(section, static_cast<int64_t>(offset));
  if (place.atom == no_atom || place.at < 0) return std::nullopt;
  return state_->map.extent(place.atom);
}

Reference resolve(const elf::Image& object, const elf::Relocation& relocation,
                  uint32_t in_section) {
  auto resolver = Resolver::make(object);
  return resolver.ok() ? resolver->resolve(relocation, in_section) : Reference{};
}

}  // namespace livecare::objdiff
