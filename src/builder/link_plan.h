// The image in the making: what link.cc, link_decide.cc, link_collect.cc, link_tls.cc,
// link_unwind.cc, link_layout.cc and link_functions.cc share. Internal to the image linker.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/detour.h"
#include "builder/link.h"
#include "builder/link_imports.h"
#include "match/object_model.h"

namespace livecare::builder {

enum class Place : uint8_t { text, rodata, data, tls };

// Where a reference goes, before addresses are known.
struct Dest {
  enum class What : uint8_t {
    atom,            // a piece of the image
    got,             // an entry of the image's GOT
    stub,            // a PLT stub of the image
    symbol,          // a patchfmt symbol: outside of the image
    constant,        // no address at all: the addend is the value
    new_tls_offset,  // no address either: an atom's offset in the new thread-local block
  };
  What what = What::constant;
  uint32_t index = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): false positive of clang-tidy 14
  auto operator<=>(const Dest&) const = default;
};

struct Fixup {
  patchfmt::RelocationKind kind = patchfmt::RelocationKind::absolute64;
  uint64_t offset = 0;  // in the atom
  Dest dest;
  int64_t addend = 0;
};

// A piece of a patched object that goes into the image as a whole.
struct Atom {
  std::string name;
  uint32_t unit = 0;
  uint32_t section = 0;
  uint64_t offset = 0;  // in the section
  uint64_t size = 0;
  uint64_t alignment = 1;
  Place place = Place::rodata;
  bool function = false;
  bool kept = false;  // LIVECARE_KEEP
  Bytes content;      // empty: zeros
  std::vector<Fixup> fixups;
  uint64_t image_offset = 0;  // in the new thread-local block for Place::tls
};

struct GotEntry {
  std::vector<Fixup> words;  // one, or two for a pair of module and offset
  uint64_t image_offset = 0;
};

struct Stub {
  uint32_t got = 0;
  std::string name;
  uint64_t image_offset = 0;
};

// What a node of a patched object is for the image.
struct Decision {
  bool refused = false;
  std::optional<uint32_t> atom;    // in the image
  std::optional<uint32_t> symbol;  // outside; a changed function has both
  int64_t atom_offset = 0;         // of the node's start in the atom
};

enum class Role : uint8_t { existing, changed_function, part, new_thing, changed_data };

struct FdeSource {
  uint64_t offset = 0;  // of the entry in .eh_frame
  uint64_t size = 0;    // with the length word
  uint64_t cie = 0;     // offset of its CIE
};

struct UnitState {
  const Unit* unit = nullptr;
  std::unique_ptr<match::ObjectModel> model;                // of the patched object
  match::Matcher::ObjectMap map;                            // of the original
  std::map<uint32_t, Role> roles;                           // by node
  std::map<uint32_t, Decision> decisions;                   // by node
  std::map<std::pair<uint32_t, uint64_t>, uint32_t> atoms;  // by section and offset
  uint32_t eh_frame = 0;                                    // section, 0: none
  std::map<uint64_t, uint64_t> cies;                        // offset -> size
  std::map<uint32_t, std::vector<FdeSource>> fdes;          // by section of the code
};

struct FdeOut {
  uint32_t unit = 0;
  FdeSource source;
};

class Linker {
 public:
  explicit Linker(const LinkInput& input);
  Result<LinkOutput> run();

 private:
  // link.cc
  Status open_units();
  void assign_roles(uint32_t unit);
  void check_constructors(const UnitState& state);
  void add_hooks(uint32_t unit);
  void refuse(std::string_view function, std::string_view section, std::string reason);

  // link_decide.cc: what is a node, and where?
  const Decision& decide(uint32_t unit, uint32_t node);
  Decision compute(uint32_t unit, uint32_t node);
  Decision emit(uint32_t unit, uint32_t node);
  std::optional<Decision> existing(uint32_t unit, uint32_t node, uint32_t original);
  std::optional<Decision> by_name(const match::Node& node, std::string_view name, bool weak);
  std::optional<Decision> placed_in_another_unit(std::string_view name);
  bool may_copy(const UnitState& state, const match::Node& node, uint32_t original) const;
  uint32_t original_of(const UnitState& state, const match::Node& node) const;
  uint32_t symbol_for(const std::string& name, const match::Placement& placement);
  uint32_t import_symbol(const std::string& name, const std::string& version, bool weak);
  uint32_t intern(patchfmt::Symbol symbol);

