// Precise stack walks by call frame information (libdwfl), for stopped tasks.
//
// A walk counts only when it is complete: every frame had call frame information and the last one
// says itself that it is the end (_start, clone). Anything else is "do not know".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "remote/loaded.h"
#include "remote/memory.h"
#include "remote/session.h"

namespace livecare::remote {

inline constexpr size_t frames_max = 4096;

struct Frame {
  RemoteAddress pc;     // the instruction (innermost, signal frames) or the return address
  bool exact = false;   // pc is the instruction itself, not a return address
  RemoteAddress sp;     // the stack pointer at pc; null: unknown
  std::string object;   // file name, empty: in no known object
  std::string symbol;   // empty: none covers it
  uint64_t offset = 0;  // from the symbol, else from the object's start

  std::string text() const;  // "libc.so.6!read+0x12"
};

struct StackWalk {
  std::vector<Frame> frames;  // innermost first
  bool complete = false;
  std::string why;  // when not complete
};

// Code that is in no ELF object: a patch image.
struct UnwindInfo {
  std::string name;  // for frames: "livecare:libcurl.so.4"
  RemoteRange code;
  RemoteAddress eh_frame_at;  // where the bytes lie in the target (pc-relative pointers)
  Bytes eh_frame;
  struct Symbol {
    std::string name;
    RemoteAddress at;
    uint64_t size = 0;
  };
  std::vector<Symbol> symbols;
};

class Unwinder {
 public:
  // Opens the objects (files, or memory where they are deleted). Do it before a stop: walking
  // afterwards reads only stacks.
  static Result<Unwinder> make(const Memory& memory, const Loaded& loaded,
                               const std::vector<UnwindInfo>& extra = {});
  Unwinder(Unwinder&&) noexcept;
  Unwinder& operator=(Unwinder&&) noexcept;
  ~Unwinder();

  StackWalk walk(const StoppedTask& task);

  struct State;  // of unwind.cc

 private:
  explicit Unwinder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// For borrow(): an error when the walk is not complete or holds a frame of the allocator, the
// dynamic linker or the unwinder, which names the frame.
Status check_borrowable(const StackWalk& walk);

}  // namespace livecare::remote
