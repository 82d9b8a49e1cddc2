// Where the stack that holds an address ends. From the maps, read before a stop. Internal.
#pragma once

#include <optional>
#include <vector>

#include "remote/maps.h"
#include "remote/memory.h"
#include "remote/remote_ptr.h"

namespace livecare::remote {

class StackAreas {
 public:
  explicit StackAreas(const Maps& maps);

  // [sp, end): the used part of the stack that sp is in. thread_pointer: the thread's fs_base; its
  // control block lies at the top of a pthread's stack, and neighbouring mappings may have been
  // merged with it, so the stack ends there. Empty: sp is in no writable mapping.
  std::optional<RemoteRange> used(RemoteAddress sp, RemoteAddress thread_pointer) const;

  // The stack that the thread was started on, when used() does not reach it (it runs on a signal
  // stack or in a coroutine): for a pthread the mapping up to its control block, for the first
  // thread [stack]. Neighbours in memory may be one mapping, so that the stack of a coroutine can
  // lie in the same mapping above the thread's own; below it, used() covers both.
  std::optional<RemoteRange> home(RemoteAddress sp, RemoteAddress thread_pointer,
                                  bool first_thread) const;

 private:
  const RemoteRange* area(RemoteAddress address) const;
  std::vector<RemoteRange> areas_;  // writable mappings, sorted
  RemoteRange main_stack_;
};

// The lowest address of the stack that a thread (not the first) began on, when both sp and its
// thread pointer lie in `mapping`. The mapping may begin below it. Empty: not known.
std::optional<RemoteAddress> stack_bottom(const Memory& memory, const Mapping& mapping,
                                          RemoteAddress sp, RemoteAddress thread_pointer);

}  // namespace livecare::remote
