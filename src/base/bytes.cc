#include "base/bytes.h"

namespace livecare {

std::optional<std::string_view> ByteView::c_string(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  const void* end = std::memchr(data_ + offset, 0, size_ - offset);
  if (end == nullptr) return std::nullopt;
  size_t length = static_cast<size_t>(static_cast<const uint8_t*>(end) - (data_ + offset));
  return std::string_view(reinterpret_cast<const char*>(data_ + offset), length);
}

std::string to_hex(ByteView bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = hex_digit(text[i]);
    int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return bytes;
}

}  // namespace livecare
