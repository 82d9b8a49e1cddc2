// The layout is the kernel's (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h; struct
// rt_sigframe in arch/x86/kernel/signal_64.c), which is ABI: debuggers and unwinders know it.
//
// Three traps. (1) rt_sigreturn also sets the signal stack from uc_stack, which ptrace does not
// tell: with impossible ss_flags the kernel ignores that part (restore_altstack drops every error
// but EFAULT). (2) The FPU state counts only when its trailer is right and its size is not larger
// than what *this* task may use; the ptrace view has the size of everything that the CPU could do
// (AMX: 8 KiB more). With a wrong size the kernel silently restores SSE only and clears the rest,
// so the size is computed from the features that are in use. (3) The mask lies in the kernel's 8
// bytes, not in libc's 128.
#include "remote/signal_frame.h"

#include <cpuid.h>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace livecare::remote {

namespace {

constexpr uint64_t uc_flags_xstate_and_ss =
    1 | 2 | 4;  // FP_XSTATE, SIGCONTEXT_SS, STRICT_RESTORE_SS
constexpr uint32_t impossible_stack_flags = 0x7;
constexpr uint32_t xstate_magic1 = 0x46505853;
constexpr uint32_t xstate_magic2 = 0x46505845;
constexpr uint64_t legacy_bytes = 512;
constexpr uint64_t header_bytes = 64;
constexpr uint64_t sw_reserved_at = 464;
constexpr uint64_t xstate_bytes_max = 65536;
constexpr uint64_t frame_bytes = 8 + 304 + 128;  // pretcode, ucontext, siginfo

// Offsets in the frame.
constexpr uint64_t ucontext_at = 8;
constexpr uint64_t stack_flags_at = ucontext_at + 24;
constexpr uint64_t mcontext_at = ucontext_at + 40;
constexpr uint64_t mask_at = mcontext_at + 256;

constexpr unsigned features_max = 63;

// Where each feature ends in the standard-format XSAVE area. Asked once: a hypervisor may take long
// to answer CPUID.
const std::array<uint64_t, features_max>& feature_ends() {
  static const auto ends = [] {
    std::array<uint64_t, features_max> table{};
    for (unsigned bit = 2; bit < features_max; ++bit) {
      unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
      __cpuid_count(0xd, bit, eax, ebx, ecx, edx);
      if (eax != 0 && (ecx & 1) == 0) table[bit] = uint64_t{ebx} + eax;
    }
    return table;
  }();
  return ends;
}

// The size of the standard-format XSAVE area that holds these features.
uint64_t xstate_size(uint64_t features) {
  uint64_t size = legacy_bytes + header_bytes;
  for (unsigned bit = 2; bit < features_max; ++bit)
    if ((features >> bit & 1) != 0) size = std::max(size, feature_ends()[bit]);
  return size;
}

void store_mcontext(Bytes& frame, const Registers& r, RemoteAddress fpstate) {
  const uint64_t words[] = {
      r.r8,
      r.r9,
      r.r10,
      r.r11,
      r.r12,
      r.r13,
      r.r14,
      r.r15,
      r.rdi,
      r.rsi,
      r.rbp,
      r.rbx,
      r.rdx,
      r.rax,
      r.rcx,
      r.rsp,
      r.rip,
      r.eflags,
      (r.cs & 0xffff) | (r.gs & 0xffff) << 16 | (r.fs & 0xffff) << 32 | (r.ss & 0xffff) << 48,
      0,
      0,
      0,
      0,  // err, trapno, oldmask, cr2
      fpstate.address()};
  uint64_t at = mcontext_at;
  for (uint64_t word : words) {
    store_le(frame, at, word);
    at += 8;
  }
}

}  // namespace

void prepare_signal_frames() {
  (void)feature_ends();
}

Result<ThreadContext> read_context(pid_t tid) {
  std::string object = fmt::format("thread {}", tid);
  ThreadContext context;
  if (::ptrace(PTRACE_GETREGS, tid, nullptr, &context.registers) != 0)
    return errno_error(object, "cannot read its registers", errno);
  if (::ptrace(PTRACE_GETSIGMASK, tid, reinterpret_cast<void*>(8), &context.signal_mask) != 0)
    return errno_error(object, "cannot read its signal mask", errno);
  context.xstate.resize(xstate_bytes_max);
  iovec vector{context.xstate.data(), context.xstate.size()};
  if (::ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &vector) != 0)
    return errno_error(object, "cannot read its FPU state", errno);
  context.xstate.resize(vector.iov_len);
  if (context.xstate.size() < legacy_bytes + header_bytes)
    return make_error(ErrorCode::unsupported, object, "has no XSAVE state; this CPU is too old");
  return context;
}

