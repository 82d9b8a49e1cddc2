// The problem. A function that is to be replaced, and everything that its new version refers to,
// must be found in a stripped file, and "probably there" is not good enough to write over code.
//
// The idea. Candidates first: with the symbol table of an identical rebuilt file the places of that
// name, without it every function start of the file. A candidate stays only if its bytes compare
// equal. Then constraints: a placed function says where everything it refers to lies; those places
// must be candidates of what lies there, and its bytes are compared in turn. Twins that look alike
// are told apart by who refers to them or to whom they refer. At the end every claim of every
// placed function is checked once more against all places: one disagreement, and what it is about
// is refused by name.
//
// The limits. A short function without distinctive bytes is never placed by its bytes alone; it
// needs a reference from, or the name in, something that is proved. What stays ambiguous is
// refused. Rejected: scores and nearest matches; neighbourhood (order of functions) as proof.
#include "match/solver.h"

#include <elf.h>

#include <algorithm>

namespace livecare::match {
namespace {

// A unique match of fewer fixed bytes than this needs a second witness.
constexpr uint32_t unique_bytes_min = 24;
constexpr size_t prefix_bytes_max = 16;

std::string_view without_version(std::string_view name) {
  return name.substr(0, name.find('@'));
}

}  // namespace

Solver::Solver(const ObjectModel& model, const ShippedIndex& shipped, const SymbolTable* symbols,
               std::string_view identity)
    : model_(model),
      shipped_(shipped),
      symbols_(symbols),
      identity_(identity),
      comparer_(model, shipped),
      states_(model.nodes().size()) {}

Matcher::ObjectMap Solver::solve() {
  const auto count = static_cast<uint32_t>(states_.size());
  for (uint32_t node = 0; node < count; ++node)
    if (model_.nodes()[node].code) find_candidates(node);
  bool progress = true;
  while (progress) {
    progress = false;
    for (uint32_t node = 0; node < count; ++node) {
      if (states_[node].placed || !states_[node].refusal.empty()) continue;
      progress |= settle_claimed(node) || (model_.nodes()[node].code && settle_candidates(node));
    }
  }
  if (symbols_)
    for (uint32_t node = 0; node < count; ++node) place_named_data(node);
  recheck();
  refuse_shared_places();
  return report();
}

std::vector<const elf::Symbol*> Solver::named_symbols(const Node& node) const {
  std::vector<const elf::Symbol*> found;
  if (!symbols_) return found;
  const auto& all = model_.object().symbols();
  for (uint32_t index : node.symbols) {
    const auto& symbol = all[index];
    const std::string_view name = without_version(symbol.name);
    auto more = symbol.bind == STB_LOCAL ? symbols_->local(name, symbol.source_file)
                                         : symbols_->global(name);
    found.insert(found.end(), more.begin(), more.end());
  }
  return found;
}

void Solver::find_candidates(uint32_t node) {
  if (symbols_)
    find_named(node);
  else
    find_by_bytes(node);
}

void Solver::find_named(uint32_t node) {
  State& state = states_[node];
  std::set<uint64_t> seen;
  for (const elf::Symbol* symbol : named_symbols(model_.nodes()[node])) {
    if (!seen.insert(symbol->value).second) continue;
    auto comparison = comparer_.code(node, symbol->value);
    if (comparison.equal)
      state.candidates.push_back({symbol->value, std::move(comparison), true});
    else
      state.nearest_reason = std::move(comparison.reason);
  }
  if (seen.empty())
    state.nearest_reason = "the rebuilt file has no such symbol: it was not kept by the linker";
}

void Solver::find_by_bytes(uint32_t index) {
  const Node& node = model_.nodes()[index];
  State& state = states_[index];
  const auto& section = model_.object().sections()[node.section];
  // Cheap first: the bytes before the first field that can differ.
  uint64_t prefix = 0;
  for (const auto& entry : model_.decode(node)) {
    const uint64_t start = node.offset + entry.offset;
    if (!entry.valid || entry.instruction.pc_relative_width || entry.instruction.is_nop ||
        !model_.relocations(node.section, start, entry.instruction.length).empty())
      break;
    prefix = entry.offset + entry.instruction.length;
    if (prefix >= prefix_bytes_max) break;
  }
  const ByteView head = section.bytes.slice(node.offset, prefix).value_or(ByteView());
  std::set<uint64_t> exported;
  if (node.global)
    for (uint32_t symbol : node.symbols)
      for (const auto* dynamic :
           shipped_.dynamic_symbols(without_version(model_.object().symbols()[symbol].name)))
        if (!dynamic->is_undefined() && shipped_.is_code(dynamic->value))
          exported.insert(dynamic->value);
  auto consider = [&](uint64_t start) {
    if (exported_as_another(node, start)) return;
    auto there = shipped_.file().at_address(start, head.size());
    if (!there || !(*there == head)) return;
    auto comparison = comparer_.code(index, start);
    if (comparison.equal)
      state.candidates.push_back({start, std::move(comparison), exported.contains(start)});
    else if (!exported.empty() || state.nearest_reason.empty())
      state.nearest_reason = std::move(comparison.reason);
  };
  if (!exported.empty())
    for (uint64_t start : exported) consider(start);
  else
    for (uint64_t start : shipped_.starts()) consider(start);
}

// The file says that another function lies there: one with the same bytes, of an object that is in
// the file while ours may not be.
bool Solver::exported_as_another(const Node& node, uint64_t address) const {
  const auto exported = shipped_.exported_at(address);
  if (exported.empty()) return false;
  for (const elf::Symbol* symbol : exported)
    for (uint32_t mine : node.symbols)
      if (without_version(model_.object().symbols()[mine].name) == symbol->name) return false;
  return true;
}

bool Solver::agrees(const Claim& claim) const {
  const State& target = states_[claim.node];
  const Node& node = model_.nodes()[claim.node];
  if (claim.what == Claim::What::import) return true;
  if (target.placed) {
    switch (claim.what) {
      case Claim::What::ifunc:
        return (node.ifunc || target.kind == Placement::Kind::ifunc) &&
               target.address == claim.value;
      case Claim::What::tls:
        return target.kind == Placement::Kind::tls &&
               target.address + static_cast<uint64_t>(claim.offset) == claim.value;
      default:
        break;
    }
    if (target.kind != Placement::Kind::plain) return false;
    // Inside of a function the offset may have drifted.
    const auto offset = static_cast<uint64_t>(claim.offset);
    const bool inside =
        node.code && target.content_proved && claim.offset >= 0 && offset <= node.size;
    return claim.value ==
           target.address + (inside ? target.comparison.map.shipped(offset) : offset);
  }
  if (claim.what != Claim::What::address || !node.code || claim.offset != 0 ||
      target.candidates.empty())
    return true;
  return std::any_of(target.candidates.begin(), target.candidates.end(),
                     [&](const Candidate& c) { return c.address == claim.value; });
}

bool Solver::viable(uint32_t index, const Candidate& candidate) const {
  const State& state = states_[index];
  if (!state.claimed.empty() && !state.claimed.contains(candidate.address)) return false;
  for (const Claim& claim : candidate.comparison.claims) {
    if (claim.node == index && claim.what == Claim::What::address) {
      const auto offset = candidate.comparison.map.shipped(static_cast<uint64_t>(claim.offset));
      if (claim.value != candidate.address + offset) return false;
    } else if (!agrees(claim)) {
      return false;
    }
  }
  return true;
}

bool Solver::trusted(uint32_t index, const Candidate& candidate) const {
  if (candidate.named || candidate.comparison.fixed_bytes >= unique_bytes_min ||
      candidate.comparison.strong > 0 || states_[index].claimed.contains(candidate.address))
    return true;
  // viable() has seen that the claims agree: one about something placed is a witness.
  const auto& claims = candidate.comparison.claims;
  return std::any_of(claims.begin(), claims.end(), [&](const Claim& claim) {
    return claim.node != index && states_[claim.node].placed;
  });
}

bool Solver::settle_candidates(uint32_t index) {
  State& state = states_[index];
  const Candidate* only = nullptr;
  size_t fits = 0;
  for (const Candidate& candidate : state.candidates) {
    if (!viable(index, candidate)) continue;
    only = &candidate;
    ++fits;
  }
  if (fits != 1 || !trusted(index, *only)) return false;
  place_code(index, *only, state.candidates.size());
  return true;
}

void Solver::place_code(uint32_t index, Candidate candidate, size_t places) {
  State& state = states_[index];
  state.placed = true;
  state.content_proved = true;
  state.address = candidate.address;
  state.comparison = std::move(candidate.comparison);
  state.places = places;
  accept_claims(index, state.comparison.claims);
}

void Solver::accept_claims(uint32_t from, const std::vector<Claim>& claims) {
  for (const Claim& claim : claims) {
    State& target = states_[claim.node];
    switch (claim.what) {
      case Claim::What::import:
        target.import = Import{std::string(claim.name), std::string(claim.version)};
        break;
      case Claim::What::ifunc:
      case Claim::What::tls:
        if (target.placed) break;
        if (model_.nodes()[claim.node].section && claim.what == Claim::What::ifunc) {
          target.claimed.emplace(claim.value, from);
          break;
        }
        target.placed = true;
        target.kind =
            claim.what == Claim::What::tls ? Placement::Kind::tls : Placement::Kind::ifunc;
        target.address = claim.value - static_cast<uint64_t>(claim.offset);
        target.claimed[target.address] = from;
        break;
      case Claim::What::address:
        accept_address(from, claim);
        break;
    }
  }
}

void Solver::accept_address(uint32_t from, const Claim& claim) {
  const Node& node = model_.nodes()[claim.node];
  State& target = states_[claim.node];
  if (claim.node == from || target.placed) return;
  // A jump into the middle says where the function begins only if nothing drifted before.
  if (node.code && claim.offset != 0) {
    if (target.candidates.empty() && node.section)
      if (auto comparison =
              comparer_.code(claim.node, claim.value - static_cast<uint64_t>(claim.offset));
          comparison.equal)
        target.candidates.push_back(
            {claim.value - static_cast<uint64_t>(claim.offset), std::move(comparison), false});
    return;
  }
  target.claimed.emplace(claim.value - static_cast<uint64_t>(claim.offset), from);
}

bool Solver::names_agree(const Node& node, uint64_t address) const {
  auto named = named_symbols(node);
  if (named.empty()) return true;  // renumbered, or no symbol table
  return std::any_of(named.begin(), named.end(),
                     [&](const elf::Symbol* symbol) { return symbol->value == address; });
}

// The shipped code refers to something that has another name than what the object refers to. Equal
// bytes say nothing then: two variables may both be zero. Numbers of static locals say nothing.
bool Solver::contradicts_name(const Claim& claim) const {
  const Node& node = model_.nodes()[claim.node];
  if (!symbols_ || claim.what != Claim::What::address || node.ifunc || node.tls) return false;
  if (stem(node.name) != node.name || (node.code && claim.offset != 0)) return false;
  return !names_agree(node, claim.value - static_cast<uint64_t>(claim.offset));
}

bool Solver::settle_claimed(uint32_t index) {
  const Node& node = model_.nodes()[index];
  State& state = states_[index];
  if (state.claimed.empty()) return false;
  const uint64_t address = state.claimed.begin()->first;
  const std::string& witness = model_.nodes()[state.claimed.begin()->second].name;
  if (state.claimed.size() > 1) {
    refuse(index, fmt::format("the shipped code of {} and {} refers to it at {:#x} and {:#x}",
                              witness, model_.nodes()[state.claimed.rbegin()->second].name, address,
                              state.claimed.rbegin()->first));
    return true;
  }
  state.places = 1;
  if (!node.section) {  // defined elsewhere: nothing to compare but its name
    if (!names_agree(node, address)) {
      refuse(index, fmt::format("{} refers to {:#x}, where the rebuilt file has another symbol",
                                witness, address));
      return true;
    }
    state.placed = true;
    state.address = address;
    return true;
  }
  Comparison comparison =
      node.code ? comparer_.code(index, address) : comparer_.data(index, address);
  if (comparison.equal) {
    place_code(index, {address, std::move(comparison), false}, 1);
    return true;
  }
  // Another object's copy of an inline function: the same thing by the rule of one definition.
  const bool shared = node.code && node.global && symbols_ && !named_symbols(node).empty() &&
                      names_agree(node, address);
  if (shared) {
    state.placed = true;
    state.address = address;
    state.comparison = std::move(comparison);
    return true;
  }
  refuse(index,
         fmt::format("{} refers to it at {:#x}, but {}", witness, address, comparison.reason));
  return true;
}

void Solver::place_named_data(uint32_t index) {
  const Node& node = model_.nodes()[index];
  State& state = states_[index];
  if (state.placed || !state.refusal.empty() || node.code || !node.section) return;
  auto named = named_symbols(node);
  std::set<uint64_t> places;
  for (const auto* symbol : named) places.insert(symbol->value);
  if (places.size() != 1) return;
  state.places = 1;
  if (node.tls) {
    state.placed = true;
    state.kind = Placement::Kind::tls;
    state.address = *places.begin();
    return;
  }
  auto comparison = comparer_.data(index, *places.begin());
  if (!comparison.equal) return refuse(index, comparison.reason);
  state.placed = true;
  state.content_proved = true;
  state.address = *places.begin();
  state.comparison = std::move(comparison);
}

void Solver::refuse(uint32_t node, std::string reason) {
  states_[node].placed = false;
  states_[node].refusal = std::move(reason);
}

void Solver::recheck() {
  // Refusals withdraw witnesses, so the loop runs until nothing more falls.
  bool falling = true;
  while (falling) {
    falling = false;
    for (uint32_t index = 0; index < states_.size(); ++index) {
      State& state = states_[index];
      if (!state.placed) continue;
      for (const Claim& claim : state.comparison.claims) {
        if (claim.node == index || (agrees(claim) && !contradicts_name(claim))) continue;
        const std::string& other = model_.nodes()[claim.node].name;
        refuse(index, fmt::format("its shipped code refers to {} at {:#x} (from {:#x}), which "
                                  "contradicts the place found for {}",
                                  other, claim.value, claim.at, other));
        falling = true;
        break;
      }
    }
  }
}

void Solver::refuse_shared_places() {
  if (symbols_) return;  // names tell aliases and folded functions from mistakes
  std::map<uint64_t, std::vector<uint32_t>> by_address;
  for (uint32_t index = 0; index < states_.size(); ++index)
    if (states_[index].placed && model_.nodes()[index].code && !model_.nodes()[index].ifunc)
      by_address[states_[index].address].push_back(index);
  for (const auto& [address, nodes] : by_address) {
    if (nodes.size() < 2) continue;
    for (uint32_t index : nodes)
      refuse(index,
             fmt::format("{} and {} both match the shipped code at {:#x}",
                         model_.nodes()[nodes[0]].name, model_.nodes()[nodes[1]].name, address));
  }
}

std::string Solver::detail(const State& state) const {
  const auto& c = state.comparison;
  if (symbols_)
    return fmt::format("{}; {} bytes and {} references compared", identity_, c.fixed_bytes,
                       c.relocations);
  return fmt::format("1 of {} places, {} bytes, {} references", std::max<size_t>(state.places, 1),
                     c.fixed_bytes, c.relocations);
}

Matcher::ObjectMap Solver::report() const {
  Matcher::ObjectMap map;
  for (uint32_t index = 0; index < states_.size(); ++index) {
    const Node& node = model_.nodes()[index];
    const State& state = states_[index];
    for (uint32_t symbol : node.symbols) {
      if (state.import) map.imports[symbol] = *state.import;
      if (state.placed) {
        Placement placement;
        placement.kind = node.ifunc ? Placement::Kind::ifunc : state.kind;
        placement.content_proved = state.content_proved;
        placement.address = state.address;
        placement.size = state.comparison.size ? state.comparison.size : node.size;
        placement.proof = symbols_ ? Proof::rebuilt_identical : Proof::unique_match;
        placement.detail = detail(state);
        map.placements.emplace(symbol, std::move(placement));
        continue;
      }
      if (symbols_ && node.section && state.claimed.empty() && named_symbols(node).empty())
        map.absent.insert(symbol);
      if (!state.refusal.empty()) {
        map.refusals[symbol] = state.refusal;
      } else if (node.section == 0) {
        if (!state.import)
          map.refusals[symbol] = "no proved function of the shipped file refers to it";
      } else if (state.candidates.size() > 1) {
        map.refusals[symbol] =
            fmt::format("{} places of the shipped file match it equally", state.candidates.size());
      } else if (state.candidates.size() == 1) {
        map.refusals[symbol] = fmt::format(
            "its {} distinctive bytes match at {:#x}, but nothing proved confirms that place",
            state.candidates[0].comparison.fixed_bytes, state.candidates[0].address);
      } else if (node.code) {
        map.refusals[symbol] =
            state.nearest_reason.empty()
                ? std::string(
                      "no function of the shipped file has these bytes: another version, "
                      "compiler or options?")
                : fmt::format("no function of the shipped file has these bytes; nearest: {}",
                              state.nearest_reason);
      } else {
        map.refusals[symbol] = "no proved function of the shipped file refers to it";
      }
    }
  }
  return map;
}

}  // namespace livecare::match
