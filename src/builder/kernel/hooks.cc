#include <elf.h>

#include <algorithm>
#include <array>

#include "builder/kernel/extractor.h"

namespace livecare::builder {
namespace {

constexpr std::string_view hook_prefix = ".livecare.hook.";
// In the order of enum kcare_hook_when.
constexpr auto hook_names =
    std::to_array<std::string_view>({"pre_switch", "post_switch", "pre_unload", "post_unload"});

bool is_known(std::string_view section) {
  return section == ".livecare.data_keep" || section == ".livecare.layout_ok";
}

}  // namespace

void Extractor::add_hooks(uint32_t unit) {
  const KernelUnit& from = *units_[unit].unit;
  for (const elf::Section& section : from.patched->sections()) {
    if (!section.name.starts_with(".livecare") || is_known(section.name)) continue;
    std::string_view when =
        section.name.starts_with(hook_prefix) ? section.name.substr(hook_prefix.size()) : "";
    auto known = std::find(hook_names.begin(), hook_names.end(), when);
    if (known == hook_names.end()) {
      refuse("", section.name, "is nothing that a kernel patch can say; see kernel_patch.h");
      continue;
    }
    for (const elf::Relocation& relocation : from.patched->relocations(section.index)) {
      objdiff::Reference reference = units_[unit].resolver->resolve(relocation, section.index);
      auto fresh = units_[unit].fresh.find(reference.symbol);
      if (reference.what != objdiff::Reference::What::symbol || reference.offset != 0 ||
          fresh == units_[unit].fresh.end()) {
        refuse("", section.name, "a hook has to be a new function of the same file");
        continue;
      }
      const objdiff::Function& function = *fresh->second;
      uint32_t piece = function_piece(unit, function.patched, function.name);
      SectionPlace place = pieces_[piece].place;
      place.offset += function.patched.offset - pieces_[piece].offset;
      image_.hooks.push_back({static_cast<uint32_t>(known - hook_names.begin()), from.home, place});
    }
  }
}

}  // namespace livecare::builder
