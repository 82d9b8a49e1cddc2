// Who still points into a piece of memory that is about to be freed?
//
// Everything writable is streamed through one buffer: globals, heaps, stacks (also of coroutines
// that are suspended, and those of setjmp). Two kinds of pointers count: plain words, and words
// that glibc scrambled with the thread's pointer guard (jmp_buf's program counter, atexit
// handlers): the guard lies at fs:0x30 and is the same for all threads of a process, so each word
// is also looked at unscrambled: rotate right by 17, exclusive-or with the guard.
//
// What it costs: the kernel's copying, some GB/s; the two comparisons of each word hide behind it.
// Pieces are small, so that they stay in the CPU's cache between the copying and the comparing.
//
// Only aligned words are looked at; compilers and the ABI align pointers. Packed structures that
// hold unaligned code pointers would be missed; none is known among real programs.
//
// A number that happens to look like an address keeps memory that could have been freed: some
// kilobytes, against a crash.
#include <algorithm>
#include <cstring>

#include "remote/cpu_time.h"
#include "remote/maps.h"
#include "remote/stack_scan.h"

namespace livecare::remote {

namespace {

constexpr size_t buffer_bytes = 256 << 10;
constexpr uint64_t pointer_guard_at = 0x30;  // header.pointer_guard in glibc's tcbhead_t
constexpr int guard_rotation = 17;           // 2 * sizeof(void*) + 1

uint64_t rotate_right(uint64_t value, int count) {
  return value >> count | value << (64 - count);
}

struct Scan {
  const Memory& memory;
  const RangeSet& set;
  const PointerScanOptions& options;
  Bytes& buffer;
  uint64_t guard = 0;
  uint64_t deadline_us = 0;
  bool late = false;
  std::vector<PointerHit> hits;

  bool over() const { return late || hits.size() >= options.hits_max; }

  void look_at(RemoteAddress at, uint64_t word) {
    // A call that is the last instruction of a function returns to the address after it.
    if (set.contains(RemoteAddress(word)) || set.contains(RemoteAddress(word - 1)))
      hits.push_back({at, RemoteAddress(word), 0, false});
    RemoteAddress plain(rotate_right(word, guard_rotation) ^ guard);
    if (guard != 0 && set.contains(plain)) hits.push_back({at, plain, 0, true});
  }

  // Nearly every word fails both comparisons: eight at a time with one branch.
  void words(RemoteAddress at, ByteView bytes) {
    constexpr size_t block_bytes = 64;
    size_t end = bytes.size() & ~size_t{7};
    auto word_at = [&](size_t offset) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + offset, sizeof(word));
      return word;
    };
    for (size_t block = 0; block < end && !over(); block += block_bytes) {
      size_t block_end = std::min(block + block_bytes, end);
      bool any = false;
      for (size_t i = block; i < block_end; i += 8) {
        uint64_t word = word_at(i);
        any |= set.may_hold(word) | set.may_hold(rotate_right(word, guard_rotation) ^ guard);
      }
      if (!any) continue;
      for (size_t i = block; i < block_end; i += 8)
        look_at(at + static_cast<int64_t>(i), word_at(i));
    }
  }

  void range(RemoteRange range) {
    for (uint64_t done = 0; done < range.size && !over();) {
      size_t piece = std::min<uint64_t>(range.size - done, buffer.size());
      ReadRange read{range.start + static_cast<int64_t>(done), buffer.data(), piece, 0};
      if (!memory.read_many({&read, 1})) return;
      words(read.from, ByteView(buffer.data(), read.done));
      // A page that cannot be read (a hole in a device mapping) is stepped over.
      constexpr size_t page_bytes = 4096;
      done += read.done == piece ? piece : (read.done & ~(page_bytes - 1)) + page_bytes;
      late = deadline_us != 0 && cpu_time_us() > deadline_us;
    }
  }

  // The parts of a mapping that are not to be ignored. `ignored` is sorted and disjoint.
  void mapping(RemoteRange left, const std::vector<RemoteRange>& ignored) {
    auto hole = std::lower_bound(
        ignored.begin(), ignored.end(), left.start,
        [](const RemoteRange& range, RemoteAddress at) { return range.end() <= at; });
    for (; hole != ignored.end() && hole->start < left.end(); ++hole) {
      if (left.start < hole->start)
        range({left.start, static_cast<uint64_t>(hole->start.bytes_from(left.start))});
      if (left.end() <= hole->end()) return;
      left = {hole->end(), static_cast<uint64_t>(left.end().bytes_from(hole->end()))};
    }
    range(left);
  }

  void registers(const StoppedTask& task) {
    const Registers& r = task.registers;
    for (uint64_t value : {r.rip, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9,
                           r.r10, r.r11, r.r12, r.r13, r.r14, r.r15})
      if (set.contains(RemoteAddress(value)) && !over())
        hits.push_back({RemoteAddress(), RemoteAddress(value), task.tid, false});
  }
};

}  // namespace

PointerScanner::PointerScanner() : buffer_(buffer_bytes) {}

Result<std::vector<PointerHit>> PointerScanner::scan(const Memory& memory, const Maps& maps,
                                                     std::span<const StoppedTask> tasks,
                                                     const RangeSet& set,
                                                     const PointerScanOptions& options) {
  if (set.empty()) return std::vector<PointerHit>();
  const RangeSet ignored(options.ignore);
  Scan scan{memory, set, options, buffer_};
  if (options.us_max != 0) scan.deadline_us = cpu_time_us() + options.us_max;
  for (const StoppedTask& task : tasks) {
    if (scan.guard == 0 && task.registers.fs_base != 0) {
      auto guard =
          memory.read_value(RemotePtr<uint64_t>(task.registers.fs_base + pointer_guard_at));
      if (guard.ok()) scan.guard = *guard;
    }
    scan.registers(task);
  }
  for (const Mapping& mapping : maps.all()) {
    if (scan.over()) break;
    if (!mapping.writable || !mapping.readable || mapping.path.starts_with("/dev/")) continue;
    scan.mapping(mapping.range, ignored.ranges());
  }
  if (scan.late)
    return make_error(ErrorCode::timed_out, fmt::format("process {}", memory.pid()),
                      "has more memory than can be searched in {} us", options.us_max);
  return std::move(scan.hits);
}

}  // namespace livecare::remote
