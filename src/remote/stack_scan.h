// Does any word point into one of these ranges? The fast, conservative half of the stack check: it
// needs no unwinder and can only err on the safe side.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "remote/maps.h"
#include "remote/remote_ptr.h"
#include "remote/session.h"

namespace livecare::remote {

class RangeSet {
 public:
  explicit RangeSet(std::vector<RemoteRange> ranges);  // any order, may overlap

  bool empty() const { return ranges_.empty(); }
  bool contains(RemoteAddress address) const { return find(address) != nullptr; }
  const RemoteRange* find(RemoteAddress address) const;
  const std::vector<RemoteRange>& ranges() const { return ranges_; }  // sorted, merged

  // Quick and inexact: false means that the word points neither into a range nor right behind one.
  bool may_hold(uint64_t word) const { return word - low_ <= span_ && !ranges_.empty(); }

  // Offset of the first aligned word of `words` that points into a range (or right behind one:
  // the return address of a call that never returns), from `offset` on;
  // words.size() when there is none. Never allocates.
  size_t first_hit(ByteView words, size_t offset = 0) const;

 private:
  std::vector<RemoteRange> ranges_;
  uint64_t low_ = 0, span_ = 0;
};

// True when neither the program counter nor any word of the used stack points into the set.
bool proved_outside(const StoppedTask& task, const RangeSet& set);

// Words in writable memory that point into the set, registers of `tasks` included; jmp_bufs too,
// whose program counter glibc scrambles with the thread's pointer guard. For undo: memory that
// nobody points to can be freed. `ignore`: writable ranges not to look at (our own image).
struct PointerHit {
  RemoteAddress at;      // where the word lies; null: in a register of tid
  RemoteAddress target;  // what it points to
  pid_t tid = 0;
  bool mangled = false;
};
struct PointerScanOptions {
  std::vector<RemoteRange> ignore;
  size_t hits_max = 16;
  uint64_t us_max = 0;  // of CPU time; when it is reached: timed_out. 0: no limit
};

// Streams memory through a buffer of its own, which is there (and not only promised) from the
// start, so that a search can be made in a stop.
class PointerScanner {
 public:
  PointerScanner();
  // maps: what is mapped now.
  Result<std::vector<PointerHit>> scan(const Memory& memory, const Maps& maps,
                                       std::span<const StoppedTask> tasks, const RangeSet& set,
                                       const PointerScanOptions& options = {});

 private:
  Bytes buffer_;
};

}  // namespace livecare::remote
