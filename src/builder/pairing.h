// Which file of a build is the one that was shipped: the shipped file is stripped and has no source
// name in it, and a build can make several files of the same name (flavours, static and shared).
// Decided by soname or file name, then by how many of the loadable sections are equal.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "elf/image.h"

namespace livecare::builder {

// What pairing looks at, so that an image need not stay in memory.
struct Fingerprint {
  std::string soname;
  std::string file_name;
  std::string build_id;
  bool has_symbols = false;  // not stripped
  struct Section {
    std::string name;
    uint64_t size = 0;
    std::array<uint8_t, 32> digest{};
  };
  std::vector<Section> sections;  // those that a process maps: code, constants, data, symbols

  // What users call it: the soname, else the file name.
  const std::string& public_name() const { return soname.empty() ? file_name : soname; }
};
Fingerprint fingerprint_of(const elf::Image& image, const std::filesystem::path& path);

struct Likeness {
  uint32_t equal = 0;      // sections that are equal byte for byte
  uint32_t same_size = 0;  // sections that at least have the same size
  uint32_t compared = 0;
  std::vector<std::string> different;  // names

  bool has_symbols = false;  // of the rebuilt file

  // Higher is closer; of equals the one with a symbol table.
  uint32_t score() const { return equal * 8 + same_size * 2 + (has_symbols ? 1 : 0); }
  std::string text() const;  // "identical: 8 sections equal" or "differs in .text, .rodata"
};
Likeness compare(const Fingerprint& shipped, const Fingerprint& rebuilt);

struct Pair {
  size_t candidate = 0;
  Likeness likeness;
};
// The candidate for a shipped file; empty when none has its name and none is equal to it.
std::optional<Pair> find_pair(const Fingerprint& shipped,
                              const std::vector<Fingerprint>& candidates);

// 64-bit programs and shared objects below a directory (no symbolic links followed).
std::vector<std::filesystem::path> find_elf_files(const std::filesystem::path& directory);

// True for the first bytes of a 64-bit little-endian ELF file; type: ET_REL, ET_EXEC or ET_DYN.
bool is_elf64(const std::filesystem::path& path, uint16_t* type = nullptr);

}  // namespace livecare::builder
