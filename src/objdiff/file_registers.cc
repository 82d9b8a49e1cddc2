// Forward data flow: a register holds a file name before an instruction if it does on every way
// that leads there. Nothing is known at the entry, where a table of addresses may lead, and at code
// that no jump is seen to reach (landing pads). One exception, since the ways are not all known: a
// callee-saved register that nothing but a file name is ever loaded into holds one where it is
// read.
#include "objdiff/file_registers.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/line_takers.h"

namespace livecare::objdiff {
namespace {

bool falls_through(const CodeInstruction& instruction) {
  return instruction.flow != insn::Flow::jump && instruction.flow != insn::Flow::indirect_jump &&
         instruction.flow != insn::Flow::ret;
}

bool is_call(const CodeInstruction& instruction) {
  return instruction.flow == insn::Flow::call || instruction.flow == insn::Flow::indirect_call;
}

}  // namespace

FileRegisters::FileRegisters(const FunctionCode& code)
    : code_(code), preserved_(preserved_registers(code.map().image().machine())) {
  for (const elf::Symbol& symbol : code.map().image().symbols())
    if (symbol.type == STT_FILE) own_name_ = symbol.name;
  size_t count = code.instructions().size();
  const auto& all = code.instructions();
  bool names_file = std::any_of(all.begin(), all.end(), [&](const auto& instruction) {
    return loads_file_name(instruction);
  });
  before_.assign(count, names_file ? all_registers : 0);
  if (!names_file) return;
  constant_ = find_constant();
  reached_.assign(count, false);
  for (size_t root : roots()) meet(root, 0);
  for (size_t i = 0; i < count; i++) flow_from(i);
  for (size_t i = 0; i < count; i++)
    if (!reached_[i]) meet(i, 0);
  while (!open_.empty()) {
    size_t i = open_.back();
    open_.pop_back();
    flow_from(i);
  }
}

bool FileRegisters::loads_file_name(const CodeInstruction& instruction) const {
  const Ref* ref = code_.ref_in(instruction);
  if (!ref || ref->target != Ref::Target::atom || ref->atom == no_atom || ref->access_size != 0)
    return false;
  const Atom& target = code_.map().atom(ref->atom);
  if (target.kind != AtomKind::string || ref->at < 0) return false;
  auto text = code_.map().bytes(target).c_string(static_cast<uint64_t>(ref->at));
  return text && is_file_name(*text, own_name_);
}

// What a callee-saved register held for the caller is saved and restored, never handed on.
RegisterSet FileRegisters::find_constant() const {
  RegisterSet files = 0, others = 0;
  for (const CodeInstruction& instruction : code_.instructions()) {
    if (instruction.pops_register >= 0) continue;
    (loads_file_name(instruction) ? files : others) |= instruction.writes;
  }
  return files & ~others & preserved_;
}

std::vector<size_t> FileRegisters::roots() const {
  std::vector<size_t> out{0};
  for (const Atom& atom : code_.map().atoms())
    for (const Ref& ref : atom.refs)
      if (ref.target == Ref::Target::atom && ref.atom == code_.id() && ref.at != 0)
        if (auto number = code_.number_at(ref.at)) out.push_back(*number);
  return out;
}

RegisterSet FileRegisters::behind(size_t i) const {
  const CodeInstruction& instruction = code_.instructions()[i];
  RegisterSet files = before_[i];
  if (is_call(instruction) && code_.clobbers_arguments(instruction)) files &= preserved_;
  bool copies = instruction.copies_register >= 0;
  bool name = copies ? ((files | constant_) >> instruction.copies_register) & 1
                     : loads_file_name(instruction);
  files &= ~instruction.writes;
  return name ? files | instruction.writes : files;
}

void FileRegisters::flow_from(size_t i) {
  const CodeInstruction& instruction = code_.instructions()[i];
  RegisterSet files = behind(i);
  if (falls_through(instruction)) meet(i + 1, files);
  if (auto target = code_.jump_target(instruction)) meet(*target, files);
}

void FileRegisters::meet(size_t i, RegisterSet files) {
  if (i >= before_.size()) return;
  reached_[i] = true;
  if ((before_[i] & ~files) == 0) return;
  before_[i] &= files;
  open_.push_back(i);
}

}  // namespace livecare::objdiff
