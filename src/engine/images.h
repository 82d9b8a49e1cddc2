// The images that lie in a process: found by their control headers, whoever put them there.
#pragma once

#include <string>
#include <vector>

#include "engine/control.h"
#include "remote/maps.h"
#include "remote/memory.h"

namespace livecare::engine {

struct FoundImages {
  std::vector<Control> images;  // in order of address
  std::vector<Error> damaged;   // headers that begin like ours and cannot be acted on
};

// Only reads. A process that dies meanwhile gives process_died.
Result<FoundImages> find_images(const remote::Memory& memory, const remote::Maps& maps);

// The jump that the switch writes for a function.
inline constexpr uint64_t jump_instruction_bytes = 5;
Bytes jump_bytes(const ControlFunction& function);

}  // namespace livecare::engine
