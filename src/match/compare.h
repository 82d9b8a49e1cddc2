// Compares one function or variable of an object with a place in the shipped file, and decodes what
// the shipped bytes refer to wherever the object has a relocation. The verdict holds only together
// with its claims: the solver (solver.h) makes sure that all claims on a thing agree.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "match/object_model.h"
#include "match/shipped_index.h"

namespace livecare::match {

// "The shipped code refers to `address` where the object refers to `target`."
struct Claim {
  enum class What {
    address,  // value: virtual address
    import,   // name: through a GOT word or PLT stub that the dynamic linker fills by name
    ifunc,    // value: address of the resolver
    tls,      // value: offset in the file's TLS block
  };
  What what = What::address;
  uint32_t node = no_node;
  int64_t offset = 0;  // from the node's start, in the object
  uint64_t value = 0;  // of node + offset
  std::string_view name;
  std::string_view version;
  uint64_t at = 0;  // where the shipped file says so
};

// From offsets in the object's function to offsets in the shipped one: they drift apart where an
// assembler or linker chose another width for a jump.
class OffsetMap {
 public:
  void note(uint64_t object_offset, uint64_t shipped_offset);
  uint64_t shipped(uint64_t object_offset) const;

 private:
  struct Step {
    uint64_t object_offset;
    int64_t drift;
  };
  std::vector<Step> steps_;  // where the drift changes; ascending
};

struct Comparison {
  bool equal = false;
  std::string reason;        // when not equal
  uint64_t size = 0;         // in the shipped file
  uint32_t fixed_bytes = 0;  // compared without a mask
  uint32_t relocations = 0;  // decoded
  uint32_t strong = 0;       // references proved by content or by an import's name
  std::vector<Claim> claims;
  OffsetMap map;
};

class Comparer {
 public:
  Comparer(const ObjectModel& model, const ShippedIndex& shipped);

  Comparison code(uint32_t node, uint64_t address) const;
  Comparison data(uint32_t node, uint64_t address) const;

 private:
  struct Walk;
  void add_anchors(uint32_t node);

  const ObjectModel& model_;
  const ShippedIndex& shipped_;
  std::vector<std::vector<DecodedInstruction>> instructions_;  // by node; empty for data
  std::map<uint32_t, std::map<uint64_t, bool>> anchors_;  // places that anonymous references name
};

}  // namespace livecare::match
