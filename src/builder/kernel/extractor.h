// How extract() works: see module_image.cc. Internal to the kernel builder.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "builder/kernel/module_image.h"
#include "insn/decode.h"
#include "objdiff/kernel_tables.h"

namespace livecare::builder {

class Extractor {
 public:
  explicit Extractor(const ExtractInput& input) : input_(input) {}
  Result<ModuleImage> run();

 private:
  struct UnitState {
    const KernelUnit* unit = nullptr;
    std::unique_ptr<objdiff::Resolver> resolver;                  // of the patched object
    std::vector<objdiff::KernelEntry> entries;                    // of the patched object
    std::map<uint32_t, const objdiff::Function*> changed, fresh;  // by patched symbol
    std::map<uint32_t, const objdiff::Function*> parts;
    std::set<uint32_t> emitted_data;  // changed and new, by patched symbol
  };
  // A part of a section of a patched object that comes with the module.
  struct Piece {
    uint32_t unit = 0;
    uint32_t section = 0;
    uint64_t offset = 0;
    uint64_t size = 0;
    bool code = false;
    SectionPlace place;
    std::string owner;  // for messages
  };
  enum class Use { branch, address, table };
  // Where a reference of the module goes.
  struct Reached {
    enum class What { refused, inside, exported, outside } what = What::refused;
    SectionPlace place;  // inside: of the symbol
    std::string name;    // exported
    const ShippedObject* home = nullptr;
    ShippedSymbol symbol;
    bool init = false;          // outside: gone when its module is loaded
    uint64_t symbol_value = 0;  // of the relocation's target symbol, in its section
    std::string fresh;          // a new function or variable: its name
  };

  Status open_units();
  void add_functions(uint32_t unit);
  void add_hooks(uint32_t unit);  // hooks.cc
  void replace(uint32_t unit, const objdiff::Function& function);
  // Redirected through struct module.
  bool is_module_entry(uint32_t unit, const objdiff::Function& function) const;
  void note_init(uint32_t unit, const objdiff::Function& function);
  void check_entry(uint32_t unit, const objdiff::Function& function);

  // module_image.cc: pieces
  uint32_t piece_for(uint32_t unit, objdiff::Extent extent, const std::string& owner);
  uint32_t function_piece(uint32_t unit, const objdiff::Extent& extent, std::string_view name);
  uint32_t out_section(const elf::Section& like);
  uint32_t table_section(const elf::Section& like);
  void emit(uint32_t piece);
  void emit_entries(uint32_t piece);
  void emit_entry(uint32_t piece, const objdiff::KernelEntry& entry);
  void emit_orc(UnitState& state, const objdiff::KernelEntry& entry);
  void relocate_jumps_out(const Piece& piece);
  void relocate_jump_out(const Piece& piece, const insn::Instruction& instruction, uint64_t at,
                         int64_t target);
  void check_early_patching();
  void check_fresh();

  // reach.cc: references
  void relocate(uint32_t unit, const elf::Relocation& relocation, uint32_t in_section,
                SectionPlace place, Use use, const std::string& owner);
  Reached reach(uint32_t unit, const elf::Relocation& relocation, uint32_t in_section, Use use,
                const std::string& owner);
  Reached reach_undefined(uint32_t unit, uint32_t symbol, const std::string& owner);
  Reached reach_code(uint32_t unit, uint32_t symbol, int64_t offset, Use use,
                     const std::string& owner);
  Reached reach_entry(uint32_t unit, uint32_t section, int64_t offset, const std::string& owner);
  Reached reach_data(uint32_t unit, uint32_t symbol, const std::string& owner);
  Reached reach_shipped(uint32_t unit, uint32_t patched_symbol, const std::string& owner);
  Reached place_in(const ShippedObject& home, uint64_t address, std::string_view name,
                   const std::string& owner);
  Reached in_piece(uint32_t piece, uint64_t section_offset);
  bool is_branch(const elf::Relocation& relocation) const;
  bool takes_address(uint32_t unit, const elf::Relocation& relocation, uint32_t in_section,
                     Use use) const;
  void refuse(std::string_view function, std::string_view section, std::string reason);

  const ExtractInput& input_;
  std::vector<UnitState> units_;
  std::vector<Piece> pieces_;
  std::map<std::tuple<uint32_t, uint32_t, uint64_t>, uint32_t> piece_index_;
  std::deque<uint32_t> open_;
  // Where entries of the kernel's tables went: by unit, section and offset.
  std::map<std::tuple<uint32_t, uint32_t, uint64_t>, SectionPlace> entry_places_;
  std::map<std::string, uint32_t, std::less<>> out_sections_;
  std::map<std::string, uint32_t, std::less<>> exported_symbols_;
  struct NewGlobal {
    uint32_t unit = 0;
    uint32_t symbol = 0;
  };
  std::map<std::string, NewGlobal, std::less<>> new_globals_;
  // Places that the loader rewrites before references are resolved.
  struct EarlyRange {
    SectionPlace place;
    uint64_t size = 0;
    std::string_view table;
  };
  std::vector<EarlyRange> early_;
  ModuleImage image_;
};

}  // namespace livecare::builder
