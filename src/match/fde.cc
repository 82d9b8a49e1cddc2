#include "match/fde.h"

#include <algorithm>
#include <map>

namespace livecare::match {
namespace {

constexpr uint8_t pe_absptr = 0x00;
constexpr uint8_t pe_udata4 = 0x03;
constexpr uint8_t pe_udata8 = 0x04;
constexpr uint8_t pe_sdata4 = 0x0b;
constexpr uint8_t pe_sdata8 = 0x0c;
constexpr uint8_t pe_pcrel = 0x10;

std::optional<uint64_t> read_leb128(ByteView bytes, uint64_t& at) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    auto byte = bytes.read<uint8_t>(at++);
    if (!byte) return std::nullopt;
    value |= uint64_t{*byte & 0x7fu} << shift;
    if (!(*byte & 0x80)) return value;
  }
  return std::nullopt;
}

unsigned encoded_size(uint8_t encoding) {
  switch (encoding & 0x0f) {
    case pe_absptr:
    case pe_udata8:
    case pe_sdata8:
      return 8;
    case pe_udata4:
    case pe_sdata4:
      return 4;
    default:
      return 0;
  }
}

std::optional<uint64_t> read_encoded(ByteView bytes, uint64_t at, uint8_t encoding) {
  switch (encoding & 0x0f) {
    case pe_absptr:
    case pe_udata8:
    case pe_sdata8:
      return bytes.read<uint64_t>(at);
    case pe_udata4:
      return bytes.read<uint32_t>(at);
    case pe_sdata4: {
      auto value = bytes.read<int32_t>(at);
      if (!value) return std::nullopt;
      return static_cast<uint64_t>(int64_t{*value});
    }
    default:
      return std::nullopt;
  }
}

// The pointer encoding ('R' of the augmentation) of the CIE whose body starts at `at`.
std::optional<uint8_t> cie_encoding(ByteView bytes, uint64_t at) {
  auto version = bytes.read<uint8_t>(at);
  auto augmentation = bytes.c_string(at + 1);
  if (!version || !augmentation) return std::nullopt;
  if (augmentation->empty()) return pe_absptr;
  if (augmentation->front() != 'z') return std::nullopt;
  uint64_t position = at + 1 + augmentation->size() + 1;
  if (!read_leb128(bytes, position) || !read_leb128(bytes, position)) return std::nullopt;
  if (*version == 1)
    ++position;
  else if (!read_leb128(bytes, position))
    return std::nullopt;
  if (!read_leb128(bytes, position)) return std::nullopt;
  uint8_t encoding = pe_absptr;
  for (char letter : augmentation->substr(1)) {
    if (letter == 'S' || letter == 'B') continue;
    auto byte = bytes.read<uint8_t>(position++);
    if (!byte) return std::nullopt;
    if (letter == 'R') encoding = *byte;
    if (letter == 'P') position += encoded_size(*byte);
  }
  return encoding;
}

}  // namespace

std::vector<CodeRange> fde_ranges(const elf::Image& file) {
  std::vector<CodeRange> ranges;
  const elf::Section* section = file.section(".eh_frame");
  if (!section) return ranges;
  ByteView bytes = section->bytes;
  std::map<uint64_t, std::optional<uint8_t>> encodings;  // by offset of the CIE
  for (uint64_t at = 0; at + 4 <= bytes.size();) {
    auto length = bytes.read<uint32_t>(at);
    if (!length || *length == 0 || *length == 0xffff'ffff) break;
    const uint64_t body = at + 4;
    auto id = bytes.read<uint32_t>(body);
    if (!id || *length > bytes.size() - body) break;
    if (*id == 0) {
      encodings[at] = cie_encoding(bytes, body + 4);
    } else if (auto cie = encodings.find(body - *id); cie != encodings.end() && cie->second) {
      const uint8_t encoding = *cie->second;
      const uint64_t field = body + 4;
      auto start = read_encoded(bytes, field, encoding);
      auto size = read_encoded(bytes, field + encoded_size(encoding), encoding & 0x0f);
      if (!start || !size) break;
      if (encoding & pe_pcrel) *start += section->address + field;
      // A size is never negative, whatever the signed encoding says.
      if (encoded_size(encoding) == 4) *size &= 0xffff'ffff;
      if (*size) ranges.push_back({*start, *size});
    }
    at = body + *length;
  }
  auto before = [](const CodeRange& a, const CodeRange& b) { return a.address < b.address; };
  auto same = [](const CodeRange& a, const CodeRange& b) { return a.address == b.address; };
  std::sort(ranges.begin(), ranges.end(), before);
  ranges.erase(std::unique(ranges.begin(), ranges.end(), same), ranges.end());
  return ranges;
}

}  // namespace livecare::match
