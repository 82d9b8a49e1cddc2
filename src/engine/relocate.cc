#include "engine/relocate.h"

#include <limits>

namespace livecare::engine {
namespace {

using patchfmt::RelocationKind;

struct Place {
  Bytes* bytes = nullptr;
  uint64_t offset = 0;
};

uint64_t width_of(RelocationKind kind) {
  switch (kind) {
    case RelocationKind::pc32:
    case RelocationKind::absolute32:
    case RelocationKind::absolute32s:
    case RelocationKind::tls_offset32:
    case RelocationKind::tp_offset32:
      return 4;
    default:
      return 8;
  }
}

bool fits_signed32(int64_t value) {
  return value >= std::numeric_limits<int32_t>::min() &&
         value <= std::numeric_limits<int32_t>::max();
}

// The bytes that [offset, offset + width) of the image are, grown when the word lies in the zeros.
Place find_place(const patchfmt::Object& object, RelocatedImage& image, uint64_t offset,
                 uint64_t width) {
  auto inside = [&](const patchfmt::Part& part) {
    return offset >= part.offset && width <= part.size && offset - part.offset <= part.size - width;
  };
  auto place = [&](const patchfmt::Part& part, Bytes& bytes) {
    uint64_t at = offset - part.offset;
    if (bytes.size() < at + width) bytes.resize(at + width);
    return Place{&bytes, at};
  };
  if (inside(object.text)) return place(object.text, image.text);
  if (inside(object.rodata)) return place(object.rodata, image.rodata);
  if (inside(object.data)) return place(object.data, image.data);
  return {};
}

Error cannot(const patchfmt::Object& object, const patchfmt::Symbol& symbol,
             std::string_view reason) {
  return make_error(ErrorCode::refused, object.soname, "reference to '{}': {}", symbol.name,
                    reason);
}

// A new variable that code reaches from the base of the target's own thread-local block (patch.h,
// tls_offset32): the distance of the two blocks, the same in every thread when both are static.
Result<int64_t> distance_from_target_block(const patchfmt::Object& object,
                                           const patchfmt::Symbol& name, const SymbolValue& fresh,
                                           const std::vector<SymbolValue>& values) {
  for (size_t i = 0; i < values.size() && i < object.symbols.size(); ++i) {
    if (object.symbols[i].kind != patchfmt::SymbolKind::target_tls) continue;
    if (!values[i].has_tp_offset || !fresh.has_tp_offset) break;
    return fresh.tp_offset - (values[i].tp_offset - static_cast<int64_t>(values[i].tls_offset));
  }
  return cannot(object, name,
                "the library's own thread-local block is not in the static area, so code cannot "
                "reach both from one base; declare the new variable with LIVECARE_THREAD_LOCAL");
}

Result<int64_t> value_of(const patchfmt::Object& object, const patchfmt::Relocation& relocation,
                         const SymbolValue& symbol, uint64_t place,
                         const std::vector<SymbolValue>& values) {
  const patchfmt::Symbol& name = object.symbols[relocation.symbol];
  auto addend = relocation.addend;
  auto address = static_cast<int64_t>(symbol.address);
  bool wants_tls = relocation.kind >= RelocationKind::tls_module64 &&
                   relocation.kind <= RelocationKind::tp_offset32;
  if (wants_tls != symbol.is_tls)
    return cannot(object, name,
                  wants_tls ? "the patch needs a thread-local variable, the process has none of "
                              "that name"
                            : "it is thread-local in this process");
  switch (relocation.kind) {
    case RelocationKind::absolute64:
    case RelocationKind::absolute32:
    case RelocationKind::absolute32s:
      return address + addend;
    case RelocationKind::pc32:
    case RelocationKind::pc64:
      return address + addend - static_cast<int64_t>(place);
    case RelocationKind::tls_module64:
      return static_cast<int64_t>(symbol.tls_module);
    case RelocationKind::tls_offset32:
      if (name.kind == patchfmt::SymbolKind::new_tls) {
        TRY(int64_t distance, distance_from_target_block(object, name, symbol, values));
        return distance + addend;
      }
      [[fallthrough]];
    case RelocationKind::tls_offset64:
      return static_cast<int64_t>(symbol.tls_offset) + addend;
    case RelocationKind::tp_offset64:
    case RelocationKind::tp_offset32:
      if (!symbol.has_tp_offset)
        return cannot(object, name, "its thread-local block is not in the static area");
      return symbol.tp_offset + addend;
  }
  return cannot(object, name, "unknown kind of relocation");
}

bool is_in_new_tls(const patchfmt::Object& object, const patchfmt::Relocation& relocation) {
  return relocation.offset >= object.image_size;
}

bool fits(RelocationKind kind, int64_t value) {
  if (kind == RelocationKind::absolute32) return (static_cast<uint64_t>(value) >> 32) == 0;
  return width_of(kind) == 8 || fits_signed32(value);
}

Status check_symbol(const patchfmt::Object& object, const patchfmt::Relocation& relocation,
                    const std::vector<SymbolValue>& values) {
  if (relocation.symbol < values.size() && relocation.symbol < object.symbols.size())
    return ok_status();
  return make_error(ErrorCode::invalid_input, object.soname, "a relocation names symbol {} of {}",
                    relocation.symbol, values.size());
}

}  // namespace

Result<Bytes> relocate_new_tls(const patchfmt::Object& object,
                               const std::vector<SymbolValue>& values) {
  Bytes block = object.new_tls_bytes;
  for (const patchfmt::Relocation& relocation : object.relocations) {
    if (!is_in_new_tls(object, relocation)) continue;
    TRY_STATUS(check_symbol(object, relocation, values));
    const uint64_t at = relocation.offset - object.image_size;
    const uint64_t end = at + sizeof(uint64_t);
    if (relocation.kind != RelocationKind::absolute64 || end < at || end > object.new_tls_size)
      return make_error(ErrorCode::invalid_input, object.soname,
                        "a relocation at {:#x} lies outside of the new thread-local block",
                        relocation.offset);
    TRY(int64_t value, value_of(object, relocation, values[relocation.symbol], 0, values));
    if (block.size() < end) block.resize(end);
    store_le(block, at, static_cast<uint64_t>(value));
  }
  return block;
}

Result<RelocatedImage> relocate(const patchfmt::Object& object, uint64_t image,
                                const std::vector<SymbolValue>& values) {
  RelocatedImage out{object.text.bytes, object.rodata.bytes, object.data.bytes};
  for (const patchfmt::Relocation& relocation : object.relocations) {
    if (is_in_new_tls(object, relocation)) continue;  // relocate_new_tls()
    TRY_STATUS(check_symbol(object, relocation, values));
    uint64_t width = width_of(relocation.kind);
    Place place = find_place(object, out, relocation.offset, width);
    if (place.bytes == nullptr)
      return make_error(ErrorCode::invalid_input, object.soname,
                        "a relocation at {:#x} lies outside of the image", relocation.offset);
    TRY(int64_t value,
        value_of(object, relocation, values[relocation.symbol], image + relocation.offset, values));
    if (!fits(relocation.kind, value))
      return cannot(object, object.symbols[relocation.symbol],
                    fmt::format("it is too far away for {} bits; rebuild the patch with references "
                                "through the image's GOT",
                                width * 8));
    if (width == 4) {
      store_le(*place.bytes, place.offset, static_cast<uint32_t>(value));
    } else {
      store_le(*place.bytes, place.offset, static_cast<uint64_t>(value));
    }
  }
  return out;
}

}  // namespace livecare::engine
