// What a section of an object is for. Ordinary code and data go by their flags; everything with a
// meaning of its own has a row in the table in special_sections.cc. A section that is loaded, has
// no row and is not ordinary is `other`: if it differs, the differ refuses, naming it.
#pragma once

#include <optional>
#include <string_view>

#include "elf/image.h"

namespace livecare::objdiff {

enum class SectionRole {
  ignored,  // not loaded, or a note, or made anew with the patch (.eh_frame)
  code,
  data,             // also read-only
  exception_table,  // .gcc_except_table: belongs to functions
  initialisers,     // run at load or unload: never run for a patch
  author,           // .livecare.*: hooks and policies, for the patch only
  other,
};

SectionRole section_role(const elf::Section& section);

// Written by the program while it runs; .data.rel.ro is not.
bool is_writable_data(const elf::Section& section);

}  // namespace livecare::objdiff
