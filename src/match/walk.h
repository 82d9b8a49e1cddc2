// The state of one comparison (compare.h): a position in the object's function and one in the
// shipped file. reference.cc decodes what shipped bytes refer to; relax_x86_64.cc knows the forms
// that linkers rewrite instructions into.
#pragma once

#include <fmt/format.h>

#include "match/compare.h"

namespace livecare::match {

struct Comparer::Walk {
  const ObjectModel& model;
  const ShippedIndex& shipped;
  const std::map<uint32_t, std::map<uint64_t, bool>>& anchors;
  Comparison result;
  bool in_record = false;  // of the sanitizer

  // Everything below returns false after setting result.reason.
  template <class... Args>
  bool differ(uint64_t at, fmt::format_string<Args...> format, Args&&... args) {
    result.reason =
        fmt::format("at {:#x}: ", at) + fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  std::optional<ByteView> bytes(uint64_t address, uint64_t size) const {
    return shipped.file().at_address(address, size);
  }

  // reference.cc: `at` is where the shipped file holds the reference.
  bool refers_to(uint64_t at, const elf::Relocation& relocation, int64_t effective_addend,
                 uint64_t value, int depth);
  bool refers_through_slot(uint64_t at, const elf::Relocation& relocation, int64_t effective_addend,
                           uint64_t slot, int depth);
  bool refers_to_tls(uint64_t at, const elf::Relocation& relocation, int64_t effective_addend,
                     uint64_t offset);
  bool refers_through_tls_slot(uint64_t at, const elf::Relocation& relocation, uint64_t slot);
  bool refers_to_import(uint64_t at, const elf::Relocation& relocation, int64_t effective_addend,
                        const elf::Symbol& symbol);
  bool ends_in(uint64_t address, ByteView tail) const;
  bool merged_content(uint64_t at, uint32_t section, int64_t offset, uint64_t value);
  bool anonymous_content(uint64_t at, uint32_t section, int64_t offset, uint64_t value, int depth);
  bool data_bytes(uint32_t section, uint64_t offset, uint64_t size, uint64_t address, int depth,
                  bool anchored);
  bool data_word(const elf::Relocation& relocation, uint64_t place, uint64_t offset_in_data,
                 uint64_t address, int depth, bool anchored);

  // One relocated field of an instruction whose other bytes are equal; end: of the instruction.
  bool field(const elf::Relocation& relocation, uint64_t field_address, uint64_t end,
             int64_t effective_addend);

  // relax_x86_64.cc: the instruction at `at` is a rewritten form of object bytes `code` with one
  // relocation at field_offset. Returns how many object instructions and shipped bytes it took;
  // empty when it is no known form (reason not set) or refers to the wrong thing (reason set).
  struct Taken {
    uint32_t instructions = 1;
    uint32_t bytes = 0;
  };
  std::optional<Taken> relaxed(const elf::Relocation& relocation, ByteView code,
                               uint64_t field_offset, uint64_t at, int64_t effective_addend);
  std::optional<Taken> relaxed_got(const elf::Relocation& relocation, ByteView code, uint64_t at,
                                   int64_t effective_addend);
  std::optional<Taken> relaxed_tls(const elf::Relocation& relocation, ByteView code, uint64_t at,
                                   int64_t effective_addend);
};

// The kind of a direct jump, whatever its width: condition 0..15, 16 for jmp; the length of the
// instruction and its displacement. Empty for anything else.
struct DirectJump {
  unsigned condition = 0;
  unsigned length = 0;
  int64_t displacement = 0;
};
std::optional<DirectJump> direct_jump(ByteView code);

}  // namespace livecare::match
