// Compares two relocatable objects of one translation unit, before and after a fix, and says which
// functions and data changed, are new, or cannot be patched and why. Pure: no I/O.
// Works best with -ffunction-sections -fdata-sections; says so where an object was made without.
// Thread-safe (no shared state). Errors are for damaged input only; what cannot be patched is a
// Refusal in the value.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "elf/image.h"

namespace livecare::objdiff {

struct Refusal {
  std::string function;  // or variable; may be empty when it is about a section
  std::string section;
  std::string reason;  // one sentence with the remedy
};

// A contiguous part of one section of an object that stands for one function or variable: with
// function and data sections the whole section, otherwise the symbol's extent.
struct Extent {
  uint32_t section = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct Function {
  std::string name;              // of the patched object
  uint32_t original_symbol = 0;  // 0: new
  uint32_t patched_symbol = 0;   // 0: removed
  Extent original;               // of the entry part
  Extent patched;
  // Parts that belong to it and are reached only through it: NAME.cold. Indices of symbols.
  std::vector<uint32_t> original_parts;
  std::vector<uint32_t> patched_parts;
  std::string why;  // "code", "refers to changed data x", "inlined f changed"...
};

enum class DataKind { writable, zero_initialised, read_only, thread_local_data, thread_local_zero };

struct Variable {
  std::string name;
  uint32_t original_symbol = 0;  // 0: new
  uint32_t patched_symbol = 0;
  Extent original;
  Extent patched;
  DataKind kind = DataKind::writable;
  bool kept = false;             // changed_data: the author wants the running value kept
  bool compiler_made = false;    // __func__.0, CSWTCH.3: nobody's variable, but emitted like one
  bool visible_outside = false;  // changed_data: other objects may use the old one
};

// What a symbol of the patched object is in the original object: the same thing (original_symbol),
// or something new (0). Section symbols are resolved at use: see Diff::locate.
struct Correlation {
  std::vector<uint32_t> original_of_patched;  // index: patched symbol
  std::vector<uint32_t> patched_of_original;  // index: original symbol
};

// What a relocation of the patched object really refers to, section symbols resolved.
struct Reference {
  enum class What {
    nothing,
    symbol,     // a named symbol: `symbol` (patched index) + offset; correlate to find the original
    anonymous,  // a place in a section that no named symbol covers: string literal, jump table,
                // .LC constant, exception table: extent in the patched object; always emitted new
  };
  What what = What::nothing;
  uint32_t symbol = 0;
  int64_t offset = 0;  // from the symbol, or from the start of the section
  uint32_t section = 0;
};

// How the fix's author wants changed data handled (docs/patch-authors-guide.md); keyed by name.
enum class DataPolicy { keep_live_value };
struct Options {
  std::map<std::string, DataPolicy> data_policies;
  // Objects of Linux: entries of its tables (kernel_tables.h) go with their functions.
  bool kernel = false;
  // And a part of the kernel itself, not of a module: what runs when a module is unloaded never
  // does.
  bool built_in = false;
};

struct Diff {
  std::vector<Function> changed_functions;
  std::vector<Function> new_functions;      // emitted with the patch: reachable from changed code
  std::vector<Function> removed_functions;  // for information: no longer in the object
  std::vector<Variable> changed_data;       // read-only data that changed; kept data by policy
  std::vector<Variable> new_data;
  std::vector<Refusal> refused;
  Correlation correlation;
  bool anything_changed() const {
    return !changed_functions.empty() || !new_functions.empty() || !changed_data.empty() ||
           !new_data.empty();
  }
};

Result<Diff> diff(const elf::Image& original, const elf::Image& patched,
                  const Options& options = {});

// Resolves the relocations of one object. Borrows the image; immutable, thread-safe.
class Resolver {
 public:
  static Result<Resolver> make(const elf::Image& object);
  Resolver(Resolver&&) noexcept;
  Resolver& operator=(Resolver&&) noexcept;
  ~Resolver();

  Reference resolve(const elf::Relocation& relocation, uint32_t in_section) const;
  // The function, variable, literal or unnamed object that covers a place; empty in sections that
  // are not loaded.
  std::optional<Extent> extent_at(uint32_t section, uint64_t offset) const;

 private:
  struct State;
  explicit Resolver(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Resolves a relocation's symbol + addend of `object` to what it refers to. instruction_bias is
// what the CPU adds to the addend of a PC-relative field (4 on x86-64 plus trailing immediate) and
// is taken off. Reads the whole object each time: for more than a few, make a Resolver.
Reference resolve(const elf::Image& object, const elf::Relocation& relocation, uint32_t in_section);

}  // namespace livecare::objdiff
