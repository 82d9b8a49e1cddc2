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
//   - both numbers could be line numbers.
//
// Not done: using .debug_line. Shipped builds seldom keep it, and what is proved without it
// suffices.
#include "objdiff/line_noise.h"

#include <elf.h>

#include <algorithm>
#include <map>
#include <set>

#include "objdiff/compare.h"
#include "objdiff/line_takers.h"

namespace livecare::objdiff {
namespace {

constexpr int64_t line_number_max = 1'000'000;
constexpr size_t path_instructions_max = 4096;
constexpr int register_count = 32;
constexpr size_t argument_window_instructions = 32;

class LineCode {
 public:
  LineCode(const ObjectMap& map, AtomId id)
      : map_(map), atom_(map.atom(id)), masked_(masked_bytes(map, id)) {
    ByteView code = map.bytes(atom_);
    uint32_t at = 0;
    while (at < code.size()) {
      auto instruction = decode_code(map.image().machine(), code, at);
      if (!instruction) break;
      index_[at] = instructions_.size();
      instructions_.push_back(*instruction);
      at += instruction->length;
    }
    complete_ = at == code.size();
    for (const elf::Symbol& symbol : map.image().symbols())
      if (symbol.type == STT_FILE) own_name_ = symbol.name;
    constant_files_ = find_constant_files();
  }

  bool complete() const { return complete_; }
  const std::vector<CodeInstruction>& instructions() const { return instructions_; }

  ByteView masked(const CodeInstruction& instruction) const {
    return *ByteView(masked_).slice(instruction.offset, instruction.length);
  }

  // Is the immediate of instruction number i a line number?
  bool is_line_number(size_t i) const {
    const CodeInstruction& move = instructions_[i];
    if (move.immediate < 1 || move.immediate > line_number_max) return false;
    if (move.pushes_immediate) {
      bool popped = i + 1 < instructions_.size() && instructions_[i + 1].pops_register >= 0;
      if (popped) return flows_into_calls(i + 2, instructions_[i + 1].pops_register);
      return pushed_for_call(i);
    }
    return move.moves_to_register >= 0 && flows_into_calls(i + 1, move.moves_to_register);
  }

 private:
  struct Step {
    size_t instruction;
    RegisterSet files;  // registers that hold a file name
    RegisterSet held;   // registers that hold the number
    friend auto operator<=>(const Step&, const Step&) = default;
  };

  static bool in(RegisterSet set, int reg) { return (set >> reg) & 1; }

  int argument_number(int reg) const {
    auto registers = argument_registers(map_.image().machine());
    for (uint32_t i = 0; i < registers.count; i++)
      if (registers.numbers[i] == reg) return static_cast<int>(i);
    return -1;
  }

  const Ref* ref_in(const CodeInstruction& instruction) const {
    for (const Ref& ref : atom_.refs)
      if (ref.offset >= instruction.offset && ref.offset < instruction.offset + instruction.length)
        return &ref;
    return nullptr;
  }

  bool loads_file_name(const CodeInstruction& instruction) const {
    if (instruction.copies_register >= 0) return in(constant_files_, instruction.copies_register);
    return loads_file_literal(instruction);
  }

  // Registers that nothing but a file name is ever loaded into (and the caller's value restored).
  RegisterSet find_constant_files() const {
    RegisterSet files = 0, others = 0;
    for (const CodeInstruction& instruction : instructions_) {
      if (instruction.pops_register >= 0) continue;
      (loads_file_literal(instruction) ? files : others) |= instruction.writes;
    }
    return files & ~others;
  }

  bool loads_file_literal(const CodeInstruction& instruction) const {
    const Ref* ref = ref_in(instruction);
    if (!ref || ref->target != Ref::Target::atom || ref->atom == no_atom || ref->access_size != 0)
      return false;
    const Atom& target = map_.atom(ref->atom);
    if (target.kind != AtomKind::string || ref->at < 0) return false;
    auto text = map_.bytes(target).c_string(static_cast<uint64_t>(ref->at));
    return text && is_file_name(*text, own_name_);
  }

  // Registers that hold a file name before instruction number i, looking straight back.
  RegisterSet files_before(size_t i) const {
    RegisterSet files = 0, known = 0;
    for (size_t back = 1; back <= argument_window_instructions && back <= i; back++) {
      const CodeInstruction& instruction = instructions_[i - back];
      if (instruction.flow != insn::Flow::next && instruction.flow != insn::Flow::conditional_jump)
        break;
      if (loads_file_name(instruction)) files |= instruction.writes & ~known;
      known |= instruction.writes;
    }
    return files;
  }

  bool takes_line(size_t call, int reg, RegisterSet files) const {
    const CodeInstruction& instruction = instructions_[call];
    const Ref* ref = ref_in(instruction);
    int argument = argument_number(reg);
    if (argument < 0) return false;
    // (file, line): the number right behind the name. Any other order is known by the callee only.
    auto registers = argument_registers(map_.image().machine());
    if (argument > 0 && in(files, registers.numbers[argument - 1])) return true;
    if (!ref) return false;
    auto known = line_argument(callee_name(*ref));
    return known && static_cast<int>(*known) == argument;
  }

  std::string_view callee_name(const Ref& ref) const {
    if (ref.target == Ref::Target::external) return map_.symbol(ref.symbol).name;
    if (ref.target == Ref::Target::atom && ref.atom != no_atom) return map_.atom(ref.atom).name;
    return {};
  }

