// One stop that changes bytes: the only place where the engine changes code that can run. Patching,
// replacing a level, undoing and mending are all made of it. Essay: transition.cc.
#pragma once

#include <string>
#include <vector>

#include "engine/control.h"
#include "engine/engine.h"
#include "engine/target.h"
#include "remote/session.h"

namespace livecare::engine {

struct ByteChange {
  remote::RemoteAddress at;
  std::vector<Bytes> before;  // one of these must be there; equally long as after
  Bytes after;
  std::string function, object;  // for messages
  // The code that a call of the function runs before and after the change: write_order.cc.
  std::vector<remote::RemoteRange> old_code, new_code;
  uint32_t group = 0;  // set by it: those with one number are written together where possible
};

struct StateChange {
  remote::RemoteAddress region;
  State state = State::staged;
};

struct DataCopy {
  remote::RemoteAddress from, to;
  uint64_t size = 0;
};

// Code that no thread may be in when the bytes change.
struct OccupiedRange {
  remote::RemoteRange range;
  std::string function;
  bool has_entry = false;  // a function begins here, so words with this address are pointers to it
};

struct Transition {
  std::vector<StateChange> begin;  // written before the bytes
  std::vector<ByteChange> bytes;
  std::vector<DataCopy> copies;
  std::vector<StateChange> end;  // written after them
  std::vector<OccupiedRange> occupied;
};

struct TransitionReport {
  uint64_t stop_us = 0;  // of the stop that changed the bytes; of all, when none did
  uint32_t threads = 0;
  uint32_t attempts = 0;
  std::vector<ThreadInTheWay> in_the_way;
};

// Errors leave the process as it was: busy (a thread does not leave: report.in_the_way), conflict
// (other bytes than expected), timed_out (it could not be stopped in time), process_died.
Status run_transition(remote::Session& session, Target& target, const Transition& transition,
                      const Limits& limits, TransitionReport& report);

}  // namespace livecare::engine
