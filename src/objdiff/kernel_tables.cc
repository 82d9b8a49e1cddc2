// How big an entry is depends on the kernel's version, and nothing in an object says it. So each
// row lists the sizes that there have been, and a size holds only if it divides the section and
// every entry has a relocation at the owner's place. A table that no size fits is an error: half an
// entry would be worse than none.
//
// Sources: struct bug_entry (16 bytes since Linux 6.19, with a format; 8 without
// CONFIG_DEBUG_BUGVERBOSE), exception_table_entry, jump_entry, alt_instr (12 bytes before Linux
// 6.3, 14 since), paravirt_patch_site (padded to 16; the last one may lack the padding),
// static_call_site, orc_entry's address table, all of Linux 5.10 to 7.x on x86-64.
#include "objdiff/kernel_tables.h"

#include <elf.h>

#include <algorithm>
#include <array>

namespace livecare::objdiff {
namespace {

constexpr uint64_t paravirt_entry_bytes_min = 10;
constexpr uint64_t entry_bytes_without_line = 8;

constexpr auto tables = std::to_array<KernelTable>({
    {"__bug_table", {12, 16, 8}, 0, false, 4},
    {"__ex_table", {12, 8}, 0, false},
    {"__jump_table", {16}, 0, false},
    {".altinstructions", {12, 14, 13}, 0, false, -1, 4},
    {".parainstructions", {16}, 0, false},
    {".smp_locks", {4}, 0, true},
    {".static_call_sites", {8}, 0, false},
    {".retpoline_sites", {4}, 0, true},
    {".return_sites", {4}, 0, true},
    {".call_sites", {4}, 0, true},
    {".ibt_endbr_seal", {4}, 0, true},
    {".orc_unwind_ip", {4}, 0, true},
    {"__mcount_loc", {8}, 0, true},
    {"__patchable_function_entries", {8}, 0, true},
});

// printk_ratelimited(), WARN_ONCE(), printk_once(), DO_ONCE() and their kin.
constexpr auto message_states = std::to_array<std::string_view>(
    {"_rs", "__already_done", "__warned", "__print_once", "__ratelimit"});

const elf::Relocation* relocation_at(const std::vector<elf::Relocation>& all, uint64_t offset) {
  auto found = std::lower_bound(
      all.begin(), all.end(), offset,
      [](const elf::Relocation& relocation, uint64_t at) { return relocation.offset < at; });
  return found != all.end() && found->offset == offset ? &*found : nullptr;
}

// How many entries of that size the section holds; empty when it cannot be.
std::optional<uint64_t> count(const KernelTable& table, const elf::Section& section,
                              uint64_t bytes) {
  uint64_t rest = section.size % bytes;
  bool cut_short = bytes == 16 && rest >= paravirt_entry_bytes_min && table.owner == 0 &&
                   table.section == ".parainstructions";
  if (rest != 0 && !cut_short) return std::nullopt;
  return section.size / bytes + (cut_short ? 1 : 0);
}

bool fits(const elf::Image& image, const KernelTable& table, const elf::Section& section,
          uint64_t bytes) {
  auto entries = count(table, section, bytes);
  if (!entries) return false;
  const auto& all = image.relocations(section.index);
  for (uint64_t i = 0; i < *entries; i++) {
    const elf::Relocation* owner = relocation_at(all, i * bytes + table.owner);
    if (!owner) return false;
    uint32_t target = image.symbols()[owner->symbol].section;
    if (target >= image.sections().size() || !(image.sections()[target].flags & SHF_EXECINSTR))
      return false;
  }
  return true;
}

Status read_table(const elf::Image& image, const KernelTable& table, const elf::Section& section,
                  std::vector<KernelEntry>& out) {
  for (uint64_t bytes : table.entry_bytes) {
    if (bytes == 0 || !fits(image, table, section, bytes)) continue;
    const auto& all = image.relocations(section.index);
    for (uint64_t at = 0; at < section.size; at += bytes) {
      const elf::Relocation* owner = relocation_at(all, at + table.owner);
      const elf::Symbol& symbol = image.symbols()[owner->symbol];
      out.push_back({&table, section.index, at, std::min(bytes, section.size - at), symbol.section,
                     symbol.value + static_cast<uint64_t>(owner->addend)});
    }
    return ok_status();
  }
  return make_error(ErrorCode::unsupported, image.name(),
                    "{} has entries of a size that is not known; this kernel's tables have to be "
                    "taught to the differ first",
                    section.name);
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> starts) {
  return std::any_of(starts.begin(), starts.end(),
                     [&](std::string_view start) { return text.starts_with(start); });
}

}  // namespace

std::span<const KernelTable> kernel_tables() {
  return tables;
}

const KernelTable* kernel_table(std::string_view section) {
  for (const KernelTable& table : tables)
    if (table.section == section) return &table;
  return nullptr;
}

int line_offset(const KernelEntry& entry) {
  if (entry.table->line < 0 || entry.size <= entry_bytes_without_line) return -1;
  return static_cast<int>(entry.size) - entry.table->line;
}

Result<std::vector<KernelEntry>> read_kernel_entries(const elf::Image& image) {
  std::vector<KernelEntry> entries;
  for (const elf::Section& section : image.sections()) {
    const KernelTable* table = kernel_table(section.name);
    if (table && section.type == SHT_PROGBITS && section.size != 0)
      TRY_STATUS(read_table(image, *table, section, entries));
  }
  return entries;
}

std::optional<Replacement> replacement_of(const elf::Image& image, const KernelEntry& entry) {
  if (entry.table->replacement < 0) return std::nullopt;
  const auto& all = image.relocations(entry.section);
  const elf::Relocation* relocation =
      relocation_at(all, entry.offset + static_cast<uint64_t>(entry.table->replacement));
  if (!relocation) return std::nullopt;
  const elf::Symbol& symbol = image.symbols()[relocation->symbol];
  auto size = image.sections()[entry.section].bytes.read<uint8_t>(entry.offset + entry.size - 1);
  if (!size || symbol.section >= image.sections().size()) return std::nullopt;
  Replacement found{symbol.section, symbol.value + static_cast<uint64_t>(relocation->addend),
                    *size};
  const elf::Section& home = image.sections()[found.section];
  if (home.name != replacement_section || !home.bytes.slice(found.offset, found.size))
    return std::nullopt;
  return found;
}

std::string_view kernel_code_refusal(std::string_view section) {
  if (is_init_section(section))
    return "runs once, when the kernel boots or the module is loaded, and is gone then; do what it "
           "should have done in a hook";
  if (starts_with_any(section, {".exit.", ".memexit.", ".cpuexit.", ".devexit."}))
    return "runs once, when the module is unloaded, or never; leave it as it is";
  if (starts_with_any(section, {".noinstr.", ".entry.", ".vdso", ".vsyscall"}))
    return "must not be instrumented (noinstr), so it cannot be redirected; leave it as it is";
  if (starts_with_any(section, {".head.", ".static_call.text"}))
    return "is patched by the kernel itself; leave it as it is";
  return {};
}

bool is_init_section(std::string_view section) {
  return starts_with_any(section, {".init.", ".meminit.", ".cpuinit.", ".devinit."});
}

bool is_exit_section(std::string_view section) {
  return starts_with_any(section, {".exit.", ".exitcall"});
}

bool is_addressable_mark(std::string_view section, std::string_view name) {
  return (section == ".exit.data" || section == ".init.data") &&
         name.starts_with("__UNIQUE_ID___addressable_");
}

bool is_dropped_by_kernel(std::string_view section) {
  return starts_with_any(section, {".discard", ".modinfo", ".printk_index", ".export_symbol",
                                   "___ksymtab", "__ksymtab", "___kcrctab", "__kcrctab"});
}

bool is_message_state(std::string_view name) {
  // gcc: "_rs.4"; clang: "f._rs", "f._rs.4".
  size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string_view last = name.substr(dot + 1);
  bool number = !last.empty() &&
                std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (number) {
    last = name.substr(0, dot);
    last = last.substr(last.rfind('.') + 1);
  }
  name = last;
  return std::find(message_states.begin(), message_states.end(), name) != message_states.end();
}

// gcc with -fdata-sections gives each a section; clang gives them names.
bool is_sanitizer_record(std::string_view section) {
  return starts_with_any(section, {".data..Lubsan_data", ".data..Lubsan_type"});
}

// struct source_location { const char *file; u32 line; u32 column; } begins every kind of record.
SourcePlace source_place_of(std::string_view record_section) {
  if (starts_with_any(record_section, {".data..Lubsan_data"})) return {8, 8};
  return {};
}

bool is_nameless_in_kernel(std::string_view section, std::string_view name) {
  if (section == dynamic_debug_section) return false;
  return starts_with_any(name, {"__UNIQUE_ID_", "__initcall_", "__exitcall_"}) ||
         starts_with_any(section, {".initcall", ".con_initcall", ".exitcall"});
}

}  // namespace livecare::objdiff
