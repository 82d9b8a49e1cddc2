// Gives every atom its offset and writes what its fixups say. Three page-aligned parts: text with
// the PLT stubs behind it; read-only data with GOT and .eh_frame; writable data, zeros last.
#include <algorithm>
#include <limits>

#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

using patchfmt::RelocationKind;

constexpr uint64_t function_alignment = 16;
constexpr uint64_t alignment_max = patchfmt::page_bytes;
constexpr uint64_t stub_bytes = 16;
constexpr uint8_t trap = 0xcc;

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

void put(Bytes& part, uint64_t at, const Bytes& content, uint8_t filler) {
  if (part.size() < at + content.size()) part.resize(at + content.size(), filler);
  std::copy(content.begin(), content.end(), part.begin() + static_cast<std::ptrdiff_t>(at));
}

}  // namespace

void Linker::lay_out() {
  auto& object = output_.object;
  uint64_t at = 0;
  auto place_all = [&](Place place, bool zeros, uint64_t alignment_min) {
    for (Atom& atom : atoms_) {
      if (atom.place != place || atom.content.empty() != zeros) continue;
      if (atom.alignment > alignment_max)
        refuse(atom.name, "",
               fmt::format("needs an alignment of {} bytes; {} is the most that the "
                           "image can give",
                           atom.alignment, alignment_max));
      at = align_up(at, std::clamp(atom.alignment, alignment_min, alignment_max));
      atom.image_offset = at;
      at += atom.size;
    }
  };
  place_all(Place::text, false, function_alignment);
  at = align_up(at, stub_bytes);
  for (Stub& stub : stubs_) {
    stub.image_offset = at;
    at += stub_bytes;
  }
  object.text.offset = 0;
  object.text.size = at;

  at = align_up(at, patchfmt::page_bytes);
  object.rodata.offset = at;
  place_all(Place::rodata, false, 1);
  place_all(Place::rodata, true, 1);
  at = align_up(at, 8);
  for (GotEntry& entry : got_) {
    entry.image_offset = at;
    at += 8 * entry.words.size();
  }
  object.rodata.size = at - object.rodata.offset;

  at = align_up(at, patchfmt::page_bytes);
  object.data.offset = at;
  place_all(Place::data, false, 1);
  place_all(Place::data, true, 1);
  object.data.size = at - object.data.offset;
  object.image_size = align_up(at, patchfmt::page_bytes);
  if (object.image_size > patchfmt::image_bytes_max)
    refuse("", "",
           fmt::format("the image has {} bytes; {} is the limit", object.image_size,
                       patchfmt::image_bytes_max));

  at = 0;
  place_all(Place::tls, false, 1);
  place_all(Place::tls, true, 1);
  object.new_tls_size = at;
  for (const Atom& atom : atoms_)
    if (atom.place == Place::tls)
      object.new_tls_align = std::max(object.new_tls_align, atom.alignment);
}

std::optional<uint64_t> Linker::image_offset(const Dest& dest) const {
  switch (dest.what) {
    case Dest::What::atom:
      return atoms_[dest.index].image_offset;
    case Dest::What::got:
      return got_[dest.index].image_offset;
    case Dest::What::stub:
      return stubs_[dest.index].image_offset;
    default:
      return std::nullopt;
  }
}

void Linker::apply_fixup(Bytes& bytes, uint64_t base, uint64_t at, const Fixup& fixup) {
  auto& object = output_.object;
  const uint64_t place = base + at;  // in the image
  auto relocate = [&](uint32_t symbol, int64_t addend) {
    object.relocations.push_back({fixup.kind, place, symbol, addend});
  };
  if (fixup.dest.what == Dest::What::symbol) return relocate(fixup.dest.index, fixup.addend);
  const bool wide = fixup.kind == RelocationKind::absolute64 || fixup.kind == RelocationKind::pc64;
  const bool block_offset = fixup.dest.what == Dest::What::new_tls_offset;
  if (fixup.dest.what == Dest::What::constant || block_offset) {
    const int64_t value =
        fixup.addend +
        (block_offset ? static_cast<int64_t>(atoms_[fixup.dest.index].image_offset) : 0);
    if (wide)
      store_le(bytes, at, value);
    else
      store_le(bytes, at, static_cast<int32_t>(value));
    return;
  }
  const bool tls =
      fixup.dest.what == Dest::What::atom && atoms_[fixup.dest.index].place == Place::tls;
  const uint64_t offset = *image_offset(fixup.dest);
  if (tls)
    return relocate(intern({.kind = patchfmt::SymbolKind::new_tls,
                            .name = atoms_[fixup.dest.index].name,
                            .value = offset,
                            .size = atoms_[fixup.dest.index].size}),
                    fixup.addend);
  if (fixup.kind == RelocationKind::pc32) {
    const int64_t value = static_cast<int64_t>(offset) + fixup.addend - static_cast<int64_t>(place);
    LIVECARE_ASSERT(value >= std::numeric_limits<int32_t>::min() &&
                    value <= std::numeric_limits<int32_t>::max());
    store_le(bytes, at, static_cast<int32_t>(value));
    return;
  }
  if (fixup.kind == RelocationKind::pc64) {
    store_le(bytes, at, static_cast<int64_t>(offset) + fixup.addend - static_cast<int64_t>(place));
    return;
  }
  relocate(intern({.kind = patchfmt::SymbolKind::image, .name = "(image)"}),
           static_cast<int64_t>(offset) + fixup.addend);
}

