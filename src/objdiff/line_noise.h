// Two functions that differ only in line numbers handed to a reporting function are the same.
#pragma once

#include <utility>
#include <vector>

#include "objdiff/pairing.h"

namespace livecare::objdiff {

using LinePairs = std::vector<std::pair<int64_t, int64_t>>;  // before and after

// True when `before` cannot be a line that became `after`, if the others are such lines: lines keep
// their order, and what lies below a place where lines were added has moved.
bool lines_contradict(const LinePairs& others, int64_t before, int64_t after);

// Where the lines of the source file went, as far as calls that get one tell. Read when it is first
// asked for. Borrows everything.
class LineShifts {
 public:
  LineShifts(const ObjectMap& original, const ObjectMap& patched, const Pairing& pairing)
      : original_(original), patched_(patched), pairing_(pairing) {}

  bool contradict(int64_t before, int64_t after);

 private:
  void read();
  void read_pair(AtomId original, AtomId patched);

  const ObjectMap& original_;
  const ObjectMap& patched_;
  const Pairing& pairing_;
  bool read_ = false;
  LinePairs seen_;
};

// Both atoms are code of one size with references in the same places. True only if every byte that
// differs belongs to a line number (see line_noise.cc for what counts as one).
bool only_line_numbers_differ(const ObjectMap& original, AtomId original_id,
                              const ObjectMap& patched, AtomId patched_id, LineShifts& shifts);

}  // namespace livecare::objdiff
