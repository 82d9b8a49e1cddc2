// Line numbers.
//
// A fix that adds three lines to a file moves every line below it, so every assert, every
// OPENSSL_malloc and every log call below it is compiled with another number. Taking them all for
// changed would replace half of a file for nothing, and each replaced function is a risk. But a
// number that happens to stand in code is not a line number, and ignoring a real change would be
// far worse. So an immediate that differs is a line number only if all of this holds, in both
// objects:
//
//   - it is moved into a register, or pushed, by an instruction that does nothing else;
//   - on every path from there, all that happens to it is that it is copied to another register,
//     overwritten unread, or handed to a call in an argument register;
//   - that call is to a function known to take a line number in just this argument, or the argument
//     before it is a string literal that is the name of this source file: what __FILE__ gives;
//   - both numbers could be line numbers;
//   - where only the file's name speaks for it, the other calls of the object that have a number
//     behind that name do not speak against it: lines keep their order, and what lies below a place
//     where lines were added has moved. (A fix that adds and removes as many lines has some
//     functions in between taken for changed. That is the price for LOG(__FILE__, level).)
//
// Not done: using .debug_line. Shipped builds seldom keep it, and what is proved without it
// suffices.
#include "objdiff/line_noise.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "objdiff/compare.h"
#include "objdiff/file_registers.h"
#include "objdiff/line_takers.h"

namespace livecare::objdiff {
namespace {

constexpr int64_t line_number_max = 1'000'000;
constexpr size_t path_instructions_max = 4096;
constexpr int register_count = 32;
constexpr size_t argument_window_instructions = 32;

// What speaks for a number, at each of the calls that get it.
struct Proof {
  bool known_callee = true;
  bool behind_file = true;
};

class LineCode {
 public:
  explicit LineCode(const FunctionCode& code)
      : code_(code),
        files_(code),
        arguments_(argument_registers(code.map().image().machine())),
        preserved_(preserved_registers(code.map().image().machine())) {}

  // What proves that the immediate of instruction number i is a line number; empty if nothing does.
  std::optional<Proof> prove(size_t i) const {
    const CodeInstruction& move = at(i);
    if (move.immediate_width == 0 || move.immediate < 1 || move.immediate > line_number_max)
      return std::nullopt;
    if (move.pushes_immediate) {
      bool popped = i + 1 < size() && at(i + 1).pops_register >= 0;
      if (popped) return follow(i + 2, at(i + 1).pops_register);
      return pushed_for_call(i);
    }
    if (move.moves_to_register < 0) return std::nullopt;
    return follow(i + 1, move.moves_to_register);
  }

 private:
  struct Step {
    size_t instruction;
    RegisterSet held;  // registers that hold the number
    friend bool operator<(const Step& a, const Step& b) {
      return std::tie(a.instruction, a.held) < std::tie(b.instruction, b.held);
    }
  };
  struct Walk {
    std::vector<Step> open;
    bool called = false;
    Proof proof;
  };

  static bool in(RegisterSet set, int reg) { return (set >> reg) & 1; }
  size_t size() const { return code_.instructions().size(); }
  const CodeInstruction& at(size_t i) const { return code_.instructions()[i]; }

  int argument_number(int reg) const {
    for (uint32_t i = 0; i < arguments_.count; i++)
      if (arguments_.numbers[i] == reg) return static_cast<int>(i);
    return -1;
  }

  // (file, line): the number right behind the name. Any other order is known by the callee only.
  bool takes_line(size_t call, int reg, Proof& proof) const {
    int argument = argument_number(reg);
    if (argument < 0) return false;
    bool behind_file = argument > 0 && in(files_.before(call), arguments_.numbers[argument - 1]);
    const Ref* ref = code_.ref_in(at(call));
    auto expected = ref ? line_argument(callee_name(*ref)) : std::nullopt;
    bool known = expected && static_cast<int>(*expected) == argument;
    proof.known_callee &= known;
    proof.behind_file &= behind_file;
    return known || behind_file;
  }

  std::string_view callee_name(const Ref& ref) const {
    if (ref.target == Ref::Target::external) return code_.map().symbol(ref.symbol).name;
    if (ref.target == Ref::Target::atom && ref.atom != no_atom)
      return code_.map().atom(ref.atom).name;
    return {};
  }

  std::optional<Proof> follow(size_t start, int reg) const {
    Walk walk;
    walk.open.push_back({start, RegisterSet{1} << reg});
    std::set<Step> seen;
    while (!walk.open.empty()) {
      Step step = walk.open.back();
      walk.open.pop_back();
      if (!seen.insert(step).second) continue;
      if (seen.size() > path_instructions_max || step.instruction >= size()) return std::nullopt;
      if (!advance(step, walk)) return std::nullopt;
    }
    return walk.called ? std::optional(walk.proof) : std::nullopt;
  }

  // One instruction further; false when the number is used for anything but a line number.
  bool advance(Step step, Walk& walk) const {
    const CodeInstruction& instruction = at(step.instruction);
    bool copied = instruction.copies_register >= 0 && in(step.held, instruction.copies_register);
    if ((instruction.reads & step.held) != 0 && !copied) return false;
    switch (instruction.flow) {
      case insn::Flow::next:
        step.held &= ~instruction.writes;
        if (copied) step.held |= instruction.writes;
        step.instruction++;
        if (step.held != 0) walk.open.push_back(step);
        return true;
      case insn::Flow::conditional_jump:
        walk.open.push_back({step.instruction + 1, step.held});
        return jump(instruction, step, walk);
      case insn::Flow::jump:
        if (jump(instruction, step, walk)) return true;
        return call(step, walk) && step.held == 0;  // a tail call
      case insn::Flow::indirect_jump:  // a tail call too, if the arguments look like one
        return call(step, walk) && step.held == 0;
      case insn::Flow::call:
      case insn::Flow::indirect_call:
        if (!call(step, walk)) return false;
        if (step.held != 0) walk.open.push_back(step);
        return true;
      default:
        return false;
    }
  }

