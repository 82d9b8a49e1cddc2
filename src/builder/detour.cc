// Compilers take it that some things are near: that all variables of a library lie in one
// thread-local block, whose start they keep in a register; that a program's own copy of a library's
// variable is within 2 GiB. In an image neither holds for what is new: a new thread-local variable
// lies in a block of its own, a newly imported variable in its library. The instruction that names
// it has four bytes for the place, and no room to ask for it.
//
// So it is done elsewhere: the instruction is replaced by a jump to code of ours that fetches what
// is missing into a scratch register, does the same instruction on that register, and jumps back.
//
//     mov x@dtpoff(%rax,%rcx,4), %edx          lea -128(%rsp), %rsp      past the red zone
//                                              push %rsi
//                                              mov %fs:word, %rsi        new block - old block
//                                              lea (%rax,%rsi), %rsi
//                                              mov x(%rsi,%rcx,4), %edx
//                                              pop %rsi
//                                              lea 128(%rsp), %rsp
//                                              jmp back
//
// The distance is added to the address, whichever of its registers holds the start of the block, so
// nothing has to be known about where the registers come from; a constant that is added to an
// address that was computed before gets the same. Nothing here touches the flags but the
// instruction itself. Its encoding is kept but for the base register: the scratch register is taken
// from the same half of the registers, so that prefixes stay as they are. What came out is decoded
// again and compared.
//
// Rejected: to compile again with another model of thread-local storage (compilers give no choice
// for variables that a file keeps to itself, and unchanged functions would look changed); to use
// the flags or the stack of the function (nobody says that they are free).
#include "builder/detour.h"

#include <Zydis/Zydis.h>

#include <array>

namespace livecare::builder {
namespace {

constexpr unsigned rsp = 4;
constexpr unsigned r11 = 11;
constexpr uint8_t mod_disp32 = 2;

struct Decoded {
  ZydisDecodedInstruction raw;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
};

std::optional<Decoded> decode(ByteView bytes) {
  ZydisDecoder decoder;
  Decoded decoded;
  if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &decoded.raw,
                                           decoded.operands.data())) ||
      decoded.raw.length != bytes.size())
    return std::nullopt;
  return decoded;
}

// 0 to 15; empty: not a general register.
std::optional<unsigned> general(ZydisRegister reg) {
  if (reg == ZYDIS_REGISTER_NONE) return std::nullopt;
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(whole) != ZYDIS_REGCLASS_GPR64) return std::nullopt;
  return static_cast<unsigned>(ZydisRegisterGetId(whole));
}

uint32_t used_registers(const Decoded& decoded) {
  uint32_t used = 0;
  auto add = [&](ZydisRegister reg) {
    if (auto number = general(reg)) used |= 1u << *number;
  };
  for (unsigned i = 0; i < decoded.raw.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) add(operand.reg.value);
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      add(operand.mem.base);
      add(operand.mem.index);
    }
  }
  return used;
}

const ZydisDecodedOperand* memory_operand(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.raw.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.disp.has_displacement)
      return &operand;
  }
  return nullptr;
}

class Writer {
 public:
  explicit Writer(Far far) : far_(far) {}

  void bytes(std::initializer_list<unsigned> list) {
    for (unsigned byte : list) out_.code.push_back(static_cast<uint8_t>(byte));
  }
  void copy(ByteView from) { out_.code.insert(out_.code.end(), from.begin(), from.end()); }
  uint64_t at() const { return out_.code.size(); }
  uint64_t field() {
    const uint64_t place = at();
    bytes({0, 0, 0, 0});
    return place;
  }
  void save(unsigned scratch) {
    bytes({0x48, 0x8d, 0x64, 0x24, 0x80});
    if (scratch >= 8) bytes({0x41});
    bytes({0x50 + (scratch & 7)});
  }
  void restore(unsigned scratch) {
    if (scratch >= 8) bytes({0x41});
    bytes({0x58 + (scratch & 7)});
    bytes({0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0});
  }
  void fetch_word(unsigned into) {
    const unsigned rex = into >= 8 ? 0x4c : 0x48;
    if (far_ == Far::address)
      bytes({rex, 0x8b, 0x05 | (into & 7) << 3});
    else
      bytes({0x64, rex, 0x8b, 0x04 | (into & 7) << 3, 0x25});
    out_.word = field();
  }
  // lea (base,index), into; index is not rsp
  void add(unsigned base, unsigned index, unsigned into) {
    bytes({0x48u | (into >> 3) << 2 | (index >> 3) << 1 | base >> 3, 0x8d, 0x44u | (into & 7) << 3,
           (index & 7) << 3 | (base & 7), 0});
  }
  void jump_back() {
    bytes({0xe9});
    out_.back = field();
  }
  void value_at(uint64_t place) { out_.value = place; }
  Detour finish(bool call = false) {
    out_.call = call;
    return std::move(out_);
  }

