// A signal frame as the kernel's rt_sigreturn takes it (x86-64): everything that a thread is, in
// bytes that can be laid on its stack. Internal to the room.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "remote/remote_ptr.h"
#include "remote/session.h"

namespace livecare::remote {

struct ThreadContext {
  Registers registers{};
  uint64_t signal_mask = 0;
  Bytes xstate;  // NT_X86_XSTATE
};

// Once, before a thread is stopped for it: learns about the CPU what takes long.
void prepare_signal_frames();

// Of a stopped tracee of this thread.
Result<ThreadContext> read_context(pid_t tid);
Status write_xstate(pid_t tid, const Bytes& xstate);
Status write_signal_mask(pid_t tid, uint64_t mask);

struct SignalFrame {
  RemoteAddress at;  // what rsp must be for `ret` to enter return_to, which calls rt_sigreturn
  Bytes bytes;       // to be written there
};

// The frame lies below `below`, with return_to in its first word. at % 16 == 8, as at the entry of
// a function.
Result<SignalFrame> make_signal_frame(const ThreadContext& context, RemoteAddress below,
                                      RemoteAddress return_to);

// The registers with which a thread makes a system call and then returns to what lies at sp.
Registers call_registers(const Registers& thread, RemoteAddress code, RemoteAddress sp,
                         uint64_t rax, std::span<const uint64_t> arguments);

// Frames under `last` (a frame of make_signal_frame, which ends the chain) that make the calls one
// after the other, all signals blocked. `begin`: the registers to set for the first of them.
struct CallChain {
  Registers begin{};
  SignalFrame frames;
};
CallChain make_call_chain(const Registers& thread, const SignalFrame& last,
                          RemoteAddress syscall_ret, RemoteAddress sigreturn,
                          std::span<const RemoteSyscall> calls);

}  // namespace livecare::remote
