// Which bytes and states a transition changes, from control headers. Pure.
#pragma once

#include <vector>

#include "engine/control.h"
#include "engine/transition.h"

namespace livecare::engine {

// A new image goes live, in place of `replaced` (null: of the shipped code).
void add_switch(Transition& transition, const Control& image, const Control* replaced);
// A live image goes; the shipped bytes come back.
void add_undo(Transition& transition, const Control& image);
// A switch that was cut off is taken back: any mix of old and new bytes becomes old.
void add_rollback(Transition& transition, const Control& image, const Control* replaced);
// An undo that was cut off is finished.
void add_finished_undo(Transition& transition, const Control& image);

}  // namespace livecare::engine