  // After the call the register holds nothing that the caller can rely on. A function of this
  // object may be known to leave it alone (-fipa-ra), unless it calls out itself.
  bool clobbers_arguments(size_t call) const {
    const Ref* ref = ref_in(instructions_[call]);
    if (!ref || ref->target != Ref::Target::atom || ref->atom == no_atom) return true;
    const auto& refs = map_.atom(ref->atom).refs;
    return std::any_of(refs.begin(), refs.end(), [&](const Ref& r) {
      return r.target == Ref::Target::external && r.pc_relative;
    });
  }

  bool flows_into_calls(size_t start, int reg) const {
    std::vector<Step> open{{start, start == 0 ? 0 : files_before(start), RegisterSet{1} << reg}};
    std::set<Step> seen;
    bool called = false;
    while (!open.empty()) {
      Step step = open.back();
      open.pop_back();
      if (!seen.insert(step).second) continue;
      if (seen.size() > path_instructions_max || step.instruction >= instructions_.size())
        return false;
      if (!advance(step, called, open)) return false;
    }
    return called;
  }

  // One instruction further; false when the number is used for anything but a line number.
  bool advance(Step step, bool& called, std::vector<Step>& open) const {
    const CodeInstruction& instruction = instructions_[step.instruction];
    bool copied = instruction.copies_register >= 0 && in(step.held, instruction.copies_register);
    if ((instruction.reads & step.held) != 0 && !copied) return false;
    switch (instruction.flow) {
      case insn::Flow::next:
        step.held &= ~instruction.writes;
        if (copied) step.held |= instruction.writes;
        step.files &= ~instruction.writes;
        if (loads_file_name(instruction)) step.files |= instruction.writes;
        step.instruction++;
        if (step.held != 0) open.push_back(step);
        return true;
      case insn::Flow::conditional_jump:
        open.push_back({step.instruction + 1, step.files, step.held});
        return jump(instruction, step, open);
      case insn::Flow::jump:
        if (jump(instruction, step, open)) return true;
        return call(step, called) && step.held == 0;  // a tail call
      case insn::Flow::indirect_jump:  // a tail call too, if the arguments look like one
        return call(step, called) && step.held == 0;
      case insn::Flow::call:
      case insn::Flow::indirect_call:
        if (!call(step, called)) return false;
        if (step.held != 0) open.push_back(step);
        return true;
      default:
        return false;
    }
  }

  // Takes the step over a call. False if the number is handed over as something else than a line.
  bool call(Step& step, bool& called) const {
    RegisterSet preserved = preserved_registers(map_.image().machine());
    RegisterSet files = step.files | files_before(step.instruction);
    for (int reg = 0; reg < register_count; reg++) {
      if (!in(step.held & ~preserved, reg)) continue;
      if (!takes_line(step.instruction, reg, files)) return false;
      called = true;
    }
    if (clobbers_arguments(step.instruction)) {
      step.held &= preserved;
      step.files &= preserved;
    }
    step.instruction++;
    return true;
  }

  bool jump(const CodeInstruction& instruction, const Step& step, std::vector<Step>& open) const {
    if (ref_in(instruction)) return false;
    int64_t target = relative_target(map_.image().machine(), instruction);
    auto found = index_.find(static_cast<uint32_t>(target));
    if (target < 0 || found == index_.end()) return false;
    open.push_back({found->second, step.files, step.held});
    return true;
  }

  // `push $line` as the first argument that goes on the stack, behind a file name in the last
  // argument register.
  bool pushed_for_call(size_t push) const {
    auto registers = argument_registers(map_.image().machine());
    for (size_t i = push + 1; i < instructions_.size(); i++) {
      const CodeInstruction& instruction = instructions_[i];
      if (instruction.flow == insn::Flow::call || instruction.flow == insn::Flow::indirect_call)
        return in(files_before(i), registers.numbers[registers.count - 1]);
      if (instruction.flow != insn::Flow::next || instruction.moves_stack_pointer ||
          i - push > argument_window_instructions)
        return false;
    }
    return false;
  }

  const ObjectMap& map_;
  const Atom& atom_;
  Bytes masked_;
  std::vector<CodeInstruction> instructions_;
  std::map<uint32_t, size_t> index_;
  std::string_view own_name_;
  RegisterSet constant_files_ = 0;
  bool complete_ = false;
};

bool same_but_immediate(ByteView a, ByteView b, const CodeInstruction& instruction) {
  for (size_t i = 0; i < a.size(); i++) {
    bool immediate = i >= instruction.immediate_offset &&
                     i < size_t{instruction.immediate_offset} + instruction.immediate_width;
    if (!immediate && a.data()[i] != b.data()[i]) return false;
  }
  return true;
}

}  // namespace

bool only_line_numbers_differ(const ObjectMap& original, AtomId original_id,
                              const ObjectMap& patched, AtomId patched_id) {
  LineCode a(original, original_id), b(patched, patched_id);
  if (!a.complete() || !b.complete() || a.instructions().size() != b.instructions().size())
    return false;
  for (size_t i = 0; i < a.instructions().size(); i++) {
    const CodeInstruction &x = a.instructions()[i], &y = b.instructions()[i];
    if (x.length != y.length) return false;
    if (a.masked(x) == b.masked(y)) continue;
    if (x.immediate_width == 0 || x.immediate_offset != y.immediate_offset ||
        x.immediate_width != y.immediate_width)
      return false;
    if (!same_but_immediate(a.masked(x), b.masked(y), x)) return false;
    if (!a.is_line_number(i) || !b.is_line_number(i)) return false;
  }
  return true;
}

}  // namespace livecare::objdiff
