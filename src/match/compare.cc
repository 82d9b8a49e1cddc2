// The problem. The object is compiled with -ffunction-sections, the shipped file was not, and a
// linker has been over it. So "equal" cannot be memcmp: relocated fields hold addresses; the linker
// rewrites GOT and thread-local accesses (relax_x86_64.cc); and where two functions shared a
// section, the assembler could use a two-byte jump between them that takes five in the object,
// which moves everything behind it, alignment padding included.
//
// The idea. Walk both instruction by instruction. Bytes outside of relocated fields must be equal,
// except that a direct jump may have the other width and padding may differ. An OffsetMap keeps the
// drift; every jump inside the function, and every jump table entry, must land on the instruction
// that the map says. A relocated field is never skipped: what it refers to is decoded and either
// proved at once (a string's bytes, an import's name) or handed out as a claim.
//
// The limits. Instructions that the decoder does not know are compared as plain bytes. Exception
// tables are not compared: replaced functions bring their own.
#include "match/compare.h"

#include <elf.h>

#include <algorithm>

#include "match/walk.h"

namespace livecare::match {

void OffsetMap::note(uint64_t object_offset, uint64_t shipped_offset) {
  const int64_t drift = static_cast<int64_t>(shipped_offset) - static_cast<int64_t>(object_offset);
  if (drift != (steps_.empty() ? 0 : steps_.back().drift)) steps_.push_back({object_offset, drift});
}

uint64_t OffsetMap::shipped(uint64_t object_offset) const {
  int64_t drift = 0;
  for (const Step& step : steps_) {
    if (step.object_offset > object_offset) break;
    drift = step.drift;
  }
  return object_offset + static_cast<uint64_t>(drift);
}

Comparer::Comparer(const ObjectModel& model, const ShippedIndex& shipped)
    : model_(model), shipped_(shipped), instructions_(model.nodes().size()) {
  for (uint32_t node = 0; node < model.nodes().size(); ++node) {
    if (!model.nodes()[node].code) continue;
    instructions_[node] = model.decode(model.nodes()[node]);
    add_anchors(node);
  }
}

void Comparer::add_anchors(uint32_t index) {
  const Node& node = model_.nodes()[index];
  for (const auto& entry : instructions_[index]) {
    const uint64_t start = node.offset + entry.offset;
    const uint64_t length = entry.instruction.length;
    for (const elf::Relocation* relocation : model_.relocations(node.section, start, length)) {
      int64_t addend = relocation->addend;
      const bool absolute = relocation->type == R_X86_64_64 || relocation->type == R_X86_64_32 ||
                            relocation->type == R_X86_64_32S;
      if (!absolute) addend += static_cast<int64_t>(start + length - relocation->offset);
      const Target target = model_.target(*relocation, addend);
      if (target.what == Target::What::anonymous && target.offset >= 0)
        anchors_[target.section][static_cast<uint64_t>(target.offset)] = true;
    }
  }
}

Comparison Comparer::data(uint32_t index, uint64_t address) const {
  Walk walk{model_, shipped_, anchors_, {}};
  const Node& node = model_.nodes()[index];
  walk.result.size = node.size;
  walk.result.equal = walk.data_bytes(node.section, node.offset, node.size, address, 0, false);
  return std::move(walk.result);
}

bool Comparer::Walk::field(const elf::Relocation& relocation, uint64_t field_address, uint64_t end,
                           int64_t effective_addend) {
  const unsigned width = relocation.type == R_X86_64_64 || relocation.type == R_X86_64_PC64 ? 8 : 4;
  auto view = bytes(field_address, width);
  if (!view) return differ(field_address, "outside of the file");
  const int64_t value = width == 8 ? *view->read<int64_t>(0) : *view->read<int32_t>(0);
  const uint64_t pointed = end + static_cast<uint64_t>(value);
  switch (relocation.type) {
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
      return refers_to(field_address, relocation, effective_addend, pointed, 0);
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX:
      return refers_through_slot(field_address, relocation, effective_addend, pointed, 0);
    case R_X86_64_64:
    case R_X86_64_32S:
      return refers_to(field_address, relocation, relocation.addend, static_cast<uint64_t>(value),
                       0);
    case R_X86_64_32:
      return refers_to(field_address, relocation, relocation.addend, static_cast<uint32_t>(value),
                       0);
    case R_X86_64_TLSGD:
    case R_X86_64_GOTTPOFF:
    case R_X86_64_GOTPC32_TLSDESC:
      return refers_through_tls_slot(field_address, relocation, pointed);
    case R_X86_64_TLSLD:
      return true;  // the module's own block: nothing to tell apart
    case R_X86_64_DTPOFF32:
    case R_X86_64_TPOFF32: {
      // In an executable the linker turns the offset in the block into one from the thread pointer.
      const auto base = shipped.local_exec_base();
      if (!base) return differ(field_address, "the shipped file has no thread-local block");
      const bool in_block = relocation.type == R_X86_64_DTPOFF32 && value >= 0;
      return refers_to_tls(field_address, relocation, relocation.addend,
                           static_cast<uint64_t>(in_block ? value : value - *base));
    }
    default:
      return differ(field_address, "relocation type {} is not understood", relocation.type);
  }
}

namespace {

bool equal_outside_fields(ByteView ours, ByteView theirs,
                          const std::vector<const elf::Relocation*>& relocations, uint64_t start,
                          uint32_t& fixed) {
  uint64_t at = 0;
  for (const elf::Relocation* relocation : relocations) {
    if (relocation->type == R_X86_64_TLSDESC_CALL) continue;
    const uint64_t place = relocation->offset - start;
    const uint64_t width =
        relocation->type == R_X86_64_64 || relocation->type == R_X86_64_PC64 ? 8 : 4;
    if (place < at || place + width > ours.size()) return false;
    if (!(*ours.slice(at, place - at) == *theirs.slice(at, place - at))) return false;
    fixed += static_cast<uint32_t>(place - at);
    at = place + width;
  }
  fixed += static_cast<uint32_t>(ours.size() - at);
  return *ours.slice(at, ours.size() - at) == *theirs.slice(at, ours.size() - at);
}

bool is_nop_at(ByteView code, uint64_t& length) {
  auto instruction = insn::decode(insn::Cpu::x86_64, code);
  length = instruction ? instruction->length : 0;
  return instruction && instruction->is_nop;
}

}  // namespace

std::optional<DirectJump> direct_jump(ByteView code) {
  constexpr unsigned always = 16;
  auto first = code.read<uint8_t>(0);
  auto second = code.read<uint8_t>(1);
  if (!first || !second) return std::nullopt;
  auto wide = [&](unsigned condition, unsigned at) -> std::optional<DirectJump> {
    auto displacement = code.read<int32_t>(at);
    if (!displacement) return std::nullopt;
    return DirectJump{condition, at + 4, *displacement};
  };
  if (*first == 0xeb) return DirectJump{always, 2, static_cast<int8_t>(*second)};
  if (*first == 0xe9) return wide(always, 1);
  if ((*first & 0xf0) == 0x70) return DirectJump{*first & 0x0fu, 2, static_cast<int8_t>(*second)};
  if (*first == 0x0f && (*second & 0xf0) == 0x80) return wide(*second & 0x0fu, 2);
  return std::nullopt;
}

Comparison Comparer::code(uint32_t index, uint64_t address) const {
  Walk walk{model_, shipped_, anchors_, {}};
  const Node& node = model_.nodes()[index];
  const auto& section = model_.object().sections()[node.section];
  const auto& list = instructions_[index];
  struct Landing {
    int64_t object_offset;
    uint64_t shipped_address;
    uint64_t at;
  };
  std::vector<Landing> landings;
  const elf::Section* home = shipped_.section_at(address);
  auto fail = [&](uint64_t at, std::string_view why) {
    if (walk.result.reason.empty()) walk.differ(at, "{}", why);
    return std::move(walk.result);
  };
  if (!home || !(home->flags & SHF_EXECINSTR)) return fail(address, "is not code");
  auto code_at = [&](uint64_t at) {
    const uint64_t left = home->address + home->size > at ? home->address + home->size - at : 0;
    return home->bytes.slice(at - home->address, left).value_or(ByteView());
  };
  const bool plain_section = model_.object().relocations(node.section).empty();

  uint64_t at = address;
  for (size_t i = 0; i < list.size();) {
    const uint64_t offset = list[i].offset;
    const uint64_t length = list[i].instruction.length;
    const auto& instruction = list[i].instruction;
    const uint64_t start = node.offset + offset;
    const ByteView ours = *section.bytes.slice(start, length);
    const ByteView theirs = code_at(at);
    walk.result.map.note(offset, at - address);
    std::vector<const elf::Relocation*> relocations;
    if (!plain_section) relocations = model_.relocations(node.section, start, length);

    // A field that the assembler resolved: a place in the same section.
    const bool self_relative = relocations.empty() && instruction.pc_relative_width != 0;
    if (self_relative) {
      const int64_t lands = static_cast<int64_t>(offset + length) + instruction.displacement;
      const auto jump = direct_jump(ours);
      const auto their_jump = jump ? direct_jump(theirs) : std::nullopt;
      if (jump && their_jump && jump->condition == their_jump->condition) {
        landings.push_back(
            {lands, at + their_jump->length + static_cast<uint64_t>(their_jump->displacement), at});
        at += their_jump->length;
        ++walk.result.fixed_bytes;
        ++i;
        continue;
      }
      const uint64_t field = instruction.pc_relative_offset;
      const uint64_t tail = field + instruction.pc_relative_width;
      auto same = theirs.slice(0, length);
      const bool narrow = instruction.pc_relative_width == 1;
      if (!jump && same && (narrow || instruction.pc_relative_width == 4) &&
          *ours.slice(0, field) == *same->slice(0, field) &&
          *ours.slice(tail, length - tail) == *same->slice(tail, length - tail)) {
        const int64_t theirs_at =
            narrow ? int64_t{*same->read<int8_t>(field)} : int64_t{*same->read<int32_t>(field)};
        landings.push_back({lands, at + length + static_cast<uint64_t>(theirs_at), at});
        walk.result.fixed_bytes += static_cast<uint32_t>(length - instruction.pc_relative_width);
        at += length;
        ++i;
        continue;
      }
    } else {
      uint32_t fixed = 0;
      auto same = theirs.slice(0, length);
      if (same && equal_outside_fields(ours, *same, relocations, start, fixed)) {
        bool consistent = true;
        for (const elf::Relocation* relocation : relocations) {
          if (relocation->type == R_X86_64_TLSDESC_CALL) continue;
          const uint64_t field_offset = relocation->offset - start;
          const auto bias = static_cast<int64_t>(length - field_offset);
          consistent = consistent && walk.field(*relocation, at + field_offset, at + length,
                                                relocation->addend + bias);
          ++walk.result.relocations;
        }
        if (!consistent) return fail(at, "differs");
        walk.result.fixed_bytes += fixed;
        at += length;
        ++i;
        continue;
      }
      if (relocations.size() == 1) {
        const uint64_t field_offset = relocations[0]->offset - start;
        const auto bias = static_cast<int64_t>(length - field_offset);
        const uint64_t left = node.offset + node.size - start;
        auto taken = walk.relaxed(*relocations[0], *section.bytes.slice(start, left), field_offset,
                                  at, relocations[0]->addend + bias);
        if (taken) {
          ++walk.result.relocations;
          walk.result.fixed_bytes += taken->bytes / 2;
          at += taken->bytes;
          i += taken->instructions;
          continue;
        }
        if (!walk.result.reason.empty()) return fail(at, "differs");
      }
    }
    // Padding: as much as there is on either side.
    uint64_t their_length = 0;
    if (instruction.is_nop) {
      ++i;
      continue;
    }
    if (is_nop_at(theirs, their_length)) {
      at += their_length;
      continue;
    }
    return fail(
        at, fmt::format("instruction differs from the object's at {}+{:#x}", node.name, offset));
  }
  walk.result.size = at - address;
  for (const Landing& landing : landings) {
    const bool inside =
        landing.object_offset >= 0 && static_cast<uint64_t>(landing.object_offset) <= node.size;
    if (!inside) continue;
    const uint64_t expected = walk.result.map.shipped(static_cast<uint64_t>(landing.object_offset));
    // Landing on the padding before a loop head is landing on the loop head.
    if (address + expected != landing.shipped_address)
      return fail(landing.at, "a jump lands elsewhere than the object's");
  }
  if (const CodeRange* range = shipped_.range_at(address);
      range && model_.object().symbols()[node.symbols.front()].size &&
      range->size > std::max(node.size, walk.result.size))
    return fail(address, fmt::format("the shipped function has {} bytes, not {}", range->size,
                                     walk.result.size));
  walk.result.equal = true;
  return std::move(walk.result);
}

}  // namespace livecare::match
