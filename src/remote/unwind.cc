// Stack walks that can be believed.
//
// The problem. A walk that stops early, or goes on by guessing, makes an unsafe stack look safe:
// the frames that it did not see may be in code that is about to be replaced. Unwinders for
// debuggers do both gladly (libunwind: "end of stack" with rc 0 when a file was replaced on disk;
// libdwfl: the frame pointer chain where there is no call frame information).
//
// The idea. libdwfl walks; we watch each step. Every frame's PC must lie in a module of ours whose
// call frame information covers it, so that no step can have been a guess; and the last frame's
// information must say that the return address is undefined, which is how _start, clone and
// __start_context mark the outermost frame (psABI). Anything else is incomplete.
//
// Modules are what is mapped, not what the paths name now: LoadedObject gives the mapped file
// (/proc/PID/map_files) or, failing that, the segments copied from memory. Code of patch images is
// given by the caller as .eh_frame bytes and wrapped into an ELF file in memory, since that is all
// that libdwfl knows.
//
// A coroutine has a first frame of its own, so that such a walk ends well without having seen the
// stack that the thread began on; it does not count. (A signal stack leads back there.)
//
// Memory is read from the stack that the stop has already copied; only what lies outside of it
// (a signal stack, a frame in a coroutine) is read from the process.
//
// Cost: the first walk through a module parses its .eh_frame_hdr, so Unwinder::make warms each with
// one lookup; afterwards some microseconds a frame.
#include "remote/unwind.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "remote/unwind_elf.h"

namespace livecare::remote {

namespace {

constexpr int return_address_column = 16;
constexpr unsigned stack_pointer_column = 7;
constexpr int registers_count = 17;

struct Module {
  std::string name;
  RemoteRange span;
  uint64_t bias = 0;  // for offsets in names
  ByteView file;      // an ELF file
};

Elf* open_memory(ByteView file) {
  // libelf reads only, but its signature is from before const.
  return ::elf_memory(reinterpret_cast<char*>(const_cast<uint8_t*>(file.data())), file.size());
}

// libdwfl owns what it gets here.
int find_elf(Dwfl_Module*, void** user, const char*, Dwarf_Addr, char**, Elf** elf) {
  *elf = open_memory(static_cast<const Module*>(*user)->file);
  return -1;  // no file descriptor
}

int no_debug_info(Dwfl_Module*, void**, const char*, Dwarf_Addr, const char*, const char*,
                  GElf_Word, char**) {
  return -1;
}

const Dwfl_Callbacks module_callbacks = {find_elf, no_debug_info, nullptr, nullptr};

}  // namespace

struct Unwinder::State {
  const Memory* memory = nullptr;
  std::vector<elf::Image> images;  // own the bytes of modules
  std::vector<Bytes> made;         // likewise
  std::vector<Module> modules;     // libdwfl holds pointers to them
  Elf* elf = nullptr;              // for the architecture
  Dwfl* dwfl = nullptr;
  const StoppedTask* task = nullptr;  // being walked
  StackWalk* walk = nullptr;
  bool ended = false;              // the last frame's return address is undefined
  mutable bool home_seen = false;  // a word of the stack that the thread began on was read

  ~State() {
    if (dwfl != nullptr) ::dwfl_end(dwfl);
    if (elf != nullptr) ::elf_end(elf);
  }

  bool read_word(uint64_t at, uint64_t& word) const {
    uint64_t offset = at - task->stack_start.address();
    if (auto value = task->stack.read<uint64_t>(offset)) {
      word = *value;
      return true;
    }
    home_seen |= at - task->home_start.address() < task->home_stack.size();
    auto value = memory->read_value(RemotePtr<uint64_t>(at));
    if (value.ok()) word = *value;
    return value.ok();
  }
};

namespace {

// libdwfl calls back with the State as argument.
struct Callbacks {
  using State = Unwinder::State;

  static pid_t next_thread(Dwfl*, void* argument, void** thread_argument) {
    auto* state = static_cast<State*>(argument);
    if (*thread_argument != nullptr) return 0;
    *thread_argument = argument;
    return state->task->tid;
  }

  static bool get_thread(Dwfl*, pid_t, void* argument, void** thread_argument) {
    *thread_argument = argument;
    return true;
  }

