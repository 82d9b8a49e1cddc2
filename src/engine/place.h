// Where in an address space an image can lie so that every 32-bit reference between it and its
// target object reaches. Pure, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace livecare::engine {

struct Span {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t size() const { return end - start; }
};

// `taken` is sorted and does not overlap (the mappings of /proc/PID/maps); `target` is the object's
// first to last byte; `lowest` is the kernel's vm.mmap_min_addr or higher. Prefers the first gap
// below the object, close to it: above lie the heap (brk) of a program and the free space into
// which stacks grow. Empty: no gap within reach.
std::optional<uint64_t> find_place_near(const std::vector<Span>& taken, Span target, uint64_t bytes,
                                        uint64_t lowest = 0x10000);

}  // namespace livecare::engine
