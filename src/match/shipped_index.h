// What the shipped file says about itself without a symbol table: function ranges of .eh_frame,
// dynamic relocations by place, PLT stubs, dynamic symbols by name. Borrows the image.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "elf/image.h"
#include "match/fde.h"

namespace livecare::match {

class ShippedIndex {
 public:
  explicit ShippedIndex(const elf::Image& file);

  const elf::Image& file() const { return file_; }

  // The dynamic relocation that is applied to the word at address, or nullptr.
  const elf::Relocation* dynamic_at(uint64_t address) const;
  // The dynamic symbol of a relocation, or nullptr when it has none.
  const elf::Symbol* symbol_of(const elf::Relocation& relocation) const;

  // When address is a PLT stub: the address of the GOT word that it jumps through.
  std::optional<uint64_t> plt_slot(uint64_t address) const;

  const elf::Section* section_at(uint64_t address) const;
  bool is_code(uint64_t address) const;

  // Function ranges of .eh_frame. range_at: the one that starts there, or nullptr.
  const std::vector<CodeRange>& ranges() const { return ranges_; }
  const CodeRange* range_at(uint64_t address) const;
  // Places where a function may begin: FDE starts and dynamic symbols.
  const std::vector<uint64_t>& starts() const { return starts_; }

  // Dynamic symbols (defined or not) of that name, any version.
  const std::vector<const elf::Symbol*>& dynamic_symbols(std::string_view name) const;

  // Dynamic symbols of functions that are defined at address.
  std::vector<const elf::Symbol*> exported_at(uint64_t address) const;

  // Distance from the thread pointer to offset 0 of the file's TLS block when the file is the
  // executable (local-exec); empty without PT_TLS.
  std::optional<int64_t> local_exec_base() const;
  std::optional<uint64_t> tls_size() const;

 private:
  const elf::Image& file_;
  std::vector<CodeRange> ranges_;
  std::vector<uint64_t> starts_;
  std::vector<const elf::Section*> by_address_;
  std::unordered_map<uint64_t, const elf::Relocation*> dynamic_;
  std::unordered_multimap<uint64_t, const elf::Symbol*> exported_;
  std::unordered_map<std::string_view, std::vector<const elf::Symbol*>> names_;
};

}  // namespace livecare::match
