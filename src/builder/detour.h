// Instructions that would need more bytes than they have. Pure, thread-safe. Essay: detour.cc.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace livecare::builder {

enum class Far : uint8_t {
  address,   // a word near the code holds the address that the instruction wants to name
  distance,  // a thread-local word holds what has to be added to the address that it computes
};

// Code that does what the instruction does. The instruction becomes a jump to it (or a call when
// the instruction is a call), both are 5 bytes. Fields are offsets in `code`, each 4 bytes that the
// caller fills in.
struct Detour {
  Bytes code;
  uint64_t word = 0;             // Far::address: distance of the word from the end of the field;
                                 // Far::distance: offset of the word from the thread pointer
  uint64_t value = 0;            // what the instruction's own field held
  std::optional<uint64_t> back;  // of the jump to the instruction behind, if it gets there
  bool call = false;
};

inline constexpr uint64_t detour_bytes = 5;

// field: offset in the instruction of its 4-byte displacement or constant that would have named
// the symbol. Empty: the instruction cannot be detoured (it works with the stack pointer, say).
std::optional<Detour> detour(ByteView instruction, uint64_t field, Far far);

}  // namespace livecare::builder
