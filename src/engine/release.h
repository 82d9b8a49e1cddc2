// Gives back the memory of images that nobody can reach any more. Essay: release.cc.
#pragma once

#include <vector>

#include "engine/control.h"
#include "engine/engine.h"
#include "engine/target.h"
#include "remote/session.h"

namespace livecare::engine {

// `images` are undone or were never switched to. Those into which something still points stay, in
// state `kept`; that is no error. Returns how many were freed.
Result<size_t> release_images(remote::Session& session, Target& target,
                              const std::vector<Control>& images, const Limits& limits);

// A stop is only spent on a process with at most this much private memory to search; the images of
// a larger one are kept and used again by the next patch.
inline constexpr uint64_t searched_bytes_max = uint64_t{512} << 20;

}  // namespace livecare::engine