void Linker::apply() {
  auto& object = output_.object;
  auto part_of = [&](Place place) -> patchfmt::Part& {
    return place == Place::text ? object.text : place == Place::data ? object.data : object.rodata;
  };
  for (Atom& atom : atoms_) {
    const bool tls = atom.place == Place::tls;
    // The new thread-local block counts as lying behind the image (patch.h, Relocation).
    const uint64_t base = tls ? object.image_size : 0;
    const uint64_t part = tls ? 0 : part_of(atom.place).offset;
    for (const Fixup& fixup : atom.fixups) {
      const uint64_t width = fixup.kind == RelocationKind::absolute64 ||
                                     fixup.kind == RelocationKind::pc64 ||
                                     fixup.kind == RelocationKind::tls_offset64 ||
                                     fixup.kind == RelocationKind::tls_module64 ||
                                     fixup.kind == RelocationKind::tp_offset64
                                 ? 8
                                 : 4;
      if (fixup.offset > atom.content.size() || width > atom.content.size() - fixup.offset)
        refuse(atom.name, "", "a relocation lies outside of it: the object is damaged");
      else if (tls && fixup.kind != RelocationKind::absolute64)
        refuse(atom.name, "", "a new thread-local variable is initialised with a distance");
      else
        apply_fixup(atom.content, base + atom.image_offset, fixup.offset, fixup);
    }
    if (atom.content.empty()) continue;
    Bytes& bytes = tls ? object.new_tls_bytes : part_of(atom.place).bytes;
    put(bytes, atom.image_offset - part, atom.content, atom.place == Place::text ? trap : 0);
  }
  for (const Stub& stub : stubs_) {
    // jmp *entry(%rip); traps behind it
    Bytes code = {0xff, 0x25, 0, 0, 0, 0};
    code.resize(stub_bytes, trap);
    const auto displacement = static_cast<int64_t>(got_[stub.got].image_offset) -
                              static_cast<int64_t>(stub.image_offset + 6);
    store_le(code, 2, static_cast<int32_t>(displacement));
    put(object.text.bytes, stub.image_offset, code, trap);
  }
  for (const GotEntry& entry : got_) {
    Bytes words(8 * entry.words.size(), 0);
    for (const Fixup& word : entry.words) apply_fixup(words, entry.image_offset, word.offset, word);
    put(object.rodata.bytes, entry.image_offset - object.rodata.offset, words, 0);
  }
  std::sort(object.relocations.begin(), object.relocations.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
}

void Linker::describe() {
  auto& object = output_.object;
  for (const Atom& atom : atoms_) {
    const bool named = atom.function || atom.place == Place::data;
    if (named && atom.size)
      object.image_symbols.push_back({atom.name, atom.image_offset, atom.size});
    if (!atom.kept) continue;
    for (const auto& other : object.kept_data)
      if (other.name == atom.name)
        refuse(atom.name, ".livecare.keep",
               "two files of the fix keep a variable of that name; "
               "rename one, the next level finds them by name");
    object.kept_data.push_back({atom.name, atom.image_offset, atom.size});
  }
  for (const Stub& stub : stubs_)
    object.image_symbols.push_back({stub.name, stub.image_offset, stub_bytes});
  std::sort(object.image_symbols.begin(), object.image_symbols.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
  for (PendingPatch& pending : patches_) {
    const Atom& atom = atoms_[pending.atom];
    pending.patch.new_offset = atom.image_offset + static_cast<uint64_t>(pending.atom_offset);
    pending.patch.new_size = atom.size - static_cast<uint64_t>(pending.atom_offset);
    object.functions.push_back(std::move(pending.patch));
  }
  for (PendingHook& pending : hooks_) {
    pending.hook.offset =
        atoms_[pending.atom].image_offset + static_cast<uint64_t>(pending.atom_offset);
    object.hooks.push_back(std::move(pending.hook));
  }
}

}  // namespace livecare::builder
