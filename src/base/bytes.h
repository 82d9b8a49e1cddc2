// Bytes from files, the network or another process are read through ByteView: bounds-checked,
// unaligned, little-endian (both of our CPUs are). No reinterpret_cast of input.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace livecare {

using Bytes = std::vector<uint8_t>;

// Does not own the bytes; lives no longer than they do. Copy freely.
class ByteView {
 public:
  ByteView() = default;
  ByteView(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  ByteView(const Bytes& bytes) : data_(bytes.data()), size_(bytes.size()) {}
  explicit ByteView(std::string_view text)
      : data_(reinterpret_cast<const uint8_t*>(text.data())), size_(text.size()) {}

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const uint8_t* begin() const { return data_; }
  const uint8_t* end() const { return data_ + size_; }

  // Empty when [offset, offset + size) does not lie inside.
  std::optional<ByteView> slice(uint64_t offset, uint64_t size) const {
    if (offset > size_ || size > size_ - offset) return std::nullopt;
    return ByteView(data_ + offset, size);
  }

  template <class T>
  std::optional<T> read(uint64_t offset) const {
    static_assert(std::is_integral_v<T>);
    auto part = slice(offset, sizeof(T));
    if (!part) return std::nullopt;
    T value;
    std::memcpy(&value, part->data(), sizeof(T));
    return value;
  }

  // The NUL-terminated string at offset; empty optional when no NUL follows inside the view.
  std::optional<std::string_view> c_string(uint64_t offset) const;

  Bytes copy() const { return Bytes(begin(), end()); }
  std::string_view as_text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  friend bool operator==(ByteView a, ByteView b) {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data_, b.data_, a.size_) == 0);
  }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

template <class T>
void append_le(Bytes& out, T value) {
  static_assert(std::is_integral_v<T>);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(T));
}

// Writes value at offset; the caller has made sure that it fits.
template <class T>
void store_le(Bytes& out, uint64_t offset, T value) {
  static_assert(std::is_integral_v<T>);
  std::memcpy(out.data() + offset, &value, sizeof(T));
}

std::string to_hex(ByteView bytes);
// Lowercase or uppercase digits, even count; empty optional otherwise.
std::optional<Bytes> from_hex(std::string_view text);

}  // namespace livecare