Status write_xstate(pid_t tid, const Bytes& xstate) {
  iovec vector{const_cast<uint8_t*>(xstate.data()), xstate.size()};
  if (::ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &vector) != 0)
    return errno_error(fmt::format("thread {}", tid), "cannot write its FPU state", errno);
  return ok_status();
}

Status write_signal_mask(pid_t tid, uint64_t mask) {
  if (::ptrace(PTRACE_SETSIGMASK, tid, reinterpret_cast<void*>(8), &mask) != 0)
    return errno_error(fmt::format("thread {}", tid), "cannot write its signal mask", errno);
  return ok_status();
}

Result<SignalFrame> make_signal_frame(const ThreadContext& context, RemoteAddress below,
                                      RemoteAddress return_to) {
  constexpr uint64_t legacy_features = 3;  // x87 and SSE are always there
  uint64_t features = *ByteView(context.xstate).read<uint64_t>(legacy_bytes) | legacy_features;
  uint64_t size = xstate_size(features);
  if (size > context.xstate.size())
    return make_error(ErrorCode::internal, "signal frame",
                      "FPU state of {} bytes, but the features {:#x} need {}",
                      context.xstate.size(), features, size);
  uint64_t fpstate = (below.address() - size - 4) & ~uint64_t{63};
  uint64_t at = ((fpstate - frame_bytes) & ~uint64_t{15}) - 8;

  SignalFrame frame;
  frame.at = RemoteAddress(at);
  frame.bytes.resize(fpstate - at + size + 4);
  store_le(frame.bytes, 0, return_to.address());
  store_le(frame.bytes, ucontext_at, uc_flags_xstate_and_ss);
  store_le(frame.bytes, stack_flags_at, impossible_stack_flags);
  store_mcontext(frame.bytes, context.registers, RemoteAddress(fpstate));
  store_le(frame.bytes, mask_at, context.signal_mask);

  uint64_t fp = fpstate - at;
  std::copy_n(context.xstate.begin(), size, frame.bytes.begin() + static_cast<ptrdiff_t>(fp));
  uint64_t sw = fp + sw_reserved_at;
  store_le(frame.bytes, sw, xstate_magic1);
  store_le(frame.bytes, sw + 4, static_cast<uint32_t>(size + 4));  // extended_size
  store_le(frame.bytes, sw + 8, features);
  store_le(frame.bytes, sw + 16, static_cast<uint32_t>(size));  // xstate_size
  store_le(frame.bytes, fp + legacy_bytes, features);
  store_le(frame.bytes, fp + size, xstate_magic2);
  return frame;
}

Registers call_registers(const Registers& thread, RemoteAddress code, RemoteAddress sp,
                         uint64_t rax, std::span<const uint64_t> arguments) {
  LIVECARE_ASSERT(arguments.size() <= call_arguments_max);
  constexpr uint64_t eflags_clean = 0x202;
  Registers r = thread;
  uint64_t values[call_arguments_max] = {};
  std::copy(arguments.begin(), arguments.end(), values);
  r.rip = code.address();
  r.rsp = sp.address();
  r.rax = rax;
  r.orig_rax = ~uint64_t{0};
  r.rdi = values[0];
  r.rsi = values[1];
  r.rdx = values[2];
  r.rcx = values[3];
  r.r10 = values[3];
  r.r8 = values[4];
  r.r9 = values[5];
  r.eflags = eflags_clean;
  return r;
}

CallChain make_call_chain(const Registers& thread, const SignalFrame& last,
                          RemoteAddress syscall_ret, RemoteAddress sigreturn,
                          std::span<const RemoteSyscall> calls) {
  constexpr uint64_t step_bytes = (frame_bytes + 15) & ~uint64_t{15};
  CallChain chain;
  uint64_t between = (calls.size() - 1) * step_bytes;
  chain.frames.at = last.at - static_cast<int64_t>(between);
  chain.frames.bytes.resize(between);
  chain.frames.bytes.insert(chain.frames.bytes.end(), last.bytes.begin(), last.bytes.end());
  for (size_t i = 0; i < calls.size(); ++i) {
    RemoteAddress after = chain.frames.at + static_cast<int64_t>(i * step_bytes);
    Registers r = call_registers(thread, syscall_ret, after, static_cast<uint64_t>(calls[i].number),
                                 calls[i].arguments);
    if (i == 0) {
      chain.begin = r;
      continue;
    }
    Bytes frame(step_bytes);
    store_le(frame, 0, sigreturn.address());
    store_le(frame, ucontext_at, uc_flags_xstate_and_ss);
    store_le(frame, stack_flags_at, impossible_stack_flags);
    store_mcontext(frame, r, RemoteAddress());  // without FPU state: the last frame has it
    store_le(frame, mask_at, ~uint64_t{0});
    std::copy(frame.begin(), frame.end(),
              chain.frames.bytes.begin() + static_cast<ptrdiff_t>((i - 1) * step_bytes));
  }
  return chain;
}

}  // namespace livecare::remote
