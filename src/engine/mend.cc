// Mending. The states of the images of one transaction tell where it was cut off:
//
//   all staged                  nobody was let in: free them
//   one or more switching       the stop was cut off while jumps were written: take all back, those
//                               of the transaction that say `live` too
//   new live, old live as well  cut off between the last jump and the old level's state: the switch
//                               is complete, the old level is retired
//   one or more undoing         the stop of an undo was cut off: finish it
//
// This works because a transition writes its states in this order: all `switching` before the first
// byte; after the last byte all `live`, then all `kept` of the levels that they replace. A staged
// or kept image beside live ones of the same transaction was not part of the switch, or is done.
//
// A kept image may be reused by a new transaction that is cut off before its stop: it says `kept`
// and is free to go, like any other.
#include "engine/mend.h"

#include <algorithm>

#include "engine/changes.h"
#include "engine/image_state.h"
#include "engine/release.h"
#include "engine/steps.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;

const Control* image_at(const FoundImages& images, uint64_t region) {
  for (const Control& image : images.images)
    if (region != 0 && image.region.address == region) return &image;
  return nullptr;
}

std::string describe(const Control& image, std::string_view what) {
  return fmt::format("{} level {}: {}", image.soname, image.level, what);
}

bool is_cut_off_switch(const FoundImages& images, uint64_t transaction) {
  return std::any_of(images.images.begin(), images.images.end(), [&](const Control& image) {
    return image.transaction == transaction && image.state == State::switching;
  });
}

void mend_one(const FoundImages& images, const Control& image, Leftovers& out) {
  const Control* replaced = image_at(images, image.replaces);
  switch (image.state) {
    case State::staged:
      out.found.push_back(describe(image, "staged and never switched to"));
      out.release.push_back(image);
      return;
    case State::switching:
    case State::live:
      if (is_cut_off_switch(images, image.transaction)) {
        out.found.push_back(describe(image, "cut off while switching; undone"));
        add_rollback(out.transition, image, replaced);
        out.release.push_back(image);
      } else if (replaced != nullptr && replaced->state == State::live &&
                 replaced->target_bias == image.target_bias) {
        out.found.push_back(describe(*replaced, "replaced and not retired yet"));
        out.states.push_back({RemoteAddress(replaced->region.address), State::kept});
        out.release.push_back(*replaced);
      }
      return;
    case State::undoing:
      out.found.push_back(describe(image, "cut off while undoing; finished"));
      add_finished_undo(out.transition, image);
      out.release.push_back(image);
      return;
    case State::kept:
      out.release.push_back(image);
      return;
  }
}

}  // namespace

Leftovers find_leftovers(const FoundImages& images) {
  Leftovers out;
  for (const Control& image : images.images) mend_one(images, image, out);
  return out;
}

namespace {

// A library that was unloaded took the jumps with it; loaded again at the same place it is as
// shipped. Bytes that are neither are somebody else's, who may lead into the image: it counts as
// live.
bool has_lost_its_target(const Target& target, const Control& image) {
  if (image.state != State::live) return false;
  bool loaded = target.object_of(image) != nullptr;
  return std::all_of(
      image.functions.begin(), image.functions.end(), [&](const ControlFunction& function) {
        auto live =
            target.memory().read(RemoteAddress(function.jump_address), function.original.size());
        if (!live.ok()) return live.error().code != ErrorCode::process_died;
        return *live == function.original || (!loaded && *live != jump_bytes(function));
      });
}

}  // namespace

Leftovers find_leftovers(const Target& target) {
  Leftovers out = find_leftovers(target.images());
  for (const Control& image : target.images().images) {
    bool seen = std::any_of(out.release.begin(), out.release.end(), [&](const Control& other) {
      return other.region.address == image.region.address;
    });
    if (seen || !has_lost_its_target(target, image)) continue;
    out.found.push_back(describe(image, "its library was unloaded; freed"));
    out.states.push_back({RemoteAddress(image.region.address), State::kept});
    out.release.push_back(image);
  }
  out.intents = find_intents(target);
  if (!out.intents.empty()) out.found.push_back("memory for a patch was being mapped; freed");
  return out;
}

Status mend(remote::Session& session, Target& target, const Leftovers& leftovers,
            const Limits& limits, TransitionReport& report) {
  if (!leftovers.transition.end.empty())
    TRY_STATUS(run_transition(session, target, leftovers.transition, limits, report));
  for (const StateChange& change : leftovers.states) {
    TRY_STATUS(write_state(session, change.region, change.state));
    step("mended state");
  }
  for (const Intent& intent : leftovers.intents) TRY_STATUS(end_intent(session, target, intent));
  TRY(size_t freed, release_images(session, target, leftovers.release, limits));
  (void)freed;
  return ok_status();
}

}  // namespace livecare::engine
