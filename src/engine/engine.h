// One process, one patchset, all or nothing. What the agent and libcare-server call.
//
// patch():   plan -> stage -> wait until nobody is inside -> stop, recheck, switch, resume ->
// verify unpatch(): the same way back. info():    reads what is really in the process's memory;
// never writes, needs no stop. Each is complete in itself and leaves no thread stopped, no tracer
// attached and, on failure, the process as it was. A run that was killed is mended by the next call
// (see transaction.cc).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::engine {

struct Limits {
  uint64_t leave_wait_us_max = 3'000'000;  // how long to wait for threads to leave old code
  uint64_t stop_window_us_max = 250'000;   // hard limit of one stop; then resume unchanged
  uint64_t remote_call_us_max = 2'000'000;
  // How long the search for pointers into undone memory may stop a process. One with more memory to
  // search keeps its undone images, and they are used again by the next patch; when there are many
  // of them, a longer stop is worth while.
  uint64_t search_us_max = 5'000;
  uint64_t search_for_many_us_max = 50'000;
};

struct ThreadInTheWay {
  pid_t tid = 0;
  std::string comm;
  std::string function;             // the replaced function that it is in
  std::vector<std::string> frames;  // innermost first, "object!symbol+0x12"
};

enum class Outcome {
  patched,
  unpatched,
  unchanged,  // already at that level / nothing to undo / no object of the patchset is mapped
  failed,     // see reason; the process is as it was
  mended,     // an interrupted earlier run was undone or finished first (info: was found)
};
std::string_view to_string(Outcome outcome);

struct ObjectState {
  std::string build_id;
  std::string soname;
  std::string patchset;
  uint32_t level = 0;
  uint32_t functions = 0;
  std::vector<std::string> cves;
  std::string info;   // the text of kpatch.info, as it was when the patch was applied
  std::string state;  // "live", "staged" (interrupted), "switching" (interrupted), "kept" (undone,
                      // memory still referenced)
};

struct ProcessReport {
  pid_t pid = 0;
  std::string comm;
  std::vector<ObjectState> objects;  // what is in memory after the call
  uint32_t threads = 0;
  uint64_t stop_us = 0;  // first thread stopped .. last resumed, of the stop that switched; when
                         // it failed, of all stops together
  uint64_t total_us = 0;
  uint32_t attempts = 0;  // stops that were needed
  Outcome outcome = Outcome::unchanged;
  ErrorCode code = ErrorCode::internal;  // when failed
  std::string reason;
  std::vector<ThreadInTheWay> in_the_way;
};

ProcessReport patch(pid_t pid, const patchfmt::Patchset& patchset, const Limits& limits = {});
// build_ids: only the patchsets of these objects (all when empty), each in all of its objects.
ProcessReport unpatch(pid_t pid, const std::vector<std::string>& build_ids,
                      const Limits& limits = {});
ProcessReport info(pid_t pid);

// Build-IDs of every ELF object that the process maps (for the agent to choose patches by), read
// from the process's own memory or mapped files, also when the file on disk is deleted or replaced.
struct LoadedObject {
  std::string build_id;
  std::string path;   // as in /proc/PID/maps
  uint64_t base = 0;  // load bias
};
Result<std::vector<LoadedObject>> loaded_objects(pid_t pid);

}  // namespace livecare::engine
