#include "elf/writer.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace livecare::elf {
namespace {

class StringTable {
 public:
  uint32_t add(const std::string& text) {
    if (text.empty()) return 0;
    auto [found, fresh] = places_.emplace(text, static_cast<uint32_t>(bytes_.size()));
    if (fresh) bytes_.insert(bytes_.end(), text.c_str(), text.c_str() + text.size() + 1);
    return found->second;
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_{0};
  std::map<std::string, uint32_t> places_;
};

template <class T>
void append_record(Bytes& out, const T& record) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&record);
  out.insert(out.end(), bytes, bytes + sizeof(record));
}

void align(Bytes& out, uint64_t alignment) {
  while (alignment > 1 && out.size() % alignment != 0) out.push_back(0);
}

uint16_t raw_section(uint32_t section) {
  if (section == section_absolute) return SHN_ABS;
  if (section == section_common) return SHN_COMMON;
  LIVECARE_ASSERT(section < SHN_LORESERVE);
  return static_cast<uint16_t>(section);
}

// The file in the making: headers of sections, in order, and everything's place.
struct File {
  Bytes bytes;
  std::vector<Elf64_Shdr> headers{Elf64_Shdr{}};
  StringTable names;

  Elf64_Shdr& add(const std::string& name, uint32_t type, const Bytes& content, uint64_t alignment,
                  uint64_t entry_size) {
    align(bytes, std::max<uint64_t>(alignment, 1));
    Elf64_Shdr header{};
    header.sh_name = names.add(name);
    header.sh_type = type;
    header.sh_offset = bytes.size();
    header.sh_size = content.size();
    header.sh_addralign = std::max<uint64_t>(alignment, 1);
    header.sh_entsize = entry_size;
    bytes.insert(bytes.end(), content.begin(), content.end());
    headers.push_back(header);
    return headers.back();
  }
};

}  // namespace

uint32_t Writer::add_section(NewSection section) {
  sections_.push_back(std::move(section));
  section_symbols_.push_back(0);
  return static_cast<uint32_t>(sections_.size());
}

uint32_t Writer::add_symbol(NewSymbol symbol) {
  symbols_.push_back(std::move(symbol));
  return static_cast<uint32_t>(symbols_.size());
}

uint32_t Writer::section_symbol(uint32_t section) {
  LIVECARE_ASSERT(section >= 1 && section <= sections_.size());
  uint32_t& symbol = section_symbols_[section - 1];
  if (symbol == 0) symbol = add_symbol({"", STB_LOCAL, STT_SECTION, STV_DEFAULT, section, 0, 0});
  return symbol;
}

Bytes Writer::write() const {
  const bool executable = kind_ == Kind::executable;
  std::vector<uint32_t> loaded;
  for (uint32_t i = 0; executable && i < sections_.size(); ++i)
    if ((sections_[i].flags & SHF_ALLOC) && sections_[i].type != SHT_NOBITS) loaded.push_back(i);

  File file;
  file.bytes.assign(sizeof(Elf64_Ehdr) + loaded.size() * sizeof(Elf64_Phdr), 0);
  for (const NewSection& section : sections_) {
    const bool empty = section.type == SHT_NOBITS;
    Elf64_Shdr& header = file.add(section.name, section.type, empty ? Bytes() : section.bytes,
                                  section.alignment, section.entry_size);
    header.sh_flags = section.flags;
    header.sh_addr = section.address;
    if (empty) header.sh_size = section.size;
  }

  // Local symbols first; indices of add_symbol become those of the file.
  StringTable strings;
  Bytes table;
  append_record(table, Elf64_Sym{});
  std::vector<uint32_t> index_of(symbols_.size() + 1, 0);
  uint32_t next = 1, locals = 1;
  for (bool local : {true, false}) {
    for (uint32_t i = 0; i < symbols_.size(); ++i) {
      const NewSymbol& symbol = symbols_[i];
      if ((symbol.bind == STB_LOCAL) != local) continue;
      Elf64_Sym raw{};
      raw.st_name = strings.add(symbol.name);
      raw.st_info = static_cast<uint8_t>(ELF64_ST_INFO(symbol.bind, symbol.type));
      raw.st_other = symbol.visibility;
      raw.st_shndx = raw_section(symbol.section);
      raw.st_value = symbol.value;
      raw.st_size = symbol.size;
      append_record(table, raw);
      index_of[i + 1] = next++;
    }
    if (local) locals = next;
  }

  const auto string_table = static_cast<uint32_t>(sections_.size() + 1);
  file.add(".strtab", SHT_STRTAB, strings.bytes(), 1, 0);
  Elf64_Shdr& symbol_table = file.add(".symtab", SHT_SYMTAB, table, 8, sizeof(Elf64_Sym));
  symbol_table.sh_link = string_table;
  symbol_table.sh_info = locals;
  for (uint32_t i = 0; !executable && i < sections_.size(); ++i) {
    if (sections_[i].relocations.empty()) continue;
    Bytes records;
    for (const NewRelocation& relocation : sections_[i].relocations)
      append_record(records,
                    Elf64_Rela{relocation.offset,
                               ELF64_R_INFO(uint64_t{index_of[relocation.symbol]}, relocation.type),
                               relocation.addend});
    Elf64_Shdr& header =
        file.add(".rela" + sections_[i].name, SHT_RELA, records, 8, sizeof(Elf64_Rela));
    header.sh_flags = SHF_INFO_LINK;
    header.sh_link = string_table + 1;
    header.sh_info = i + 1;
  }
  file.names.add(".shstrtab");
  const Bytes section_names = file.names.bytes();
  file.add(".shstrtab", SHT_STRTAB, section_names, 1, 0);
  align(file.bytes, 8);

  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = executable ? ET_EXEC : ET_REL;
  header.e_machine = machine_ == Machine::x86_64 ? EM_X86_64 : EM_AARCH64;
  header.e_version = EV_CURRENT;
  header.e_phoff = loaded.empty() ? 0 : sizeof(header);
  header.e_shoff = file.bytes.size();
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(loaded.size());
  header.e_shentsize = sizeof(Elf64_Shdr);
  LIVECARE_ASSERT(file.headers.size() < SHN_LORESERVE);
  header.e_shnum = static_cast<uint16_t>(file.headers.size());
  header.e_shstrndx = static_cast<uint16_t>(file.headers.size() - 1);
  std::memcpy(file.bytes.data(), &header, sizeof(header));
  for (size_t i = 0; i < loaded.size(); ++i) {
    const NewSection& section = sections_[loaded[i]];
    const Elf64_Shdr& place = file.headers[loaded[i] + 1];
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_flags = PF_R | ((section.flags & SHF_WRITE) ? PF_W : 0u) |
                      ((section.flags & SHF_EXECINSTR) ? PF_X : 0u);
    segment.p_offset = place.sh_offset;
    segment.p_vaddr = segment.p_paddr = section.address;
    segment.p_filesz = segment.p_memsz = section.bytes.size();
    segment.p_align = 1;
    std::memcpy(file.bytes.data() + sizeof(header) + i * sizeof(segment), &segment,
                sizeof(segment));
  }
  for (const Elf64_Shdr& section : file.headers) append_record(file.bytes, section);
  return std::move(file.bytes);
}

}  // namespace livecare::elf
