#include "objdiff/object_map.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/atom_cutter.h"
#include "objdiff/eh_frame.h"
#include "objdiff/ref_reader.h"

namespace livecare::objdiff {

Result<ObjectMap> ObjectMap::make(const elf::Image& image) {
  if (image.kind() != elf::Kind::relocatable)
    return make_error(ErrorCode::invalid_input, image.name(),
                      "not a relocatable object; give the .o file that the compiler wrote");
  for (const elf::Symbol& symbol : image.symbols())
    if (symbol.name == "__gnu_lto_slim")
      return make_error(ErrorCode::unsupported, image.name(),
                        "holds no code yet, only what link-time optimisation starts from; compile "
                        "with -fno-lto");
  ObjectMap map(image);
  AtomCutter cutter(map);
  TRY_STATUS(cutter.cut_named());
  RefReader reader(map);
  TRY_STATUS(reader.read_code());
  TRY_STATUS(reader.read_data());
  TRY_STATUS(reader.read_unwind());
  reader.mark_starts(cutter);
  cutter.cut_gaps();
  reader.bind();
  return map;
}

const elf::Section& ObjectMap::section_of(const Atom& atom) const {
  return image_->sections()[atom.section];
}

ByteView ObjectMap::bytes(const Atom& atom) const {
  auto part = section_of(atom).bytes.slice(atom.offset, atom.size);
  return part ? *part : ByteView();
}

std::span<const AtomId> ObjectMap::atoms_of_section(uint32_t section) const {
  if (section >= by_section_.size()) return {};
  return by_section_[section];
}

Place ObjectMap::find(uint32_t section, int64_t offset) const {
  auto ids = atoms_of_section(section);
  if (ids.empty()) return {};
  auto after = std::upper_bound(ids.begin(), ids.end(), offset, [&](int64_t at, AtomId id) {
    return at < static_cast<int64_t>(atoms_[id].offset);
  });
  AtomId id = after == ids.begin() ? *after : *(after - 1);
  return {id, offset - static_cast<int64_t>(atoms_[id].offset)};
}

Extent ObjectMap::extent(AtomId id) const {
  const Atom& atom = atoms_[id];
  return {atom.section, atom.offset, atom.size};
}

Reference ObjectMap::resolve(const elf::Relocation& relocation, uint32_t in_section) const {
  Place place = find(in_section, static_cast<int64_t>(relocation.offset));
  if (relocation.symbol >= image_->symbols().size()) return {};
  Ref ref;
  bool known = false;
  if (place.atom != no_atom) {
    for (const Ref& candidate : atoms_[place.atom].refs) {
      if (!candidate.from_relocation || static_cast<int64_t>(candidate.offset) != place.at)
        continue;
      ref = candidate;
      known = true;
    }
  }
  if (!known) {
    ref.symbol = relocation.symbol;
    RefReader::bind_ref(*this, ref, relocation.addend);
  }
  Reference out;
  if (ref.target == Ref::Target::nothing) return out;
  if (ref.target != Ref::Target::atom) {
    out.what = ref.symbol == 0 ? Reference::What::nothing : Reference::What::symbol;
    out.symbol = ref.symbol;
    out.offset = ref.at;
    return out;
  }
  const Atom& target = atoms_[ref.atom];
  out.section = target.section;
  if (target.named()) {
    out.what = Reference::What::symbol;
    out.symbol = target.symbol;
    out.offset = ref.at;
  } else {
    out.what = Reference::What::anonymous;
    out.offset = static_cast<int64_t>(target.offset) + ref.at;
  }
  return out;
}

}  // namespace livecare::objdiff
