#include "objdiff/special_sections.h"

#include <elf.h>

namespace livecare::objdiff {
namespace {

struct Row {
  std::string_view name;
  bool prefix;  // the name, or the name and a dot and more
  SectionRole role;
};

// Compiler, objtool or linker make unwind tables and lists of places to trace or to harden anew for
// the code of a patch.
//
// To teach the differ a section with entries of its own (the kernel's alternatives, static keys,
// bug table ...): give it a row and, if its entries belong to functions, a reader in
// entry_tables.cc.
constexpr Row rows[] = {
    {".eh_frame", false, SectionRole::ignored},
    {".sframe", false, SectionRole::ignored},
    {".note", true, SectionRole::ignored},
    {".stapsdt.base", false, SectionRole::ignored},
    {".llvm_addrsig", false, SectionRole::ignored},
    {"__patchable_function_entries", false, SectionRole::ignored},
    {"__mcount_loc", false, SectionRole::ignored},
    {".orc_unwind", false, SectionRole::ignored},
    {".orc_unwind_ip", false, SectionRole::ignored},
    {".orc_header", false, SectionRole::ignored},
    {".retpoline_sites", false, SectionRole::ignored},
    {".return_sites", false, SectionRole::ignored},
    {".call_sites", false, SectionRole::ignored},
    {".ibt_endbr_seal", false, SectionRole::ignored},
    {".gcc_except_table", true, SectionRole::exception_table},
    {".init_array", true, SectionRole::initialisers},
    {".fini_array", true, SectionRole::initialisers},
    {".preinit_array", true, SectionRole::initialisers},
    {".ctors", true, SectionRole::initialisers},
    {".dtors", true, SectionRole::initialisers},
    {".init", false, SectionRole::initialisers},
    {".fini", false, SectionRole::initialisers},
    {".livecare", true, SectionRole::author},
    {".data", true, SectionRole::data},
    {".bss", true, SectionRole::data},
    {".rodata", true, SectionRole::data},
    {".tdata", true, SectionRole::data},
    {".tbss", true, SectionRole::data},
    {".lrodata", true, SectionRole::data},
    {".ldata", true, SectionRole::data},
    {".lbss", true, SectionRole::data},
    {".srodata", true, SectionRole::data},
    {".sdata", true, SectionRole::data},
    {".gnu.linkonce", true, SectionRole::data},
};

bool names(const Row& row, std::string_view section) {
  if (section == row.name) return true;
  return row.prefix && section.starts_with(row.name) && section[row.name.size()] == '.';
}

}  // namespace

SectionRole section_role(const elf::Section& section) {
  if (section.name.starts_with(".livecare")) return SectionRole::author;
  if (!(section.flags & SHF_ALLOC)) return SectionRole::ignored;
  for (uint32_t type : {SHT_NULL, SHT_RELA, SHT_REL, SHT_GROUP, SHT_SYMTAB, SHT_STRTAB, SHT_NOTE})
    if (section.type == type) return SectionRole::ignored;
#ifdef SHT_X86_64_UNWIND
  if (section.type == SHT_X86_64_UNWIND) return SectionRole::ignored;
#endif
  for (const Row& row : rows)
    if (names(row, section.name)) return row.role;
  if (section.flags & SHF_EXECINSTR) return SectionRole::code;
  return SectionRole::other;
}

bool is_writable_data(const elf::Section& section) {
  if (!(section.flags & SHF_WRITE)) return false;
  return !(section.name == ".data.rel.ro" || section.name.starts_with(".data.rel.ro."));
}

}  // namespace livecare::objdiff
