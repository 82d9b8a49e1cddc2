// Source of the format: Linux Standard Base 5.0, "Exception Frames"; DWARF 5, section 6.4.
#include "objdiff/eh_frame.h"

#include <algorithm>
#include <map>

namespace livecare::objdiff {
namespace {

struct Cie {
  uint8_t code_width = 8;
  bool sized_augmentation = false;
  bool has_lsda = false;
  const elf::Relocation* personality = nullptr;
};

std::optional<uint64_t> read_uleb(ByteView bytes, uint64_t& at) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    auto byte = bytes.read<uint8_t>(at++);
    if (!byte) return std::nullopt;
    value |= static_cast<uint64_t>(*byte & 0x7f) << shift;
    if (!(*byte & 0x80)) return value;
  }
  return std::nullopt;
}

uint8_t pointer_width(uint8_t encoding) {
  switch (encoding & 0x0f) {
    case 0x02:
    case 0x0a:
      return 2;
    case 0x03:
    case 0x0b:
      return 4;
    default:
      return 8;
  }
}

class Reader {
 public:
  Reader(const elf::Image& image, const elf::Section& section)
      : image_(image), section_(section), relocations_(image.relocations(section.index)) {}

  Status read(std::vector<UnwindEntry>& out) {
    uint64_t at = 0;
    while (at + 4 <= section_.bytes.size()) {
      uint32_t length = *section_.bytes.read<uint32_t>(at);
      if (length == 0) {
        at += 4;
        continue;
      }
      auto entry = section_.bytes.slice(at + 4, length);
      if (!entry || length < 4) return damaged(at);
      uint32_t id = *entry->read<uint32_t>(0);
      if (id == 0) {
        auto cie = read_cie(*entry, at + 4);
        if (!cie) return damaged(at);
        cies_[at] = *cie;
      } else {
        auto cie = cies_.find(at + 4 - id);
        if (cie == cies_.end()) return damaged(at);
        if (!read_fde(*entry, at + 4, cie->second, out)) return damaged(at);
      }
      at += 4 + uint64_t{length};
    }
    return ok_status();
  }

 private:
  Error damaged(uint64_t at) const {
    return make_error(ErrorCode::invalid_input, image_.name(),
                      "damaged unwind entry at offset {:#x} of {}; compile the object again", at,
                      section_.name);
  }

  const elf::Relocation* relocation_at(uint64_t offset) const {
    auto found = std::lower_bound(
        relocations_.begin(), relocations_.end(), offset,
        [](const elf::Relocation& relocation, uint64_t o) { return relocation.offset < o; });
    return found != relocations_.end() && found->offset == offset ? &*found : nullptr;
  }

  std::optional<Cie> read_cie(ByteView entry, uint64_t base) const {
    Cie cie;
    auto version = entry.read<uint8_t>(4);
    auto augmentation = entry.c_string(5);
    if (!version || !augmentation) return std::nullopt;
    uint64_t at = 5 + augmentation->size() + 1;
    if (!read_uleb(entry, at) || !read_uleb(entry, at)) return std::nullopt;
    if (*version == 1)
      at++;
    else if (!read_uleb(entry, at))
      return std::nullopt;
    if (!augmentation->starts_with("z")) return cie;
    cie.sized_augmentation = true;
    if (!read_uleb(entry, at)) return std::nullopt;
    for (char what : augmentation->substr(1)) {
      if (what == 'S' || what == 'B' || what == 'G') continue;
      auto encoding = entry.read<uint8_t>(at++);
      if (!encoding) return std::nullopt;
      if (what == 'R') cie.code_width = pointer_width(*encoding);
      if (what == 'L') cie.has_lsda = *encoding != 0xff;
      if (what != 'P') continue;
      cie.personality = relocation_at(base + at);
      at += pointer_width(*encoding);
    }
    return cie;
  }

  bool read_fde(ByteView entry, uint64_t base, const Cie& cie,
                std::vector<UnwindEntry>& out) const {
    UnwindEntry fde;
    fde.code = relocation_at(base + 4);
    uint64_t at = 4 + 2 * uint64_t{cie.code_width};
    if (cie.sized_augmentation) {
      auto size = read_uleb(entry, at);
      if (!size) return false;
      if (cie.has_lsda && *size > 0) fde.lsda = relocation_at(base + at);
    }
    if (fde.lsda) fde.personality = cie.personality;
    if (fde.code) out.push_back(fde);
    return true;
  }

  const elf::Image& image_;
  const elf::Section& section_;
  const std::vector<elf::Relocation>& relocations_;
  std::map<uint64_t, Cie> cies_;
};

}  // namespace

Result<std::vector<UnwindEntry>> read_unwind_entries(const elf::Image& image) {
  std::vector<UnwindEntry> out;
  for (const elf::Section& section : image.sections())
    if (section.name == ".eh_frame") TRY_STATUS(Reader(image, section).read(out));
  return out;
}

}  // namespace livecare::objdiff
