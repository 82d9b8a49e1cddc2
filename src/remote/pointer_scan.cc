// Who still points into a piece of memory that is about to be freed?
//
// Everything writable is streamed through one buffer: globals, heaps, stacks (also of coroutines
// that are suspended, and those of setjmp). Two kinds of pointers count: plain words, and words
// that glibc scrambled with the thread's pointer guard (jmp_buf's program counter, atexit
// handlers): the guard lies at fs:0x30 and is the same for all threads of a process, so each word
// is also looked at unscrambled: rotate right by 17, exclusive-or with the guard.
//
// Only aligned words are looked at; compilers and the ABI align pointers. Packed structures that
// hold unaligned code pointers would be missed; none is known among real programs.
//
// A number that happens to look like an address keeps memory that could have been freed: some
// kilobytes, against a crash.
#include <algorithm>
#include <cstring>

#include "remote/maps.h"
#include "remote/stack_scan.h"

namespace livecare::remote {

namespace {

constexpr size_t buffer_bytes = 4 << 20;
constexpr uint64_t pointer_guard_at = 0x30;  // header.pointer_guard in glibc's tcbhead_t
constexpr int guard_rotation = 17;           // 2 * sizeof(void*) + 1

uint64_t rotate_right(uint64_t value, int count) {
  return value >> count | value << (64 - count);
}

struct Scan {
  const Memory& memory;
  const RangeSet& set;
  const PointerScanOptions& options;
  uint64_t guard = 0;
  std::vector<PointerHit> hits;
  Bytes buffer = Bytes(buffer_bytes);

  bool full() const { return hits.size() >= options.hits_max; }

  void words(RemoteAddress at, ByteView bytes) {
    for (size_t hit = set.first_hit(bytes); hit < bytes.size() && !full();
         hit = set.first_hit(bytes, hit + 8))
      hits.push_back(
          {at + static_cast<int64_t>(hit), RemoteAddress(*bytes.read<uint64_t>(hit)), 0, false});
    if (guard == 0) return;
    for (size_t i = 0; i + 8 <= bytes.size() && !full(); i += 8) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + i, 8);
      RemoteAddress plain(rotate_right(word, guard_rotation) ^ guard);
      if (set.contains(plain)) hits.push_back({at + static_cast<int64_t>(i), plain, 0, true});
    }
  }

  void range(RemoteRange range) {
    for (uint64_t done = 0; done < range.size && !full();) {
      size_t piece = std::min<uint64_t>(range.size - done, buffer.size());
      ReadRange read{range.start + static_cast<int64_t>(done), buffer.data(), piece, 0};
      if (!memory.read_many({&read, 1})) return;
      words(read.from, ByteView(buffer.data(), read.done));
      // A page that cannot be read (a hole in a device mapping) is stepped over.
      constexpr size_t page_bytes = 4096;
      done += read.done == piece ? piece : (read.done & ~(page_bytes - 1)) + page_bytes;
    }
  }

  // The parts of a mapping that are not to be ignored.
  void mapping(RemoteRange range_left) {
    for (const RemoteRange& hole : options.ignore) {
      if (hole.end() <= range_left.start || range_left.end() <= hole.start) continue;
      if (range_left.start < hole.start)
        range({range_left.start, static_cast<uint64_t>(hole.start.bytes_from(range_left.start))});
      if (range_left.end() <= hole.end()) return;
      range_left = {hole.end(), static_cast<uint64_t>(range_left.end().bytes_from(hole.end()))};
    }
    range(range_left);
  }

  void registers(const StoppedTask& task) {
    const Registers& r = task.registers;
    for (uint64_t value : {r.rip, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9,
                           r.r10, r.r11, r.r12, r.r13, r.r14, r.r15})
      if (set.contains(RemoteAddress(value)) && !full())
        hits.push_back({RemoteAddress(), RemoteAddress(value), task.tid, false});
  }
};

}  // namespace

Result<std::vector<PointerHit>> scan_pointers(const Memory& memory,
                                              std::span<const StoppedTask> tasks,
                                              const RangeSet& set,
                                              const PointerScanOptions& options) {
  if (set.empty()) return std::vector<PointerHit>();
  PointerScanOptions sorted = options;
  std::sort(sorted.ignore.begin(), sorted.ignore.end(),
            [](const RemoteRange& a, const RemoteRange& b) { return a.start < b.start; });
  Scan scan{memory, set, sorted};
  for (const StoppedTask& task : tasks) {
    if (scan.guard == 0 && task.registers.fs_base != 0) {
      auto guard =
          memory.read_value(RemotePtr<uint64_t>(task.registers.fs_base + pointer_guard_at));
      if (guard.ok()) scan.guard = *guard;
    }
    scan.registers(task);
  }
  TRY(Maps maps, Maps::read(memory.pid()));
  for (const Mapping& mapping : maps.all()) {
    if (scan.full()) break;
    if (!mapping.writable || !mapping.readable || mapping.path.starts_with("/dev/")) continue;
    scan.mapping(mapping.range);
  }
  return std::move(scan.hits);
}

}  // namespace livecare::remote