 private:
  Far far_;
  Detour out_;
};

// A register that the instruction leaves alone and whose number has its high bit where the
// instruction has it already.
std::optional<unsigned> pick_scratch(uint32_t used, bool high) {
  for (unsigned low : {6u, 7u, 1u, 2u, 0u, 3u, 5u}) {
    const unsigned number = low + (high ? 8 : 0);
    if (!(used >> number & 1)) return number;
  }
  return std::nullopt;
}

struct Operand {
  std::optional<unsigned> base;
  bool has_sib = false;
  bool high = false;  // the bit in the prefixes that belongs to the base register
};

std::optional<Operand> analyse(const Decoded& decoded, const ZydisDecodedOperand& operand) {
  Operand result;
  if (operand.mem.segment == ZYDIS_REGISTER_FS || operand.mem.segment == ZYDIS_REGISTER_GS ||
      decoded.raw.address_width != 64)
    return std::nullopt;
  const bool rip = operand.mem.base == ZYDIS_REGISTER_RIP;
  if (operand.mem.base != ZYDIS_REGISTER_NONE && !rip) {
    result.base = general(operand.mem.base);
    if (!result.base) return std::nullopt;
  }
  result.has_sib = (decoded.raw.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0;
  result.high = result.base ? *result.base >= 8 : decoded.raw.raw.rex.B != 0;
  return result;
}

// The instruction with its base register exchanged for `scratch`.
uint64_t write_with_base(Writer& writer, ByteView instruction, const Decoded& decoded,
                         const Operand& operand, unsigned scratch) {
  const auto& raw = decoded.raw.raw;
  const uint64_t start = writer.at();
  writer.copy(*instruction.slice(0, raw.modrm.offset));
  if (operand.has_sib)
    writer.bytes({unsigned{mod_disp32} << 6 | raw.modrm.reg * 8u | 4u,
                  raw.sib.scale * 64u | raw.sib.index * 8u | (scratch & 7)});
  else
    writer.bytes({unsigned{mod_disp32} << 6 | raw.modrm.reg * 8u | (scratch & 7)});
  const uint64_t place = writer.field();
  const uint64_t rest = raw.disp.offset + 4u;
  writer.copy(*instruction.slice(rest, instruction.size() - rest));
  return place - start;
}

bool is_same_but_for_base(const Decoded& before, ByteView bytes, unsigned scratch) {
  auto after = decode(bytes);
  if (!after || after->raw.mnemonic != before.raw.mnemonic ||
      after->raw.operand_count != before.raw.operand_count)
    return false;
  for (unsigned i = 0; i < before.raw.operand_count; ++i) {
    const ZydisDecodedOperand& a = before.operands[i];
    const ZydisDecodedOperand& b = after->operands[i];
    if (a.type != b.type || a.size != b.size) return false;
    if (a.type == ZYDIS_OPERAND_TYPE_REGISTER && a.reg.value != b.reg.value) return false;
    if (a.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (general(b.mem.base) != scratch || a.mem.index != b.mem.index || a.mem.scale != b.mem.scale)
      return false;
  }
  return true;
}

// call *operand and jmp *operand: the called function may use r11, as a PLT does.
std::optional<Detour> branch(const Decoded& decoded, const Operand& operand, Far far) {
  Writer writer(far);
  const auto& raw = decoded.raw.raw;
  writer.fetch_word(r11);
  if (operand.base) writer.add(*operand.base, r11, r11);
  const unsigned index_high = operand.has_sib && raw.rex.X ? 2 : 0;
  writer.bytes({0x41 | index_high, 0xff,
                unsigned{mod_disp32} << 6 | 4u << 3 | (operand.has_sib ? 4u : r11 & 7)});
  if (operand.has_sib) writer.bytes({raw.sib.scale * 64u | raw.sib.index * 8u | (r11 & 7)});
  writer.value_at(writer.field());
  return writer.finish(decoded.raw.mnemonic == ZYDIS_MNEMONIC_CALL);
}

std::optional<Detour> through_memory(ByteView instruction, const Decoded& decoded, Far far) {
  const ZydisDecodedOperand* memory = memory_operand(decoded);
  if (memory == nullptr) return std::nullopt;
  auto operand = analyse(decoded, *memory);
  if (!operand) return std::nullopt;
  if (decoded.raw.mnemonic == ZYDIS_MNEMONIC_CALL || decoded.raw.mnemonic == ZYDIS_MNEMONIC_JMP)
    return operand->base == rsp ? std::nullopt : branch(decoded, *operand, far);
  const uint32_t used = used_registers(decoded);
  if (used >> rsp & 1) return std::nullopt;
  auto scratch = pick_scratch(used, operand->high);
  if (!scratch) return std::nullopt;
  Writer writer(far);
  writer.save(*scratch);
  writer.fetch_word(*scratch);
  if (operand->base) writer.add(*operand->base, *scratch, *scratch);
  const uint64_t begin = writer.at();
  writer.value_at(begin + write_with_base(writer, instruction, decoded, *operand, *scratch));
  const uint64_t end = writer.at();
  writer.restore(*scratch);
  writer.jump_back();
  Detour made = writer.finish();
  if (!is_same_but_for_base(decoded, *ByteView(made.code).slice(begin, end - begin), *scratch))
    return std::nullopt;
  return made;
}

// add $constant, %register and mov $constant, %register
std::optional<Detour> through_constant(ByteView instruction, const Decoded& decoded, Far far) {
  const ZydisDecodedOperand& target = decoded.operands[0];
  if (target.type != ZYDIS_OPERAND_TYPE_REGISTER) return std::nullopt;
  auto number = general(target.reg.value);
  if (!number || *number == rsp) return std::nullopt;
  const unsigned reg = *number;
  const bool is_mov = decoded.raw.mnemonic == ZYDIS_MNEMONIC_MOV && target.size >= 32;
  const bool is_add = decoded.raw.mnemonic == ZYDIS_MNEMONIC_ADD && target.size == 64;
  Writer writer(far);
  if (far == Far::address) {
    if (!is_mov) return std::nullopt;
    writer.fetch_word(reg);
    // lea constant(%register), %register
    writer.bytes({reg >= 8 ? 0x4du : 0x48u, 0x8d, 0x84 | (reg & 7) << 3, 0x20 | (reg & 7)});
    writer.value_at(writer.field());
    writer.jump_back();
    return writer.finish();
  }
  if (!is_mov && !is_add) return std::nullopt;
  auto scratch = pick_scratch(1u << reg | 1u << rsp, false);
  auto add_distance = [&] {
    writer.save(*scratch);
    writer.fetch_word(*scratch);
    writer.add(reg, *scratch, reg);
    writer.restore(*scratch);
  };
  if (is_mov) {  // sign-extended, whatever it was before: it is a distance now
    writer.bytes({reg >= 8 ? 0x49u : 0x48u, 0xc7, 0xc0 | (reg & 7)});
    writer.value_at(writer.field());
    add_distance();
  } else {
    add_distance();
    const uint64_t begin = writer.at();
    writer.copy(instruction);
    writer.value_at(begin + decoded.raw.raw.imm[0].offset);
  }
  writer.jump_back();
  return writer.finish();
}

}  // namespace

std::optional<Detour> detour(ByteView instruction, uint64_t field, Far far) {
  auto decoded = decode(instruction);
  if (!decoded || decoded->raw.length < detour_bytes) return std::nullopt;
  const auto& raw = decoded->raw.raw;
  if (raw.disp.size == 32 && raw.disp.offset == field)
    return through_memory(instruction, *decoded, far);
  if (raw.imm[0].size == 32 && raw.imm[0].offset == field)
    return through_constant(instruction, *decoded, far);
  return std::nullopt;
}

}  // namespace livecare::builder
