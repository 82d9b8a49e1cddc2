// Finds one address for every node of an object such that all comparisons hold and all claims
// agree.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "match/compare.h"
#include "match/matcher.h"
#include "match/symbol_table.h"

namespace livecare::match {

class Solver {
 public:
  // symbols: null for the second proof. identity: what the detail of the first proof says.
  Solver(const ObjectModel& model, const ShippedIndex& shipped, const SymbolTable* symbols,
         std::string_view identity);
  Matcher::ObjectMap solve();

 private:
  struct Candidate {
    uint64_t address = 0;
    Comparison comparison;
    bool named = false;  // a symbol table says so
  };
  struct State {
    std::vector<Candidate> candidates;  // code: places whose bytes are equal
    std::string nearest_reason;         // why the best place that is not a candidate is none
    bool placed = false;
    Placement::Kind kind = Placement::Kind::plain;
    bool content_proved = false;
    uint64_t address = 0;
    Comparison comparison;
    size_t places = 0;  // how many candidates there were
    std::string refusal;
    std::optional<Import> import;
    std::map<uint64_t, uint32_t> claimed;  // address -> a node that claims it
  };

  void find_candidates(uint32_t node);
  void find_named(uint32_t node);
  void find_by_bytes(uint32_t node);
  std::vector<const elf::Symbol*> named_symbols(const Node& node) const;
  bool exported_as_another(const Node& node, uint64_t address) const;
  bool names_agree(const Node& node, uint64_t address) const;
  bool contradicts_name(const Claim& claim) const;

  bool viable(uint32_t node, const Candidate& candidate) const;
  bool agrees(const Claim& claim) const;
  bool trusted(uint32_t node, const Candidate& candidate) const;

  void place_code(uint32_t node, Candidate candidate, size_t places);
  void accept_claims(uint32_t from, const std::vector<Claim>& claims);
  void accept_address(uint32_t from, const Claim& claim);
  bool settle_claimed(uint32_t node);
  bool settle_candidates(uint32_t node);
  void place_named_data(uint32_t node);
  void refuse(uint32_t node, std::string reason);
  void recheck();
  void refuse_shared_places();
  Matcher::ObjectMap report() const;
  std::string detail(const State& state) const;

  const ObjectModel& model_;
  const ShippedIndex& shipped_;
  const SymbolTable* symbols_;
  std::string identity_;
  Comparer comparer_;
  std::vector<State> states_;
};

}  // namespace livecare::match
