// The memory of another process: reads in bulk by process_vm_readv, writes by /proc/PID/mem (which
// also works on read-only and execute-only private mappings: the kernel makes a private copy).
//
// Needs the right to ptrace the process, not an attachment. Some kernels only let the tracer write
// to read-only pages (proc_mem.force_override=ptrace), some nobody (=never): probe_write() finds
// out beforehand. Thread-safe. A process that has died is ErrorCode::process_died.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <type_traits>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"
#include "remote/remote_ptr.h"

namespace livecare::remote {

struct ReadRange {
  RemoteAddress from;
  void* to = nullptr;
  size_t size = 0;
  size_t done = 0;  // set by read_many: bytes that were readable, from the start
};

class Memory {
 public:
  static Result<Memory> open(pid_t pid);

  pid_t pid() const { return pid_; }

  Result<Bytes> read(RemoteAddress from, size_t size) const;
  Status read_into(RemoteAddress from, std::span<uint8_t> to) const;
  // Up to size bytes: stops before the first unreadable page. Empty when none is readable.
  Bytes read_prefix(RemoteAddress from, size_t size) const;
  Result<std::string> read_string(RemotePtr<char> from, size_t bytes_max = 4096) const;

  template <class T>
  Result<T> read_value(RemotePtr<T> from) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    TRY_STATUS(read_into(from, {reinterpret_cast<uint8_t*>(&value), sizeof(T)}));
    return value;
  }

  // All ranges with as few system calls as possible; never allocates, so it may run in a stop.
  // Sets `done` of each. False: the process is gone (or may no longer be read).
  bool read_many(std::span<ReadRange> ranges) const;

  // Whole or not at all as far as can be known beforehand; reads back what it wrote.
  // poke_tid: a stopped tracee of the calling thread, for when /proc/PID/mem refuses (0: none).
  Status write(RemoteAddress to, ByteView bytes, pid_t poke_tid = 0) const;

  // write() without the reading back: for many writes in a stop, which are read back together.
  Status put(RemoteAddress to, ByteView bytes, pid_t poke_tid = 0) const;

  // Writes the byte at `at` over itself, which finds out whether write() works on that page.
  // Use an address that is going to be written anyway: the page becomes a private copy.
  Status probe_write(RemoteAddress at) const;

 private:
  Memory(pid_t pid, Fd mem) : pid_(pid), mem_(std::move(mem)) {}
  Status poke(RemoteAddress to, ByteView bytes, pid_t tid) const;

  pid_t pid_ = 0;
  Fd mem_;
};

}  // namespace livecare::remote
