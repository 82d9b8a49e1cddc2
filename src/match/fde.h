// The function ranges that a linked file's .eh_frame states: start and size of every FDE.
#pragma once

#include <cstdint>
#include <vector>

#include "elf/image.h"

namespace livecare::match {

struct CodeRange {
  uint64_t address = 0;
  uint64_t size = 0;
};

// Sorted by address, without duplicates. Empty when there is no .eh_frame or when it uses an
// encoding that linkers for our CPUs do not write; a damaged table ends the list where it breaks.
std::vector<CodeRange> fde_ranges(const elf::Image& file);

}  // namespace livecare::match
