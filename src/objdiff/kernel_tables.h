// Sections of Linux objects that are tables of entries about places in code: the bug table, static
// keys, alternatives, exception fixups, ORC, return sites ... An entry belongs to the function that
// holds the place; the kernel reads a module's tables as it reads its own. So a patch brings the
// entries of the functions that it brings, and no others.
//
// Borrows the image; immutable, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "elf/image.h"

namespace livecare::objdiff {

struct KernelTable {
  std::string_view section;
  // What an entry can measure, most likely first; 0 ends the list. The one is taken that the
  // relocations agree with.
  uint8_t entry_bytes[3];
  uint8_t owner;  // offset of the reference to the place in code
  // Made anew by compiler and objtool from the code alone: equal code has equal entries.
  bool follows_from_code;
  int8_t line = -1;         // from the end of an entry, that of a 16-bit line number
  int8_t replacement = -1;  // offset of a reference to code that is copied over the place; its
                            // length is the last byte of the entry
};

struct KernelEntry;
// Offset of the entry's line number; -1 without one.
int line_offset(const KernelEntry& entry);

// Null for a section that is no such table.
const KernelTable* kernel_table(std::string_view section);
std::span<const KernelTable> kernel_tables();

struct KernelEntry {
  const KernelTable* table = nullptr;
  uint32_t section = 0;
  uint64_t offset = 0;  // in the table's section
  uint64_t size = 0;
  uint32_t owner_section = 0;
  uint64_t owner_offset = 0;  // of the place, in its section
};

// All entries of the object, in order of section and offset. An error when a table's content does
// not agree with what is known of it: then nothing about it is known.
Result<std::vector<KernelEntry>> read_kernel_entries(const elf::Image& image);

// The replacement of an alternative: where it lies.
struct Replacement {
  uint32_t section = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};
std::optional<Replacement> replacement_of(const elf::Image& image, const KernelEntry& entry);

// Code that runs once (at boot or when a module is loaded or unloaded), or that must never be
// traced: never replaced. Empty when the section is neither; otherwise why.
std::string_view kernel_code_refusal(std::string_view section);

// What runs when a module is unloaded, and what only that uses.
bool is_exit_section(std::string_view section);
// What runs when a module is loaded, or the kernel boots, and is gone then.
bool is_init_section(std::string_view section);
// A module's own entries have these names, whatever else they are called: struct module points to
// them, so that they can be redirected without ftrace.
inline constexpr std::string_view module_init_name = "init_module";
inline constexpr std::string_view module_exit_name = "cleanup_module";
// Keeps a function from being dropped by the compiler; nobody reads it.
bool is_addressable_mark(std::string_view section, std::string_view name);

// Neither compared nor emitted: dropped by the kernel's own linker script; what is said about a
// module to whoever loads it, which was read then; or exports, which only modules that are linked
// later look at: to them the kernel exports what it did.
bool is_dropped_by_kernel(std::string_view section);

// Entries whose symbols carry a counter or a line in their names: compared in order, without names.
bool is_nameless_in_kernel(std::string_view section, std::string_view name);

// Whether a message was printed already, or how often: static locals that macros make in every
// place that prints. One that cannot be told from its namesakes may be new: a message is printed
// once more.
bool is_message_state(std::string_view name);

// What the undefined-behaviour sanitizer says of a check: data without a symbol, which the code
// gives to a function that prints; writable, since that notes that it did. One that comes with a
// patch is as good as the shipped one: a message may be printed once more.
bool is_sanitizer_record(std::string_view section);
// Of such a record: where line and column lie, which are no change. Empty size: it has none.
struct SourcePlace {
  uint64_t offset = 0;
  uint64_t size = 0;
};
SourcePlace source_place_of(std::string_view record_section);

inline constexpr std::string_view dynamic_debug_section = "__dyndbg";
inline constexpr std::string_view replacement_section = ".altinstr_replacement";
// Of static_cpu_has(): tests of a CPU's feature, reached by a jump until the kernel has patched
// that away. Each jumps back into the function that it is a part of.
inline constexpr std::string_view feature_test_section = ".altinstr_aux";
// Numbers of types, which are filled in when the kernel is linked: lists with a name, of entries
// whose names end in a counter and a line.
inline constexpr std::string_view type_ids_section = ".BTF_ids";
inline constexpr std::string_view per_cpu_section = ".data..percpu";

}  // namespace livecare::objdiff
