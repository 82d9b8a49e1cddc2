// An object cut into atoms: functions, variables, string literals, constants and the unnamed pieces
// between them, each with what it refers to. Everything else in this room works on atoms.
//
// Borrows the image. Immutable after make(), so thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "elf/image.h"
#include "objdiff/code.h"
#include "objdiff/diff.h"
#include "objdiff/special_sections.h"

namespace livecare::objdiff {

using AtomId = uint32_t;
inline constexpr AtomId no_atom = ~0u;

enum class AtomKind {
  function,   // code with a symbol
  code,       // code without one
  variable,   // data with a symbol
  string,     // one entry of a mergeable string section
  constant,   // one entry of a mergeable constant section
  anonymous,  // data without a symbol: jump tables, aggregates, exception tables
};

// What an instruction or a word of data refers to, after section symbols are resolved.
struct Ref {
  enum class Target { nothing, external, absolute, atom };
  uint64_t offset = 0;  // of the field, in the atom
  uint32_t type = 0;    // relocation type; 0: a local reference the assembler resolved
  uint8_t width = 0;    // bytes of the field
  uint32_t mask = ~0u;  // as in RelocShape
  bool pc_relative = false;
  uint16_t access_size = 0;  // as in CodeInstruction
  bool from_relocation = true;
  Target target = Target::nothing;
  AtomId atom = no_atom;
  uint32_t symbol = 0;  // of the relocation (external, absolute: names the target)
  int64_t at = 0;       // offset in the target
};

struct Atom {
  AtomKind kind = AtomKind::anonymous;
  SectionRole role = SectionRole::data;
  uint32_t section = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint32_t symbol = 0;             // the best of its names; 0: none
  std::vector<uint32_t> symbols;   // all at its start
  std::vector<uint32_t> interior;  // symbols strictly inside
  std::string_view name;           // of symbol
  bool writable = false;
  bool zero = false;  // SHT_NOBITS
  bool thread_local_ = false;
  bool undecodable = false;  // code that could not be walked to its end
  std::vector<Ref> refs;     // in order of offset
  // Exception table of a function: the unnamed atom and the place in it.
  AtomId lsda = no_atom;
  uint64_t lsda_at = 0;
  std::string_view personality;

  uint64_t end() const { return offset + size; }
  bool named() const { return symbol != 0; }
  bool is_code() const { return kind == AtomKind::function || kind == AtomKind::code; }
};

struct Place {
  AtomId atom = no_atom;
  int64_t at = 0;
};

class ObjectMap {
 public:
  static Result<ObjectMap> make(const elf::Image& image);

  const elf::Image& image() const { return *image_; }
  const std::vector<Atom>& atoms() const { return atoms_; }
  const Atom& atom(AtomId id) const { return atoms_[id]; }
  const elf::Section& section_of(const Atom& atom) const;
  const elf::Symbol& symbol(uint32_t index) const { return image_->symbols()[index]; }
  // Empty for SHT_NOBITS.
  ByteView bytes(const Atom& atom) const;

  // Where a defined symbol lies; no_atom for section symbols, undefined, absolute and common ones.
  Place place_of(uint32_t symbol) const { return places_[symbol]; }
  // The atom that covers an offset of a section; the last one for its end, the first one (with a
  // negative offset) before its start.
  Place find(uint32_t section, int64_t offset) const;
  std::span<const AtomId> atoms_of_section(uint32_t section) const;

  // Resolves any relocation of the object (also of sections that the map ignores).
  Reference resolve(const elf::Relocation& relocation, uint32_t in_section) const;
  Extent extent(AtomId id) const;

 private:
  friend class AtomCutter;
  friend class RefReader;
  explicit ObjectMap(const elf::Image& image) : image_(&image) {}

  const elf::Image* image_;
  std::vector<Atom> atoms_;
  std::vector<std::vector<AtomId>> by_section_;  // in order of offset
  std::vector<Place> places_;                    // by symbol
};

}  // namespace livecare::objdiff
