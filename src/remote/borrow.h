// A thread of the target, stopped and borrowed to run system calls and functions in its process.
//
// Its registers, FPU state and signal mask lie beforehand in a signal frame on its own stack, and
// whatever it runs returns into rt_sigreturn: if we are killed in the middle, it finishes the call
// and goes on where it was. Essay: borrow.cc.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/result.h"
#include "remote/memory.h"
#include "remote/remote_ptr.h"

namespace livecare::remote {

// Code that a remote function must return to; to be placed in executable memory of the target (the
// engine puts it into each image): keeps the result and calls rt_sigreturn. Position-independent.
inline constexpr std::array<uint8_t, 16> return_pad = {
    0x49, 0x89, 0xc4,                          // mov %rax, %r12
    0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00,  // mov $15 (rt_sigreturn), %rax
    0x0f, 0x05,                                // syscall
    0xeb, 0xf5,                                // jmp to the mov before: never falls through
    0xcc, 0xcc,
};

class BorrowedThread {
 public:
  virtual ~BorrowedThread() = default;
  virtual pid_t tid() const = 0;
  virtual const Memory& memory() const = 0;

  // The kernel's return value; -errno is an error that names the call.
  virtual Result<uint64_t> syscall(long number, std::initializer_list<uint64_t> arguments) = 0;

  // Calls function(arguments...) (up to six integers or pointers) and returns rax. pad: where
  // return_pad lies in the target. A signal raised by the call itself (SIGSEGV, ...) or the time
  // limit is an error, after which the thread is as before. Or, when it may not be broken off
  // (BorrowOptions), an error after which the thread is still in the call, and later as before: the
  // code of `function` and `pad` must then stay for as long as a pointer to `pad` is on its stack.
  virtual Result<uint64_t> call(RemoteAddress function, RemoteAddress pad,
                                std::initializer_list<uint64_t> arguments) = 0;

  // Memory::write with the fallback to PTRACE_POKEDATA.
  virtual Status write(RemoteAddress to, ByteView bytes) = 0;
};

}  // namespace livecare::remote
