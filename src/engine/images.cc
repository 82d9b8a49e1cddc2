#include "engine/images.h"

#include <algorithm>

namespace livecare::engine {
namespace {

// A program may map read-only pages of its own right below a header; the kernel then shows one
// mapping. So its first pages are looked at one by one, up to this many.
constexpr uint64_t searched_bytes_max = uint64_t{1} << 20;

bool can_hold_a_header(const remote::Mapping& mapping) {
  return mapping.is_anonymous() && mapping.readable && !mapping.writable && !mapping.executable &&
         !mapping.shared && (mapping.path.empty() || mapping.path.starts_with("[anon:"));
}

Result<Control> read_image(const remote::Memory& memory, remote::RemoteAddress at, uint64_t size) {
  std::string name = fmt::format("process {}, image at {:#x}", memory.pid(), at.address());
  TRY(Bytes header, memory.read(at, size));
  TRY(Control control, decode_control(header, name));
  if (control.region.address != at.address())
    return make_error(ErrorCode::conflict, name, "it was made for address {:#x} and has been moved",
                      control.region.address);
  return control;
}

}  // namespace

Result<FoundImages> find_images(const remote::Memory& memory, const remote::Maps& maps) {
  FoundImages found;
  for (const remote::Mapping& mapping : maps.all()) {
    if (!can_hold_a_header(mapping)) continue;
    uint64_t searched = std::min(mapping.range.size, searched_bytes_max);
    Bytes pages = memory.read_prefix(mapping.range.start, searched);
    for (uint64_t at = 0; at < pages.size(); at += patchfmt::page_bytes) {
      auto size = control_bytes(*ByteView(pages).slice(at, pages.size() - at));
      if (!size) continue;
      auto image = read_image(memory, mapping.range.start + static_cast<int64_t>(at), *size);
      if (image.ok()) {
        found.images.push_back(std::move(*image));
      } else if (image.error().code == ErrorCode::process_died) {
        return image.take_error();
      } else {
        found.damaged.push_back(image.take_error());
      }
    }
  }
  return found;
}

Bytes jump_bytes(const ControlFunction& function) {
  Bytes jump(jump_instruction_bytes);
  jump[0] = 0xe9;  // jmp rel32
  store_le(jump, 1,
           static_cast<uint32_t>(function.new_address -
                                 (function.jump_address + jump_instruction_bytes)));
  return jump;
}

}  // namespace livecare::engine
