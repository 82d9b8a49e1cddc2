// The header, the segments and the sections, through libelf: it knows the conventions for more
// than 65,279 sections or 65,534 segments (numbers kept in section 0). Everything it returns is
// copied into plain values and checked against the size of the file here.
#include <gelf.h>

#include "elf/parts.h"

namespace livecare::elf {
namespace {

struct ElfEnd {
  void operator()(Elf* elf) const { elf_end(elf); }
};
using ElfHandle = std::unique_ptr<Elf, ElfEnd>;

Status check_identity(const Parts& parts) {
  const Bytes& bytes = parts.bytes;
  if (bytes.size() < EI_NIDENT || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) {
    return parts.damaged("is not an ELF file");
  }
  if (bytes[EI_CLASS] != ELFCLASS64) {
    return make_error(ErrorCode::unsupported, parts.name,
                      "is a 32-bit ELF file; only 64-bit files can be patched");
  }
  if (bytes[EI_DATA] != ELFDATA2LSB) {
    return make_error(ErrorCode::unsupported, parts.name,
                      "is a big-endian ELF file; only x86-64 and aarch64 are supported");
  }
  if (bytes.size() < sizeof(Elf64_Ehdr)) return parts.damaged("ends inside the ELF header");
  return ok_status();
}

Status read_kind_and_machine(Parts& parts, const GElf_Ehdr& header) {
  switch (header.e_type) {
    case ET_REL:
      parts.kind = Kind::relocatable;
      break;
    case ET_EXEC:
      parts.kind = Kind::executable;
      break;
    case ET_DYN:
      parts.kind = Kind::shared;
      break;
    case ET_CORE:
      parts.kind = Kind::core;
      break;
    default:
      return parts.damaged("has the unknown ELF type {}", header.e_type);
  }
  switch (header.e_machine) {
    case EM_X86_64:
      parts.machine = Machine::x86_64;
      break;
    case EM_AARCH64:
      parts.machine = Machine::aarch64;
      break;
    default:
      return make_error(ErrorCode::unsupported, parts.name,
                        "is for ELF machine {}; only x86-64 and aarch64 are supported",
                        header.e_machine);
  }
  parts.entry = header.e_entry;
  return ok_status();
}

Status read_segments(Parts& parts, Elf* elf) {
  size_t count = 0;
  if (elf_getphdrnum(elf, &count) != 0) {
    return parts.damaged("program headers cannot be read: {}", elf_errmsg(-1));
  }
  if (count > parts.bytes.size() / sizeof(Elf64_Phdr)) {
    return parts.damaged("claims {} program headers, more than the file can hold", count);
  }
  for (size_t i = 0; i < count; i++) {
    GElf_Phdr raw;
    if (gelf_getphdr(elf, static_cast<int>(i), &raw) == nullptr) {
      return parts.damaged("program header {} cannot be read: {}", i, elf_errmsg(-1));
    }
    parts.segments.push_back({.type = raw.p_type,
                              .flags = raw.p_flags,
                              .offset = raw.p_offset,
                              .address = raw.p_vaddr,
                              .file_size = raw.p_filesz,
                              .memory_size = raw.p_memsz,
                              .alignment = raw.p_align});
  }
  return ok_status();
}

Status read_section(Parts& parts, const GElf_Shdr& raw, uint32_t index) {
  Section section{.index = index,
                  .type = raw.sh_type,
                  .flags = raw.sh_flags,
                  .address = raw.sh_addr,
                  .offset = raw.sh_offset,
                  .size = raw.sh_size,
                  .alignment = raw.sh_addralign == 0 ? 1 : raw.sh_addralign,
                  .entry_size = raw.sh_entsize,
                  .link = raw.sh_link,
                  .info = raw.sh_info};
  // Section 0 holds extended counts in these fields, not a place in the file.
  if (index != 0 && section.type != SHT_NOBITS && section.type != SHT_NULL) {
    auto bytes = ByteView(parts.bytes).slice(section.offset, section.size);
    if (!bytes) {
      return parts.damaged("section {} ({:#x}+{:#x}) lies outside the file; is it truncated?",
                           index, section.offset, section.size);
    }
    section.bytes = *bytes;
  }
  parts.sections.push_back(section);
  return ok_status();
}

Status name_sections(Parts& parts, Elf* elf, const std::vector<uint32_t>& name_offsets) {
  size_t names_index = 0;
  if (elf_getshdrstrndx(elf, &names_index) != 0 || names_index >= parts.sections.size()) {
    return parts.damaged("the section of section names does not exist");
  }
  ByteView names = parts.sections[names_index].bytes;
  for (Section& section : parts.sections) {
    if (section.index == 0 || names_index == 0) continue;
    auto name = names.c_string(name_offsets[section.index]);
    if (!name) return parts.damaged("section {} has no valid name", section.index);
    section.name = *name;
    parts.section_by_name.emplace(section.name, section.index);
  }
  return ok_status();
}

Status read_sections(Parts& parts, Elf* elf, bool expected) {
  size_t count = 0;
  if (elf_getshdrnum(elf, &count) != 0) {
    return parts.damaged("section headers cannot be read: {}", elf_errmsg(-1));
  }
  if (count == 0 && expected) {
    return parts.damaged("the section headers lie outside the file; is it truncated?");
  }
  if (count > sections_max || count > parts.bytes.size() / sizeof(Elf64_Shdr)) {
    return parts.damaged("claims {} sections, more than allowed or than the file can hold", count);
  }
  std::vector<uint32_t> name_offsets;
  for (size_t i = 0; i < count; i++) {
    GElf_Shdr raw;
    Elf_Scn* handle = elf_getscn(elf, i);
    if (handle == nullptr || gelf_getshdr(handle, &raw) == nullptr) {
      return parts.damaged("section header {} cannot be read: {}", i, elf_errmsg(-1));
    }
    TRY_STATUS(read_section(parts, raw, static_cast<uint32_t>(i)));
    name_offsets.push_back(raw.sh_name);
  }
  if (count == 0) {
    parts.sections.emplace_back();  // the null section is always there
    return ok_status();
  }
  return name_sections(parts, elf, name_offsets);
}

// A group section is a word of flags and the numbers of its members.
Status read_groups(Parts& parts) {
  for (size_t i = 0; i < parts.sections.size(); i++) {
    if (parts.sections[i].type != SHT_GROUP) continue;
    ByteView members = parts.sections[i].bytes;
    for (uint64_t at = sizeof(uint32_t); at + sizeof(uint32_t) <= members.size();
         at += sizeof(uint32_t)) {
      uint32_t member = *members.read<uint32_t>(at);
      if (member == 0 || member >= parts.sections.size()) {
        return parts.damaged("section group {} names section {}, which does not exist", i, member);
      }
      uint32_t& group = parts.sections[member].group;
      if (group == 0) group = static_cast<uint32_t>(i);
    }
  }
  return ok_status();
}

// Only segments tell where things are when there are no section headers.
Status check_segments(const Parts& parts) {
  for (const Segment& segment : parts.segments) {
    if (segment.type != PT_LOAD || segment.file_size == 0) continue;
    if (!ByteView(parts.bytes).slice(segment.offset, segment.file_size)) {
      return parts.damaged("a segment ({:#x}+{:#x}) lies outside the file; is it truncated?",
                           segment.offset, segment.file_size);
    }
  }
  return ok_status();
}

}  // namespace

Status parse_headers(Parts& parts) {
  TRY_STATUS(check_identity(parts));
  static const bool version_agreed = elf_version(EV_CURRENT) != EV_NONE;
  LIVECARE_ASSERT(version_agreed);
  ElfHandle elf(elf_memory(reinterpret_cast<char*>(parts.bytes.data()), parts.bytes.size()));
  GElf_Ehdr header;
  if (!elf || elf_kind(elf.get()) != ELF_K_ELF || gelf_getehdr(elf.get(), &header) == nullptr) {
    return parts.damaged("ELF header cannot be read: {}", elf_errmsg(-1));
  }
  TRY_STATUS(read_kind_and_machine(parts, header));
  TRY_STATUS(read_segments(parts, elf.get()));
  TRY_STATUS(read_sections(parts, elf.get(), header.e_shoff != 0));
  if (!parts.has_sections()) TRY_STATUS(check_segments(parts));
  return read_groups(parts);
}

}  // namespace livecare::elf