  static bool memory_read(Dwfl*, Dwarf_Addr address, Dwarf_Word* word, void* argument) {
    return static_cast<State*>(argument)->read_word(address, *word);
  }

  static bool set_registers(Dwfl_Thread* thread, void* argument) {
    const Registers& r = static_cast<State*>(argument)->task->registers;
    // DWARF numbers (psABI): rax rdx rcx rbx rsi rdi rbp rsp r8..r15 RA.
    const Dwarf_Word words[registers_count] = {r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi,
                                               r.rbp, r.rsp, r.r8,  r.r9,  r.r10, r.r11,
                                               r.r12, r.r13, r.r14, r.r15, r.rip};
    return ::dwfl_thread_state_registers(thread, 0, registers_count, words);
  }

  static int frame(Dwfl_Frame* frame, void* argument);
};

const Dwfl_Thread_Callbacks thread_callbacks = {Callbacks::next_thread,
                                                Callbacks::get_thread,
                                                Callbacks::memory_read,
                                                Callbacks::set_registers,
                                                nullptr,
                                                nullptr};

// Whether the CFI that covers pc says that there is no caller. Empty: no CFI covers it.
std::optional<bool> is_outermost(Dwfl_Module* module, Dwarf_Addr pc) {
  Dwarf_Addr bias = 0;
  std::array<Dwarf_CFI*, 2> tables = {::dwfl_module_eh_cfi(module, &bias), nullptr};
  Dwarf_Frame* frame = nullptr;
  if (tables[0] == nullptr || ::dwarf_cfi_addrframe(tables[0], pc - bias, &frame) != 0) {
    tables[1] = ::dwfl_module_dwarf_cfi(module, &bias);
    if (tables[1] == nullptr || ::dwarf_cfi_addrframe(tables[1], pc - bias, &frame) != 0)
      return std::nullopt;
  }
  Dwarf_Op memory[3];
  Dwarf_Op* operations = nullptr;
  size_t count = 0;
  int result = ::dwarf_frame_register(frame, return_address_column, memory, &operations, &count);
  std::free(frame);
  if (result != 0) return std::nullopt;
  return count == 0 && operations == memory;  // "undefined"; no pointer would be "same value"
}

int Callbacks::frame(Dwfl_Frame* frame, void* argument) {
  auto* state = static_cast<State*>(argument);
  Dwarf_Addr pc = 0;
  bool exact = false;
  if (!::dwfl_frame_pc(frame, &pc, &exact)) return DWARF_CB_ABORT;
  StackWalk& walk = *state->walk;
  if (walk.frames.size() >= frames_max) {
    walk.why = fmt::format("more than {} frames", frames_max);
    return DWARF_CB_ABORT;
  }
  Frame& out = walk.frames.emplace_back();
  out.pc = RemoteAddress(pc);
  out.exact = exact;
  Dwarf_Word sp = 0;
  if (::dwfl_frame_reg(frame, stack_pointer_column, &sp) == 0) out.sp = RemoteAddress(sp);
  Dwarf_Addr look = exact ? pc : pc - 1;
  Dwfl_Module* module = ::dwfl_addrmodule(state->dwfl, look);
  state->ended = false;
  if (module == nullptr) {
    walk.why = fmt::format("{:#x} is in no known code", pc);
    return DWARF_CB_ABORT;
  }
  for (const Module& known : state->modules) {
    if (!known.span.contains(RemoteAddress(look))) continue;
    out.object = known.name;
    out.offset = pc - known.bias;
    break;
  }
  GElf_Off offset = 0;
  GElf_Sym symbol;
  const char* name =
      ::dwfl_module_addrinfo(module, look, &offset, &symbol, nullptr, nullptr, nullptr);
  // Without a symbol table the nearest exported name may be another function's: trust sizes only.
  if (name != nullptr && (symbol.st_size == 0 || offset < symbol.st_size)) {
    out.symbol = name;
    out.offset = offset + (pc - look);
  }
  auto outermost = is_outermost(module, look);
  if (!outermost) {
    walk.why = fmt::format("{} has no call frame information", out.text());
    return DWARF_CB_ABORT;
  }
  state->ended = *outermost;
  return DWARF_CB_OK;
}

}  // namespace

std::string Frame::text() const {
  if (object.empty()) return fmt::format("{:#x}", pc.address());
  if (symbol.empty()) return fmt::format("{}+{:#x}", object, offset);
  return fmt::format("{}!{}+{:#x}", object, symbol, offset);
}

Unwinder::Unwinder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Unwinder::Unwinder(Unwinder&&) noexcept = default;
Unwinder& Unwinder::operator=(Unwinder&&) noexcept = default;
Unwinder::~Unwinder() = default;

namespace {

Error dwfl_error() {
  return make_error(ErrorCode::internal, "unwinder", "libdwfl: {}", ::dwfl_errmsg(-1));
}

// Gives libdwfl the module, and makes it parse its tables now.
Status report(Dwfl* dwfl, Module& module) {
  // Unique, for libdwfl merges modules of one name.
  std::string unique = fmt::format("{}@{:x}", module.name, module.span.start.address());
  Dwfl_Module* reported = ::dwfl_report_module(dwfl, unique.c_str(), module.span.start.address(),
                                               module.span.end().address());
  if (reported == nullptr) return dwfl_error();
  void** user = nullptr;
  ::dwfl_module_info(reported, &user, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  *user = &module;
  return ok_status();
}

void warm(Dwfl* dwfl, const Module& module) {
  Dwfl_Module* reported = ::dwfl_addrmodule(dwfl, module.span.start.address());
  if (reported == nullptr) return;
  Dwarf_Addr bias = 0;
  ::dwfl_module_eh_cfi(reported, &bias);
  ::dwfl_module_getsymtab(reported);
}

}  // namespace

Result<Unwinder> Unwinder::make(const Memory& memory, const Loaded& loaded,
                                const std::vector<UnwindInfo>& extra) {
  auto state = std::make_unique<State>();
  state->memory = &memory;
  ::elf_version(EV_CURRENT);
  state->images.reserve(loaded.objects().size());
  state->made.reserve(extra.size());
  for (const LoadedObject& object : loaded.objects()) {
    auto image = loaded.image(object);
    if (!image.ok()) continue;  // a frame in it makes a walk incomplete
    state->images.push_back(std::move(image).value());
    state->modules.push_back(
        {object.name(), object.span, object.bias, state->images.back().bytes()});
  }
  for (const UnwindInfo& info : extra) {
    state->made.push_back(make_unwind_elf(info));
    state->modules.push_back(
        {info.name, info.code, info.code.start.address(), ByteView(state->made.back())});
  }
  if (state->modules.empty())
    return make_error(ErrorCode::unsupported, fmt::format("process {}", memory.pid()),
                      "no loaded object could be read");
  state->dwfl = ::dwfl_begin(&module_callbacks);
  if (state->dwfl == nullptr) return dwfl_error();
  ::dwfl_report_begin(state->dwfl);
  for (Module& module : state->modules) TRY_STATUS(report(state->dwfl, module));
  if (::dwfl_report_end(state->dwfl, nullptr, nullptr) != 0) return dwfl_error();
  state->elf = open_memory(state->modules.front().file);
  if (!::dwfl_attach_state(state->dwfl, state->elf, memory.pid(), &thread_callbacks, state.get()))
    return dwfl_error();
  for (const Module& module : state->modules) warm(state->dwfl, module);
  return Unwinder(std::move(state));
}

StackWalk Unwinder::walk(const StoppedTask& task) {
  StackWalk walk;
  State& state = *state_;
  state.task = &task;
  state.walk = &walk;
  state.ended = state.home_seen = false;
  int result = ::dwfl_getthread_frames(state.dwfl, task.tid, Callbacks::frame, &state);
  if (walk.why.empty() && result != 0) walk.why = ::dwfl_errmsg(-1);
  if (walk.why.empty() && !state.ended) walk.why = "does not end in a known first frame";
  if (walk.why.empty() && !task.home_stack.empty() && !state.home_seen)
    walk.why = "runs in a coroutine, and the stack that it will come back to cannot be walked";
  walk.complete = walk.why.empty();
  state.task = nullptr;
  state.walk = nullptr;
  return walk;
}

}  // namespace livecare::remote
