// An ELF file, parsed once into plain values: sections, symbols, relocations, segments, notes.
// The only user of libelf; everybody else sees these structs. 64-bit little-endian only.
//
// Ownership: an Image owns its bytes; every ByteView and string_view it hands out lives as long as
// the Image (moving the Image keeps them valid). Immutable after parsing, so safe to share between
// threads. Limits: see the constants; a damaged file is an error, never a crash (fuzzed).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::elf {

inline constexpr uint64_t file_bytes_max = uint64_t{2} << 30;
inline constexpr uint32_t sections_max = 2'000'000;
inline constexpr uint32_t symbols_max = 20'000'000;

enum class Kind { relocatable, executable, shared, core };
enum class Machine { x86_64, aarch64 };

struct Section {
  uint32_t index = 0;
  std::string_view name;
  uint32_t type = 0;   // SHT_*
  uint64_t flags = 0;  // SHF_*
  uint64_t address = 0;
  uint64_t offset = 0;
  uint64_t size = 0;  // in memory; bytes is empty for SHT_NOBITS
  uint64_t alignment = 1;
  uint64_t entry_size = 0;
  uint32_t link = 0;
  uint32_t info = 0;
  uint32_t group = 0;  // index of the SHT_GROUP section it belongs to, 0: none
  ByteView bytes;
};

// Section numbers of symbols that live in no section.
inline constexpr uint32_t section_undefined = 0;
inline constexpr uint32_t section_absolute = 0xffff'fff1;
inline constexpr uint32_t section_common = 0xffff'fff2;
// Defined, but where cannot be told: the file has no section headers, or a reserved number.
inline constexpr uint32_t section_unknown = 0xffff'fff3;

struct Symbol {
  uint32_t index = 0;
  std::string_view name;         // for STT_SECTION without a name: the section's name
  std::string_view version;      // "GLIBC_2.34", empty without one (dynamic symbols only)
  bool version_hidden = false;   // foo@VERSION, not foo@@VERSION
  std::string_view source_file;  // STT_FILE that precedes a local symbol, else empty
  uint64_t value = 0;
  uint64_t size = 0;
  uint8_t type = 0;        // STT_*
  uint8_t bind = 0;        // STB_*
  uint8_t visibility = 0;  // STV_*
  uint32_t section = 0;    // SHN_XINDEX resolved; see the constants above

  bool is_undefined() const { return section == section_undefined; }
};

struct Relocation {
  uint64_t offset = 0;  // in the section (relocatable) or a virtual address (executable, shared)
  uint32_t type = 0;    // R_X86_64_*, R_AARCH64_*
  uint32_t symbol = 0;  // index into symbols() or dynamic_symbols()
  int64_t addend = 0;
};

struct Segment {
  uint32_t type = 0;   // PT_*
  uint32_t flags = 0;  // PF_*
  uint64_t offset = 0;
  uint64_t address = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
  uint64_t alignment = 0;
};

class Image {
 public:
  static Result<Image> open(const std::filesystem::path& path);
  // name is what error messages call it.
  static Result<Image> parse(Bytes bytes, std::string name);

  Image(Image&&) noexcept;
  Image& operator=(Image&&) noexcept;
  ~Image();

  const std::string& name() const;
  Kind kind() const;
  Machine machine() const;
  uint64_t entry() const;
  ByteView bytes() const;  // the whole file

  const std::vector<Section>& sections() const;         // [0] is the null section
  const Section* section(std::string_view name) const;  // the first of that name, or nullptr
  const std::vector<Symbol>& symbols() const;           // .symtab, [0] is the null symbol
  const std::vector<Symbol>& dynamic_symbols() const;   // .dynsym, with versions
  const std::vector<Segment>& segments() const;

  // Relocations that apply to a section of a relocatable file, in order of offset; empty if none.
  // Of a file linked with --emit-relocs as well; offset then is a virtual address.
  const std::vector<Relocation>& relocations(uint32_t section) const;
  // .rela.dyn and .rela.plt of an executable or shared file (dynamic_symbols() numbers).
  const std::vector<Relocation>& dynamic_relocations() const;

  std::string build_id() const;  // lowercase hex, empty without one
  std::string soname() const;
  std::vector<std::string> needed() const;
  std::optional<uint64_t> dynamic_value(int64_t tag) const;  // the first DT_* of that tag

  // File-backed bytes at a virtual address of a loaded image; empty optional when any byte lies
  // outside the file-backed part of its PT_LOAD segment.
  std::optional<ByteView> at_address(uint64_t address, uint64_t size) const;

 private:
  struct State;
  explicit Image(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace livecare::elf
