// The instructions that x86-64 linkers write in place of what the compiler asked for.
// Sources: System V ABI for x86-64, B.2 "Optimize GOTPCRELX Relocations"; "ELF Handling For
// Thread-Local Storage", 4.4; binutils bfd/elf64-x86-64.c for the register forms.
#include <elf.h>

#include <algorithm>
#include <array>
#include <initializer_list>

#include "match/walk.h"

namespace livecare::match {
namespace {

bool starts_with(ByteView code, std::initializer_list<uint8_t> bytes) {
  return code.size() >= bytes.size() && std::equal(bytes.begin(), bytes.end(), code.begin());
}

// `mov %fs:0, %rax`, what general-dynamic sequences begin with after relaxation.
constexpr std::array<uint8_t, 9> load_thread_pointer = {0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0};

constexpr uint8_t rex_w = 0x48;
constexpr uint8_t rex_r = 0x04;
constexpr uint8_t rex_b = 0x01;

struct RipOperand {
  uint8_t rex = 0;  // 0: no prefix
  uint8_t opcode = 0;
  uint8_t reg = 0;
  unsigned length = 0;  // with the displacement
};

// [rex] opcode modrm(00 reg 101) disp32.
std::optional<RipOperand> rip_operand(ByteView code) {
  RipOperand operand;
  unsigned at = 0;
  auto byte = code.read<uint8_t>(at);
  if (byte && (*byte & 0xf0) == 0x40) operand.rex = *code.read<uint8_t>(at++);
  auto opcode = code.read<uint8_t>(at);
  auto modrm = code.read<uint8_t>(at + 1);
  if (!opcode || !modrm || (*modrm & 0xc7) != 0x05) return std::nullopt;
  operand.opcode = *opcode;
  operand.reg = (*modrm >> 3) & 7;
  operand.length = at + 6;
  return operand;
}

}  // namespace

std::optional<Comparer::Walk::Taken> Comparer::Walk::relaxed(const elf::Relocation& relocation,
                                                             ByteView code, uint64_t field_offset,
                                                             uint64_t at,
                                                             int64_t effective_addend) {
  switch (relocation.type) {
    case R_X86_64_PC32:
    case R_X86_64_PLT32: {
      const auto ours = direct_jump(code);
      auto theirs_bytes = bytes(at, 6);
      if (!theirs_bytes) theirs_bytes = bytes(at, 2);
      const auto theirs = ours && theirs_bytes ? direct_jump(*theirs_bytes) : std::nullopt;
      if (!theirs || theirs->condition != ours->condition || field_offset + 4 != ours->length)
        return std::nullopt;
      const uint64_t value = at + theirs->length + static_cast<uint64_t>(theirs->displacement);
      if (!refers_to(at, relocation, effective_addend, value, 0)) return std::nullopt;
      return Taken{1, theirs->length};
    }
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX:
      return relaxed_got(relocation, code, at, effective_addend);
    default:
      return relaxed_tls(relocation, code, at, effective_addend);
  }
}

std::optional<Comparer::Walk::Taken> Comparer::Walk::relaxed_got(const elf::Relocation& relocation,
                                                                 ByteView code, uint64_t at,
                                                                 int64_t effective_addend) {
  const auto ours = rip_operand(code);
  const auto view = ours ? bytes(at, ours->length) : std::nullopt;
  if (!view) return std::nullopt;
  const ByteView theirs = *view;
  const unsigned length = ours->length;
  auto pc_relative = [&](unsigned field, unsigned end) -> std::optional<Taken> {
    const uint64_t value = at + end + static_cast<uint64_t>(int64_t{*theirs.read<int32_t>(field)});
    if (!refers_to(at, relocation, effective_addend, value, 0)) return std::nullopt;
    return Taken{1, length};
  };
  const bool call = ours->opcode == 0xff && ours->reg == 2;
  const bool jump = ours->opcode == 0xff && ours->reg == 4;
  // addr32 call foo / call foo; nop / jmp foo; nop
  if (call && starts_with(theirs, {0x67, 0xe8})) return pc_relative(2, 6);
  if (call && starts_with(theirs, {0xe8}) && theirs.data()[5] == 0x90) return pc_relative(1, 5);
  if (jump && starts_with(theirs, {0xe9}) && theirs.data()[5] == 0x90) return pc_relative(1, 5);
  // mov foo@GOTPCREL(%rip), %reg -> lea foo(%rip), %reg
  const auto other = rip_operand(theirs);
  if (ours->opcode == 0x8b && other && other->opcode == 0x8d && other->reg == ours->reg &&
      other->rex == ours->rex)
    return pc_relative(length - 4, length);
  // Position-dependent files: an immediate. The register moves from modrm.reg to modrm.rm.
  const unsigned prefix = ours->rex ? 1 : 0;
  if (ours->rex) {
    const auto expected =
        static_cast<uint8_t>((ours->rex & ~(rex_r | rex_b)) | ((ours->rex & rex_r) ? rex_b : 0));
    const uint8_t rex = theirs.data()[0];
    if (rex != expected && rex != (expected & ~0x08)) return std::nullopt;
  }
  const uint8_t opcode = theirs.data()[prefix];
  const uint8_t modrm = theirs.data()[prefix + 1];
  if ((modrm & 0xc7) != (0xc0 | ours->reg)) return std::nullopt;
  const uint8_t extension = (modrm >> 3) & 7;
  const bool move = ours->opcode == 0x8b && opcode == 0xc7 && extension == 0;
  const bool test = ours->opcode == 0x85 && opcode == 0xf7 && extension == 0;
  const bool binary =
      (ours->opcode & 0xc7) == 0x03 && opcode == 0x81 && extension == (ours->opcode >> 3);
  if (!move && !test && !binary) return std::nullopt;
  const int64_t value = *theirs.read<int32_t>(prefix + 2);
  if (!refers_to(at, relocation, effective_addend, static_cast<uint64_t>(value), 0))
    return std::nullopt;
  return Taken{1, length};
}

std::optional<Comparer::Walk::Taken> Comparer::Walk::relaxed_tls(const elf::Relocation& relocation,
                                                                 ByteView code, uint64_t at,
                                                                 int64_t effective_addend) {
  const auto base = shipped.local_exec_base();
  auto view = bytes(at, 16);
  if (!view) view = bytes(at, 8);
  if (!view) return std::nullopt;
  const ByteView theirs = *view;
  const int64_t addend = effective_addend;  // 0 for a variable itself
  auto local_exec = [&](unsigned field, Taken taken) -> std::optional<Taken> {
    auto value = theirs.read<int32_t>(field);
    if (!value || !base) return std::nullopt;
    if (!refers_to_tls(at, relocation, addend, static_cast<uint64_t>(*value - *base)))
      return std::nullopt;
    return taken;
  };
  auto initial_exec = [&](unsigned field, unsigned end, Taken taken) -> std::optional<Taken> {
    auto value = theirs.read<int32_t>(field);
    if (!value) return std::nullopt;
    if (!refers_through_tls_slot(at, relocation, at + end + static_cast<uint64_t>(int64_t{*value})))
      return std::nullopt;
    return taken;
  };
  const bool thread_pointer =
      theirs.size() >= load_thread_pointer.size() &&
      std::equal(load_thread_pointer.begin(), load_thread_pointer.end(), theirs.begin());
  switch (relocation.type) {
    case R_X86_64_TLSGD: {  // lea; call __tls_get_addr: two instructions, 16 bytes
      if (!thread_pointer || theirs.size() < 16) return std::nullopt;
      const ByteView second = *theirs.slice(9, 7);
      if (starts_with(second, {rex_w, 0x03, 0x05})) return initial_exec(12, 16, {2, 16});
      if (starts_with(second, {rex_w, 0x8d, 0x80})) return local_exec(12, {2, 16});
      return std::nullopt;
    }
    case R_X86_64_TLSLD: {  // lea; call __tls_get_addr: 12 bytes, 13 without PLT
      constexpr std::array<uint8_t, 2> padding = {0x66, 0x66};
      const bool by_got = code.size() > 8 && code.data()[7] == 0xff;
      const unsigned length = by_got ? 13 : 12;
      if (theirs.size() < length || !std::equal(padding.begin(), padding.end(), theirs.begin()) ||
          !std::equal(load_thread_pointer.begin(), load_thread_pointer.end(),
                      theirs.begin() + (length - load_thread_pointer.size())))
        return std::nullopt;
      return Taken{2, length};
    }
    case R_X86_64_GOTTPOFF: {
      const auto ours = rip_operand(code);
      if (!ours || theirs.size() < ours->length) return std::nullopt;
      const unsigned at_opcode = ours->rex ? 1 : 0;
      const uint8_t opcode = theirs.data()[at_opcode];
      const bool move = ours->opcode == 0x8b && opcode == 0xc7;
      const bool add = ours->opcode == 0x03 && (opcode == 0x8d || opcode == 0x81);
      if (!move && !add) return std::nullopt;
      if ((theirs.data()[at_opcode + 1] & 7) != ours->reg) return std::nullopt;
      return local_exec(at_opcode + 2, {1, ours->length});
    }
    case R_X86_64_GOTPC32_TLSDESC:  // lea x@tlsdesc(%rip), %rax
      if (starts_with(theirs, {rex_w, 0x8b, 0x05})) return initial_exec(3, 7, {1, 7});
      if (starts_with(theirs, {rex_w, 0xc7, 0xc0})) return local_exec(3, {1, 7});
      return std::nullopt;
    case R_X86_64_TLSDESC_CALL:  // call *(%rax)
      if (starts_with(theirs, {0x66, 0x90})) return Taken{1, 2};
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace livecare::match