  // Takes the step over a call. False if the number is handed over as something else than a line.
  bool call(Step& step, Walk& walk) const {
    for (int reg = 0; reg < register_count; reg++) {
      if (!in(step.held & ~preserved_, reg)) continue;
      if (!takes_line(step.instruction, reg, walk.proof)) return false;
      walk.called = true;
    }
    if (code_.clobbers_arguments(at(step.instruction))) step.held &= preserved_;
    step.instruction++;
    return true;
  }

  bool jump(const CodeInstruction& instruction, const Step& step, Walk& walk) const {
    auto target = code_.jump_target(instruction);
    if (target) walk.open.push_back({*target, step.held});
    return target.has_value();
  }

  // `push $line` as the first argument that goes on the stack, behind a file name in the last
  // argument register.
  std::optional<Proof> pushed_for_call(size_t push) const {
    for (size_t i = push + 1; i < size(); i++) {
      const CodeInstruction& instruction = at(i);
      if (instruction.flow == insn::Flow::call || instruction.flow == insn::Flow::indirect_call) {
        bool behind_file = in(files_.before(i), arguments_.numbers[arguments_.count - 1]);
        return behind_file ? std::optional(Proof{false, true}) : std::nullopt;
      }
      if (instruction.flow != insn::Flow::next || instruction.moves_stack_pointer ||
          i - push > argument_window_instructions)
        return std::nullopt;
    }
    return std::nullopt;
  }

  const FunctionCode& code_;
  FileRegisters files_;
  ArgumentRegisters arguments_;
  RegisterSet preserved_;
};

bool same_but_immediate(ByteView a, ByteView b, const CodeInstruction& instruction) {
  for (size_t i = 0; i < a.size(); i++) {
    bool immediate = i >= instruction.immediate_offset &&
                     i < size_t{instruction.immediate_offset} + instruction.immediate_width;
    if (!immediate && a.data()[i] != b.data()[i]) return false;
  }
  return true;
}

// Numbers of the instructions that differ; empty if any differs in more than an immediate.
std::optional<std::vector<size_t>> differing_immediates(const FunctionCode& a,
                                                        const FunctionCode& b) {
  std::vector<size_t> out;
  if (!a.complete() || !b.complete() || a.instructions().size() != b.instructions().size())
    return std::nullopt;
  for (size_t i = 0; i < a.instructions().size(); i++) {
    const CodeInstruction &x = a.instructions()[i], &y = b.instructions()[i];
    if (x.length != y.length) return std::nullopt;
    if (a.masked(x) == b.masked(y)) continue;
    if (x.immediate_width == 0 || x.immediate_offset != y.immediate_offset ||
        x.immediate_width != y.immediate_width || !same_but_immediate(a.masked(x), b.masked(y), x))
      return std::nullopt;
    out.push_back(i);
  }
  return out;
}

}  // namespace

bool lines_contradict(const LinePairs& others, int64_t before, int64_t after) {
  return std::any_of(others.begin(), others.end(), [&](const auto& other) {
    auto [old_line, new_line] = other;
    if (old_line == before || new_line == after) return old_line != before || new_line != after;
    if ((old_line < before) != (new_line < after)) return true;
    return before != after && old_line == new_line && old_line > std::max(before, after);
  });
}

bool LineShifts::contradict(int64_t before, int64_t after) {
  if (!read_) read();
  read_ = true;
  return lines_contradict(seen_, before, after);
}

void LineShifts::read() {
  for (AtomId id = 0; id < patched_.atoms().size(); id++) {
    AtomId before = pairing_.original_of[id];
    if (before == no_atom || !patched_.atom(id).is_code()) continue;
    if (original_.atom(before).size == patched_.atom(id).size &&
        same_ref_places(original_.atom(before), patched_.atom(id)))
      read_pair(before, id);
  }
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
}

void LineShifts::read_pair(AtomId original, AtomId patched) {
  FunctionCode code_a(original_, original), code_b(patched_, patched);
  if (!differing_immediates(code_a, code_b)) return;
  LineCode a(code_a), b(code_b);
  for (size_t i = 0; i < code_a.instructions().size(); i++) {
    auto proof_a = a.prove(i), proof_b = b.prove(i);
    if (proof_a && proof_b && proof_a->behind_file && proof_b->behind_file)
      seen_.emplace_back(code_a.instructions()[i].immediate, code_b.instructions()[i].immediate);
  }
}

bool only_line_numbers_differ(const ObjectMap& original, AtomId original_id,
                              const ObjectMap& patched, AtomId patched_id, LineShifts& shifts) {
  FunctionCode code_a(original, original_id), code_b(patched, patched_id);
  auto differing = differing_immediates(code_a, code_b);
  if (!differing) return false;
  LineCode a(code_a), b(code_b);
  return std::all_of(differing->begin(), differing->end(), [&](size_t i) {
    auto proof_a = a.prove(i), proof_b = b.prove(i);
    if (!proof_a || !proof_b) return false;
    return (proof_a->known_callee && proof_b->known_callee) ||
           !shifts.contradict(code_a.instructions()[i].immediate,
                              code_b.instructions()[i].immediate);
  });
}

}  // namespace livecare::objdiff
