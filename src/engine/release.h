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

// From so many kept images on, Limits::search_for_many_us_max counts.
inline constexpr size_t kept_images_many = 16;
// A process that keeps more than this gets no further patch before it is restarted.
inline constexpr uint64_t kept_bytes_max = uint64_t{64} << 20;

}  // namespace livecare::engine
