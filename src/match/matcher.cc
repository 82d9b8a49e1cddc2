#include "match/matcher.h"

#include <elf.h>

#include "base/clock.h"
#include "base/log.h"
#include "match/identity.h"
#include "match/solver.h"

namespace livecare::match {

std::string_view to_string(Proof proof) {
  return proof == Proof::rebuilt_identical ? "rebuilt file identical" : "unique match";
}

struct Matcher::State {
  State(const elf::Image& file, const elf::Image* rebuilt_file)
      : index(file), rebuilt(rebuilt_file) {}
  ShippedIndex index;
  const elf::Image* rebuilt = nullptr;
  Identity identity;
  std::optional<SymbolTable> symbols;  // when the first proof holds
};

Matcher::Matcher(std::unique_ptr<State> state) : state_(std::move(state)) {}
Matcher::Matcher(Matcher&&) noexcept = default;
Matcher::~Matcher() = default;

Result<Matcher> Matcher::create(const elf::Image& shipped, const elf::Image* rebuilt) {
  if (shipped.machine() != elf::Machine::x86_64)
    return make_error(ErrorCode::unsupported, shipped.name(),
                      "matching is implemented for x86-64 only");
  if (shipped.kind() != elf::Kind::shared && shipped.kind() != elf::Kind::executable)
    return make_error(ErrorCode::invalid_input, shipped.name(),
                      "is not a program or shared library; give the file that the package ships");
  if (!shipped.section(".text"))
    return make_error(ErrorCode::unsupported, shipped.name(),
                      "has no section headers; give the file as the package ships it");
  auto state = std::make_unique<State>(shipped, rebuilt);
  if (rebuilt) {
    state->identity = compare_files(shipped, *rebuilt);
    if (state->identity.identical) state->symbols.emplace(*rebuilt);
  } else {
    state->identity.why = "there is no rebuilt file";
  }
  if (!state->identity.identical && shipped.symbols().size() > 1) {
    // Not stripped: its own symbol table is the best witness of all.
    state->identity.identical = true;
    state->identity.why = "the shipped file has its symbol table";
    state->symbols.emplace(shipped);
  }
  log(LogLevel::debug, "{}: {} ({})", shipped.name(),
      state->identity.identical ? "matching by symbol table" : "matching by bytes",
      state->identity.why);
  return Matcher(std::move(state));
}

bool Matcher::rebuilt_is_identical() const {
  return state_->identity.identical;
}
const std::string& Matcher::why() const {
  return state_->identity.why;
}

Result<Matcher::ObjectMap> Matcher::match_object(const elf::Image& object,
                                                 std::string_view source_file) const {
  if (object.kind() != elf::Kind::relocatable || object.machine() != state_->index.file().machine())
    return make_error(ErrorCode::invalid_input, object.name(),
                      "is not a relocatable object for the target's machine");
  const uint64_t begin = monotonic_us();
  const ObjectModel model(object);
  Solver solver(model, state_->index, state_->symbols ? &*state_->symbols : nullptr,
                state_->identity.why);
  ObjectMap map = solver.solve();
  log(LogLevel::debug, "{}: {} symbols placed, {} not, in {} us", source_file,
      map.placements.size(), map.refusals.size(), monotonic_us() - begin);
  return map;
}

Result<Placement> Matcher::find_symbol(std::string_view name) const {
  if (!state_->symbols)
    return make_error(ErrorCode::refused, name, "its place cannot be proved: {}",
                      state_->identity.why);
  const elf::Symbol* only = nullptr;
  for (const elf::Symbol* symbol : state_->symbols->global(name)) {
    if (only && only->value != symbol->value)
      return make_error(ErrorCode::refused, name, "the rebuilt file has several such symbols");
    only = symbol;
  }
  if (!only) return make_error(ErrorCode::not_found, name, "is not in the rebuilt file");
  Placement placement;
  placement.content_proved = false;
  placement.address = only->value;
  placement.size = only->size;
  placement.detail = state_->identity.why;
  if (only->type == STT_TLS) placement.kind = Placement::Kind::tls;
  if (only->type == STT_GNU_IFUNC) placement.kind = Placement::Kind::ifunc;
  return placement;
}

}  // namespace livecare::match
