#include "remote/memory.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

namespace livecare::remote {

namespace {

constexpr size_t page_bytes = 4096;

std::string process_name(pid_t pid) {
  return fmt::format("process {}", pid);
}

ssize_t read_some(pid_t pid, uint64_t from, void* to, size_t size) {
  iovec local{to, size};
  iovec there{reinterpret_cast<void*>(from), size};
  return ::process_vm_readv(pid, &local, 1, &there, 1, 0);
}

}  // namespace

Result<Memory> Memory::open(pid_t pid) {
  std::string path = fmt::format("/proc/{}/mem", pid);
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT || errno == ESRCH)
      return make_error(ErrorCode::process_died, process_name(pid), "has ended");
    if (errno == EACCES || errno == EPERM)
      return make_error(ErrorCode::permission, process_name(pid),
                        "may not be accessed (no CAP_SYS_PTRACE, or a security module denies it); "
                        "run as root outside of the confinement");
    return errno_error(path, "cannot open", errno);
  }
  return Memory(pid, std::move(fd));
}

Status Memory::read_into(RemoteAddress from, std::span<uint8_t> to) const {
  size_t done = 0;
  while (done < to.size()) {
    ssize_t got = read_some(pid_, from.address() + done, to.data() + done, to.size() - done);
    if (got > 0) {
      done += static_cast<size_t>(got);
      continue;
    }
    // Execute-only and PROT_NONE pages: /proc/PID/mem reads them where process_vm_readv does not.
    got = ::pread(mem_.get(), to.data() + done, to.size() - done,
                  static_cast<off_t>(from.address() + done));
    if (got > 0) {
      done += static_cast<size_t>(got);
      continue;
    }
    if (got == 0 || errno == ESRCH)
      return make_error(ErrorCode::process_died, process_name(pid_), "has ended");
    return make_error(ErrorCode::io, process_name(pid_), "cannot read {} bytes at {:#x}: {}",
                      to.size(), from.address(), std::strerror(errno));
  }
  return ok_status();
}

Result<Bytes> Memory::read(RemoteAddress from, size_t size) const {
  Bytes bytes(size);
  TRY_STATUS(read_into(from, bytes));
  return bytes;
}

Bytes Memory::read_prefix(RemoteAddress from, size_t size) const {
  Bytes bytes(size);
  size_t done = 0;
  while (done < size) {
    ssize_t got = read_some(pid_, from.address() + done, bytes.data() + done, size - done);
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Result<std::string> Memory::read_string(RemotePtr<char> from, size_t bytes_max) const {
  std::string text;
  uint64_t at = from.address();
  while (text.size() < bytes_max) {
    size_t piece = std::min<size_t>(page_bytes - at % page_bytes, bytes_max - text.size());
    std::array<uint8_t, page_bytes> buffer;
    TRY_STATUS(read_into(RemoteAddress(at), {buffer.data(), piece}));
    auto length =
        static_cast<size_t>(std::find(buffer.begin(), buffer.begin() + piece, 0) - buffer.begin());
    text.append(reinterpret_cast<const char*>(buffer.data()), length);
    if (length < piece) return text;
    at += piece;
  }
  return make_error(ErrorCode::invalid_input, process_name(pid_),
                    "string at {:#x} is longer than {} bytes", from.address(), bytes_max);
}

bool Memory::read_many(std::span<ReadRange> ranges) const {
  // process_vm_readv stops at the first remote range that it cannot read; the rest is tried again
  // after it.
  iovec local[IOV_MAX];
  iovec there[IOV_MAX];
  size_t next = 0;
  for (ReadRange& range : ranges) range.done = 0;
  while (next < ranges.size()) {
    size_t count = std::min<size_t>(ranges.size() - next, IOV_MAX);
    for (size_t i = 0; i < count; ++i) {
      const ReadRange& range = ranges[next + i];
      local[i] = {range.to, range.size};
      there[i] = {reinterpret_cast<void*>(range.from.address()), range.size};
    }
    ssize_t got = ::process_vm_readv(pid_, local, count, there, count, 0);
    if (got < 0 && errno != EFAULT) return false;
    auto left = static_cast<size_t>(std::max<ssize_t>(got, 0));
    size_t i = 0;
    for (; i < count; ++i) {
      ReadRange& range = ranges[next + i];
      range.done = std::min(range.size, left);
      left -= range.done;
      if (range.done < range.size) break;
    }
    next += i < count ? i + 1 : count;  // the one that was cut short stays as it is
  }
  return true;
}

Status Memory::put(RemoteAddress to, ByteView bytes, pid_t poke_tid) const {
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t put = ::pwrite(mem_.get(), bytes.data() + done, bytes.size() - done,
                           static_cast<off_t>(to.address() + done));
    if (put > 0) {
      done += static_cast<size_t>(put);
      continue;
    }
    if (put == 0 || errno == ESRCH)
      return make_error(ErrorCode::process_died, process_name(pid_), "has ended");
    if (poke_tid == 0)
      return make_error(ErrorCode::permission, process_name(pid_),
                        "cannot write {} bytes at {:#x} through /proc/{}/mem: {}; the kernel or "
                        "its command line (proc_mem.force_override) forbids it",
                        bytes.size(), to.address(), pid_, std::strerror(errno));
    TRY_STATUS(
        poke(to + static_cast<int64_t>(done), *bytes.slice(done, bytes.size() - done), poke_tid));
    break;
  }
  return ok_status();
}

Status Memory::write(RemoteAddress to, ByteView bytes, pid_t poke_tid) const {
  TRY_STATUS(put(to, bytes, poke_tid));
  TRY(Bytes now, read(to, bytes.size()));
  if (!(ByteView(now) == bytes))
    return make_error(ErrorCode::io, process_name(pid_),
                      "{} bytes written at {:#x} read back differently", bytes.size(),
                      to.address());
  return ok_status();
}

Status Memory::poke(RemoteAddress to, ByteView bytes, pid_t tid) const {
  uint64_t at = to.address() & ~uint64_t{7};
  uint64_t end = to.address() + bytes.size();
  for (; at < end; at += 8) {
    errno = 0;
    uint64_t word =
        static_cast<uint64_t>(::ptrace(PTRACE_PEEKDATA, tid, reinterpret_cast<void*>(at), nullptr));
    if (errno != 0) return errno_error(process_name(pid_), "cannot read a word", errno);
    for (uint64_t i = 0; i < 8; ++i) {
      if (at + i < to.address() || at + i >= end) continue;
      uint64_t byte = bytes.data()[at + i - to.address()];
      word = (word & ~(uint64_t{0xff} << (8 * i))) | (byte << (8 * i));
    }
    if (::ptrace(PTRACE_POKEDATA, tid, reinterpret_cast<void*>(at), word) != 0)
      return errno_error(process_name(pid_), "cannot write a word", errno);
  }
  return ok_status();
}

Status Memory::probe_write(RemoteAddress at) const {
  uint8_t byte = 0;
  TRY_STATUS(read_into(at, {&byte, 1}));
  return write(at, ByteView(&byte, 1));
}

}  // namespace livecare::remote
