#include "engine/tls_carrier.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>

namespace livecare::engine {
namespace {

// One page-aligned rw- segment holds everything; file offset and address are the same.
constexpr uint64_t headers_offset = sizeof(Elf64_Ehdr);
constexpr uint64_t header_count = 4;
constexpr uint64_t rela_offset = 0x140;
constexpr uint64_t symbol_offset = 0x170;
constexpr uint64_t hash_offset = 0x190;
constexpr uint64_t words_offset = carrier_module_offset;
constexpr uint64_t dynamic_offset = 0x200;
constexpr uint64_t strings_offset = 0x300;
constexpr uint64_t tls_offset = 0x400;
constexpr uint64_t segment_align = 4096;
static_assert(headers_offset + header_count * sizeof(Elf64_Phdr) <= rela_offset);
static_assert(rela_offset + 2 * sizeof(Elf64_Rela) <= symbol_offset);
static_assert(symbol_offset + sizeof(Elf64_Sym) <= hash_offset);

template <class T>
void store(Bytes& out, uint64_t offset, const T& value) {
  std::memcpy(out.data() + offset, &value, sizeof(T));
}

void write_headers(Bytes& out, const TlsBlock& block, uint64_t tls_at, uint64_t dynamic_bytes) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_DYN;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = headers_offset;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = header_count;
  store(out, 0, header);
  auto segment = [&](uint64_t index, uint32_t type, uint64_t at, uint64_t file_bytes,
                     uint64_t memory_bytes, uint64_t align) {
    Elf64_Phdr entry{};
    entry.p_type = type;
    entry.p_flags = PF_R | PF_W;
    entry.p_offset = entry.p_vaddr = entry.p_paddr = at;
    entry.p_filesz = file_bytes;
    entry.p_memsz = memory_bytes;
    entry.p_align = align;
    store(out, headers_offset + index * sizeof(Elf64_Phdr), entry);
  };
  uint64_t page_align = std::max(segment_align, block.alignment);
  segment(0, PT_LOAD, 0, out.size(), out.size(), page_align);
  segment(1, PT_DYNAMIC, dynamic_offset, dynamic_bytes, dynamic_bytes, 8);
  segment(2, PT_TLS, tls_at, block.initial.size(), block.size, block.alignment);
  segment(3, PT_GNU_STACK, 0, 0, 0, 16);
}

uint64_t write_dynamic(Bytes& out, const TlsBlock& block, uint64_t string_bytes) {
  uint64_t at = dynamic_offset;
  auto entry = [&](int64_t tag, uint64_t value) {
    Elf64_Dyn dynamic{};
    dynamic.d_tag = tag;
    dynamic.d_un.d_val = value;
    store(out, at, dynamic);
    at += sizeof dynamic;
  };
  entry(DT_SONAME, 1);
  entry(DT_HASH, hash_offset);
  entry(DT_STRTAB, strings_offset);
  entry(DT_SYMTAB, symbol_offset);
  entry(DT_STRSZ, string_bytes);
  entry(DT_SYMENT, sizeof(Elf64_Sym));
  entry(DT_RELA, rela_offset);
  entry(DT_RELASZ, (block.is_static ? 2 : 1) * sizeof(Elf64_Rela));
  entry(DT_RELAENT, sizeof(Elf64_Rela));
  if (block.is_static) entry(DT_FLAGS, DF_STATIC_TLS);
  entry(DT_NULL, 0);
  return at - dynamic_offset;
}

uint64_t digest(const TlsBlock& block) {  // FNV-1a
  uint64_t hash = 0xcbf2'9ce4'8422'2325;
  auto add = [&](uint8_t byte) { hash = (hash ^ byte) * 0x100'0000'01b3; };
  for (uint8_t byte : block.initial) add(byte);
  for (char letter : block.identity) add(static_cast<uint8_t>(letter));
  for (uint64_t number : {block.size, block.alignment, uint64_t{block.is_static}})
    for (int shift = 0; shift < 64; shift += 8) add(static_cast<uint8_t>(number >> shift));
  return hash;
}

}  // namespace

TlsCarrier make_tls_carrier(std::string_view target_build_id, const TlsBlock& block) {
  TlsCarrier carrier;
  carrier.soname =
      fmt::format("livecare-tls-{}-{:016x}", target_build_id.substr(0, 40), digest(block));
  LIVECARE_ASSERT(strings_offset + carrier.soname.size() + 2 <= tls_offset);
  uint64_t align = std::max<uint64_t>(block.alignment, 1);
  uint64_t tls_at = (tls_offset + align - 1) & ~(align - 1);
  carrier.file.resize(tls_at + block.initial.size());
  Bytes& out = carrier.file;
  std::copy(carrier.soname.begin(), carrier.soname.end(), out.begin() + strings_offset + 1);
  std::copy(block.initial.begin(), block.initial.end(), out.begin() + static_cast<int64_t>(tls_at));
  uint64_t dynamic_bytes = write_dynamic(out, block, carrier.soname.size() + 2);
  write_headers(out, block, tls_at, dynamic_bytes);
  Elf64_Rela module{words_offset, ELF64_R_INFO(0, R_X86_64_DTPMOD64), 0};
  Elf64_Rela offset{carrier_tp_offset_offset, ELF64_R_INFO(0, R_X86_64_TPOFF64), 0};
  store(out, rela_offset, module);
  store(out, rela_offset + sizeof module, offset);
  const uint32_t hash[] = {1, 1, 0, 0};  // one empty bucket, the null symbol
  std::memcpy(out.data() + hash_offset, hash, sizeof hash);
  return carrier;
}

}  // namespace livecare::engine