  // link_collect.cc: atoms and their references, until nothing new is reached
  uint32_t add_atom(uint32_t unit, uint32_t section, uint64_t offset, uint64_t size,
                    std::string name);
  uint32_t atom_for_anonymous(uint32_t unit, uint32_t section, uint64_t offset);
  void collect();
  void collect_atom(uint32_t atom);
  void lower(uint32_t atom, const elf::Relocation& relocation, uint64_t instruction_start,
             uint64_t instruction_end);
  struct Reached {
    Dest dest;
    int64_t addend = 0;
    bool ok = true;
  };
  enum class Use { branch, address };
  Reached reach(uint32_t atom, const elf::Relocation& relocation, int64_t bias, Use use);
  void lower_pc32(uint32_t atom, const elf::Relocation& relocation, uint64_t instruction_start,
                  uint64_t instruction_end);
  void lower_got(uint32_t atom, const elf::Relocation& relocation, int64_t bias);
  void refuse_relocation(uint32_t atom, const elf::Relocation& relocation, std::string_view why);
  uint32_t got_entry(std::vector<Fixup> words);
  uint32_t stub_for(Dest dest, std::string_view name);
  bool needs_stub(Dest dest) const;
  const elf::Image& object_of(uint32_t atom) const {
    return *units_[atoms_[atom].unit].unit->patched;
  }

  // link_tls.cc
  void check_thread_local_constructors(const UnitState& state);
  void keep_for_destructors();
  bool lower_tls(uint32_t atom, const elf::Relocation& relocation, uint64_t instruction_start,
                 uint64_t instruction_end);
  void lower_block_offset(uint32_t atom, const elf::Relocation& relocation, Dest dest,
                          uint64_t instruction_start, uint64_t instruction_end);
  std::optional<Dest> tls_dest(uint32_t atom, const elf::Relocation& relocation);
  Dest tls_module_base(bool only_new);

  // link_detour.cc
  struct FarOperand {
    Far far;
    Fixup word, value;  // of the detour; their offsets are filled in
  };
  struct ThreadLocals {
    bool existing = false, fresh = false;
  };
  uint32_t add_code(uint32_t origin, std::string name, Bytes code);
  bool take_detour(uint32_t atom, const elf::Relocation& relocation, uint64_t instruction_start,
                   uint64_t instruction_end, const FarOperand& operand);
  void lower_far(uint32_t atom, const elf::Relocation& relocation, patchfmt::RelocationKind kind,
                 Dest dest, int64_t addend, uint64_t instruction_start, uint64_t instruction_end);
  ThreadLocals thread_locals_of(uint32_t atom);
  uint32_t distance_word();
  void lower_base_call(uint32_t atom, const elf::Relocation& relocation);
  void add_base_unwind(uint32_t table);

  // link_unwind.cc
  void index_unwind(UnitState& state);
  void add_unwind(uint32_t atom);
  bool lower_type_entry(uint32_t atom, const elf::Relocation& relocation);
  void adapt_exception_tables();
  uint32_t build_eh_frame();

  // link_functions.cc
  void patch_function(uint32_t unit, const objdiff::Function& function);
  bool check_entry(const objdiff::Function& function, const patchfmt::FunctionPatch& patch);
  bool check_folded(uint32_t unit, const objdiff::Function& function, uint64_t address);
  void check_jumps_into_entries();

  // link_layout.cc
  void lay_out();
  void apply();
  void apply_fixup(Bytes& bytes, uint64_t base, uint64_t at, const Fixup& fixup);
  std::optional<uint64_t> image_offset(const Dest& dest) const;
  void describe();

  const LinkInput& input_;
  ImportVersions versions_;
  std::vector<UnitState> units_;
  std::vector<Atom> atoms_;
  std::vector<uint32_t> work_;  // atoms to be looked through
  std::vector<GotEntry> got_;
  std::map<std::vector<std::tuple<patchfmt::RelocationKind, Dest, int64_t>>, uint32_t> got_index_;
  std::vector<Stub> stubs_;
  std::map<Dest, uint32_t> stub_index_;
  std::vector<FdeOut> fdes_;
  std::set<std::pair<uint32_t, uint64_t>> exception_tables_;  // atom and offset of each start
  std::set<uint32_t> indirect_types_;                         // atoms of those with far types
  std::map<std::pair<uint32_t, std::string>, ThreadLocals> thread_locals_;  // by unit and function
  std::optional<uint32_t> distance_word_;  // atom: where the new block is, from the target's
  std::optional<uint32_t> base_function_;  // atom: gets the target's block and fills that in
  bool base_call_follows_ = false;         // the next call gets the base for both blocks
  std::map<std::tuple<patchfmt::SymbolKind, std::string, std::string, uint64_t>, uint32_t>
      symbol_index_;
  std::map<std::string, std::pair<uint32_t, uint32_t>, std::less<>> new_globals_;  // unit, node
  std::map<std::string, uint32_t, std::less<>> emitted_globals_;                   // atom
  struct PendingPatch {
    patchfmt::FunctionPatch patch;
    uint32_t atom;
    int64_t atom_offset;
  };
  std::vector<PendingPatch> patches_;
  struct PendingHook {
    patchfmt::Hook hook;
    uint32_t atom;
    int64_t atom_offset;
  };
  std::vector<PendingHook> hooks_;
  LinkOutput output_;
};

}  // namespace livecare::builder
