#include <Zydis/Zydis.h>

#include "objdiff/code.h"

namespace livecare::objdiff {
namespace {

constexpr int stack_pointer = 4;

// The number of the 64-bit register that contains reg, or -1 for anything but a general register.
int general_register(ZydisRegister reg) {
  ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(whole) != ZYDIS_REGCLASS_GPR64) return -1;
  return ZydisRegisterGetId(whole);
}

void add_register(RegisterSet& set, ZydisRegister reg) {
  int number = general_register(reg);
  if (number >= 0) set |= RegisterSet{1} << number;
}

insn::Flow flow_of(const ZydisDecodedInstruction& raw) {
  bool immediate = raw.raw.imm[0].size != 0;
  switch (raw.meta.category) {
    case ZYDIS_CATEGORY_CALL:
      return immediate ? insn::Flow::call : insn::Flow::indirect_call;
    case ZYDIS_CATEGORY_UNCOND_BR:
      return immediate ? insn::Flow::jump : insn::Flow::indirect_jump;
    case ZYDIS_CATEGORY_COND_BR:
      return insn::Flow::conditional_jump;
    case ZYDIS_CATEGORY_RET:
      return insn::Flow::ret;
    case ZYDIS_CATEGORY_SYSCALL:
      return insn::Flow::syscall;
    case ZYDIS_CATEGORY_INTERRUPT:
      return insn::Flow::trap;
    default:
      break;
  }
  bool trap = raw.mnemonic == ZYDIS_MNEMONIC_UD0 || raw.mnemonic == ZYDIS_MNEMONIC_UD1 ||
              raw.mnemonic == ZYDIS_MNEMONIC_UD2 || raw.mnemonic == ZYDIS_MNEMONIC_HLT;
  return trap ? insn::Flow::trap : insn::Flow::next;
}

void take_memory_operand(const ZydisDecodedInstruction& raw, const ZydisDecodedOperand& operand,
                         CodeInstruction& out) {
  add_register(out.reads, operand.mem.base);
  add_register(out.reads, operand.mem.index);
  bool fixed = operand.mem.index == ZYDIS_REGISTER_NONE &&
               (operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_NONE);
  if (operand.mem.base == ZYDIS_REGISTER_RIP) {
    out.relative_offset = raw.raw.disp.offset;
    out.relative_width = static_cast<uint8_t>(raw.raw.disp.size / 8);
    out.displacement = operand.mem.disp.value;
  }
  if (operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) return;  // lea takes the address only
  if (fixed) out.access_size = static_cast<uint16_t>(operand.size / 8);
  if (!fixed) out.touches_memory = true;
}

void take_operands(const ZydisDecodedInstruction& raw, const ZydisDecodedOperand* operands,
                   CodeInstruction& out) {
  for (int i = 0; i < raw.operand_count; i++) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) take_memory_operand(raw, operand, out);
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ)
      add_register(out.reads, operand.reg.value);
    if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
      add_register(out.writes, operand.reg.value);
      // A write to a part of a register, or one that may not happen, keeps the rest alive.
      bool partial = operand.size < 32 || (operand.actions & ZYDIS_OPERAND_ACTION_CONDWRITE);
      if (partial) add_register(out.reads, operand.reg.value);
    }
  }
  out.moves_stack_pointer = (out.writes >> stack_pointer) & 1;
}

void take_immediate(const ZydisDecodedInstruction& raw, const ZydisDecodedOperand* operands,
                    CodeInstruction& out) {
  if (raw.raw.imm[0].size == 0) return;
  if (raw.raw.imm[0].is_relative) {
    out.relative_offset = raw.raw.imm[0].offset;
    out.relative_width = static_cast<uint8_t>(raw.raw.imm[0].size / 8);
    out.displacement = raw.raw.imm[0].value.s;
    return;
  }
  out.immediate_offset = raw.raw.imm[0].offset;
  out.immediate_width = static_cast<uint8_t>(raw.raw.imm[0].size / 8);
  out.immediate = raw.raw.imm[0].value.s;
  if (raw.mnemonic == ZYDIS_MNEMONIC_PUSH) out.pushes_immediate = true;
  if (raw.mnemonic != ZYDIS_MNEMONIC_MOV) return;
  if (operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operands[0].size >= 32)
    out.moves_to_register = static_cast<int8_t>(general_register(operands[0].reg.value));
  if (operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[0].size >= 32 &&
      operands[0].mem.base == ZYDIS_REGISTER_RSP && operands[0].mem.index == ZYDIS_REGISTER_NONE) {
    out.stores_to_stack = true;
    out.stack_offset = operands[0].mem.disp.value;
  }
}

}  // namespace

std::optional<CodeInstruction> decode_code_x86_64(ByteView code, uint32_t offset) {
  if (offset >= code.size()) return std::nullopt;
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  ZydisDecodedInstruction raw;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data() + offset, code.size() - offset,
                                           &raw, operands)))
    return std::nullopt;
  CodeInstruction out;
  out.offset = offset;
  out.length = raw.length;
  out.flow = flow_of(raw);
  take_operands(raw, operands, out);
  take_immediate(raw, operands, out);
  if (raw.mnemonic == ZYDIS_MNEMONIC_POP && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
    out.pops_register = static_cast<int8_t>(general_register(operands[0].reg.value));
  if (raw.mnemonic == ZYDIS_MNEMONIC_MOV && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
      operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER && operands[1].size >= 32)
    out.copies_register = static_cast<int8_t>(general_register(operands[1].reg.value));
  // xor reg, reg makes zero of whatever was there.
  if ((raw.mnemonic == ZYDIS_MNEMONIC_XOR || raw.mnemonic == ZYDIS_MNEMONIC_SUB) &&
      operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
      operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
      operands[0].reg.value == operands[1].reg.value && operands[0].size >= 32)
    out.reads = 0;
  return out;
}

}  // namespace livecare::objdiff
