// Puts an image into the process where nobody reaches it yet: mapped with its final protections,
// written through /proc/PID/mem (so nothing is ever writable and executable), relocated, read back.
#pragma once

#include <span>
#include <vector>

#include "engine/plan.h"
#include "engine/target.h"
#include "remote/session.h"

namespace livecare::engine {

struct StageRequest {
  const PlannedObject* planned = nullptr;
  const patchfmt::Patchset* patchset = nullptr;
  uint64_t transaction = 0;
  uint32_t transaction_objects = 1;
};

// Maps and writes header, stubs and own page; state staged. Functions have their live addresses.
Result<Control> map_image(remote::Session& session, const StageRequest& request);

// An undone image of the process that is the same to the last byte of code and constants; then it
// only needs a new transaction. Empty: none.
Result<std::optional<Control>> reuse_image(remote::Session& session, const Target& target,
                                           const StageRequest& request,
                                           const std::vector<SymbolValue>& values);

// Relocates for the place of `control` and writes text, constants and data.
Status write_image(remote::Session& session, const Control& control, const PlannedObject& planned,
                   std::vector<SymbolValue> values);

// The mappings in the region fill it to the byte and all of them could be ours.
bool is_filled_by_us(const remote::Maps& maps, const ControlPart& region);

// Unmaps whole regions.
Status unmap_images(remote::Session& session, std::span<const Control> images);

}  // namespace livecare::engine
