// The object of a patch module in the making: changed and new functions, the data that they need,
// the entries of the kernel's tables that are about them, and every reference to what is shipped.
//
// extract() reads the diffs of all units of a fix; what it gives is written by kcare_sections.h.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/kernel/shipped_object.h"
#include "builder/kernel/symvers.h"
#include "elf/writer.h"
#include "objdiff/diff.h"

namespace livecare::builder {

// One object, compiled both ways.
struct KernelUnit {
  std::string source;
  const ShippedObject* home = nullptr;  // what it is part of
  const elf::Image* original = nullptr;
  const elf::Image* patched = nullptr;
  objdiff::Diff diff;
  match::Matcher::ObjectMap map;  // places of the original's symbols in home
};

struct SectionPlace {
  uint32_t section = 0;  // of the writer
  uint64_t offset = 0;
};

struct ReplacedFunction {
  const ShippedObject* home = nullptr;
  ShippedSymbol old;
  std::vector<ShippedSymbol> parts;
  bool init = false;   // what its module runs when it is loaded
  SectionPlace place;  // of the new code
  uint64_t size = 0;
  std::string proof;
};

// A reference that the kernel's own loader cannot resolve.
struct OutsideReference {
  SectionPlace place;
  const ShippedObject* home = nullptr;
  ShippedSymbol symbol;
  int64_t addend = 0;
  uint32_t type = 0;
  bool init = false;  // gone when its module is loaded
};

// Modules that the patch is only for if they are loaded while it is applied, by name, with the
// reasons. Two patches with the same reasons may follow each other over such a module's head.
using FreshModules = std::map<std::string, std::set<std::string>>;

struct KernelHook {
  uint32_t when = 0;  // enum kcare_hook_when
  const ShippedObject* home = nullptr;
  SectionPlace place;
};

struct ModuleImage {
  elf::Writer object{elf::Machine::x86_64, elf::Kind::relocatable};
  std::vector<ReplacedFunction> functions;
  std::vector<OutsideReference> references;
  std::vector<KernelHook> hooks;
  // New functions or variables whose address the patch gives away: what it is stored in may
  // outlive the patch, so the module's memory stays (KCARE_PATCH_STAYS).
  std::set<std::string> given_away;
  FreshModules fresh;
  std::vector<objdiff::Refusal> refused;  // not empty: the rest must not be used
};

struct ExtractInput {
  std::vector<KernelUnit> units;  // only those that change something
  const ExportedSymbols* exported = nullptr;
  const ShippedObject* vmlinux = nullptr;
  // Other shipped modules that own an exported symbol, by name; opened at need.
  std::function<Result<const ShippedObject*>(const std::string& module)> open_module;
  FreshModules fresh;  // as far as it is known
};

// Keys of static branches and calls: the kernel follows them when the patch is loaded.
bool is_read_at_once(std::string_view section);

Result<ModuleImage> extract(const ExtractInput& input);

}  // namespace livecare::builder
