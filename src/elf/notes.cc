#include "elf/parts.h"

namespace livecare::elf {
namespace {

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// The build-ID among the notes, empty without one. Notes of 8-byte aligned segments pad to 8.
ByteView find_build_id(ByteView notes, uint64_t alignment) {
  const uint64_t padding = alignment == 8 ? 8 : 4;
  uint64_t at = 0;
  while (auto header = record<Elf64_Nhdr>(notes, at)) {
    uint64_t name_at = at + sizeof(Elf64_Nhdr);
    uint64_t content_at = align_up(name_at + header->n_namesz, padding);
    auto name = notes.slice(name_at, header->n_namesz);
    auto content = notes.slice(content_at, header->n_descsz);
    if (!name || !content) break;
    if (header->n_type == NT_GNU_BUILD_ID && name->as_text() == std::string_view("GNU\0", 4)) {
      return *content;
    }
    at = align_up(content_at + header->n_descsz, padding);
  }
  return {};
}

}  // namespace

// Notes hold hints beside the build-ID; a damaged one is as good as none.
Status parse_notes(Parts& parts) {
  for (const Section& section : parts.sections) {
    if (section.type != SHT_NOTE || !parts.build_id.empty()) continue;
    parts.build_id = to_hex(find_build_id(section.bytes, section.alignment));
  }
  for (const Segment& segment : parts.segments) {
    if (segment.type != PT_NOTE || !parts.build_id.empty()) continue;
    auto notes = ByteView(parts.bytes).slice(segment.offset, segment.file_size);
    if (notes) parts.build_id = to_hex(find_build_id(*notes, segment.alignment));
  }
  return ok_status();
}

}  // namespace livecare::elf
