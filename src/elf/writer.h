// Writes an ELF file from plain values: a relocatable object, or an executable whose sections have
// addresses (one PT_LOAD for each loaded one). What is written can be read back with Image::parse.
//
// Not thread-safe. Indices are those that add_* returned; they hold for one writer only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "elf/image.h"

namespace livecare::elf {

struct NewRelocation {
  uint64_t offset = 0;
  uint32_t type = 0;
  uint32_t symbol = 0;  // index of add_symbol; symbols of sections: section_symbol()
  int64_t addend = 0;
};

struct NewSection {
  std::string name;
  uint32_t type = 0;
  uint64_t flags = 0;
  uint64_t address = 0;
  uint64_t alignment = 1;
  uint64_t entry_size = 0;
  uint64_t size = 0;  // of SHT_NOBITS; otherwise that of bytes
  Bytes bytes;
  std::vector<NewRelocation> relocations;
};

struct NewSymbol {
  std::string name;
  uint8_t bind = 0;
  uint8_t type = 0;
  uint8_t visibility = 0;
  uint32_t section = 0;  // index of add_section, or one of the constants of image.h
  uint64_t value = 0;
  uint64_t size = 0;
};

class Writer {
 public:
  Writer(Machine machine, Kind kind) : machine_(machine), kind_(kind) {}

  uint32_t add_section(NewSection section);  // the first is 1
  uint32_t add_symbol(NewSymbol symbol);     // the first is 1
  uint32_t section_symbol(uint32_t section);
  NewSection& section(uint32_t index) { return sections_[index - 1]; }
  uint32_t section_count() const { return static_cast<uint32_t>(sections_.size()); }

  // Relocations are left out of an executable.
  Bytes write() const;

 private:
  Machine machine_;
  Kind kind_;
  std::vector<NewSection> sections_;
  std::vector<NewSymbol> symbols_;
  std::vector<uint32_t> section_symbols_;
};

}  // namespace livecare::elf
