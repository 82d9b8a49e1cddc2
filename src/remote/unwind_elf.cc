#include "remote/unwind_elf.h"

#include <elf.h>

#include <string_view>

namespace livecare::remote {

namespace {

enum SectionIndex : uint16_t {
  null_index,
  text,
  eh_frame,
  symtab,
  strtab,
  shstrtab,
  section_count
};

constexpr std::string_view section_names("\0.text\0.eh_frame\0.symtab\0.strtab\0.shstrtab\0", 43);
constexpr uint64_t name_offsets[section_count] = {0, 1, 7, 17, 25, 33};

template <class T>
void append_struct(Bytes& out, const T& value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(T));
}

Bytes symbol_table(const UnwindInfo& info, Bytes& strings) {
  Bytes table(sizeof(Elf64_Sym));
  for (const UnwindInfo::Symbol& symbol : info.symbols) {
    Elf64_Sym entry{};
    entry.st_name = static_cast<Elf64_Word>(strings.size());
    entry.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    entry.st_shndx = text;
    entry.st_value = symbol.at.address();
    entry.st_size = symbol.size;
    append_struct(table, entry);
    strings.insert(strings.end(), symbol.name.begin(), symbol.name.end());
    strings.push_back(0);
  }
  return table;
}

}  // namespace

Bytes make_unwind_elf(const UnwindInfo& info) {
  Bytes strings(1);
  Bytes symbols = symbol_table(info, strings);
  Elf64_Shdr headers[section_count] = {};
  Bytes file(sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr));
  auto add = [&](SectionIndex index, uint32_t type, const Bytes& bytes) {
    while (file.size() % 8 != 0) file.push_back(0);
    headers[index].sh_name = static_cast<Elf64_Word>(name_offsets[index]);
    headers[index].sh_type = type;
    headers[index].sh_offset = file.size();
    headers[index].sh_size = bytes.size();
    headers[index].sh_addralign = 8;
    file.insert(file.end(), bytes.begin(), bytes.end());
  };
  add(text, SHT_NOBITS, {});
  headers[text].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
  headers[text].sh_addr = info.code.start.address();
  headers[text].sh_size = info.code.size;
  add(eh_frame, SHT_PROGBITS, info.eh_frame);
  headers[eh_frame].sh_flags = SHF_ALLOC;
  headers[eh_frame].sh_addr = info.eh_frame_at.address();
  add(symtab, SHT_SYMTAB, symbols);
  headers[symtab].sh_link = strtab;
  headers[symtab].sh_info = 1;
  headers[symtab].sh_entsize = sizeof(Elf64_Sym);
  add(strtab, SHT_STRTAB, strings);
  add(shstrtab, SHT_STRTAB, ByteView(section_names).copy());
  while (file.size() % 8 != 0) file.push_back(0);
  uint64_t headers_at = file.size();
  for (const Elf64_Shdr& header : headers) append_struct(file, header);

  Elf64_Ehdr header{};
  const uint8_t ident[EI_NIDENT] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
  std::copy_n(ident, EI_NIDENT, header.e_ident);
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_shoff = headers_at;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = section_count;
  header.e_shstrndx = shstrtab;
  Elf64_Phdr load{};
  load.p_type = PT_LOAD;
  load.p_flags = PF_R | PF_X;
  load.p_vaddr = load.p_paddr = info.code.start.address();
  load.p_memsz = info.code.size;
  load.p_align = 1;
  std::copy_n(reinterpret_cast<const uint8_t*>(&header), sizeof(header), file.begin());
  std::copy_n(reinterpret_cast<const uint8_t*>(&load), sizeof(load), file.begin() + sizeof(header));
  return file;
}

}  // namespace livecare::remote
