// Reads a ByteView from front to back. A read past the end gives zero or nothing and clears ok();
// the cursor then stays where it was and every later read gives the same, so that a caller may
// check once per record. Does not own the bytes.
#pragma once

#include "base/bytes.h"

namespace livecare {

class ByteCursor {
 public:
  explicit ByteCursor(ByteView bytes) : bytes_(bytes) {}

  template <class T>
  T number() {
    auto value = ok_ ? bytes_.read<T>(position_) : std::nullopt;
    ok_ = value.has_value();
    if (ok_) position_ += sizeof(T);
    return value.value_or(0);
  }

  ByteView bytes(uint64_t size) {
    auto part = ok_ ? bytes_.slice(position_, size) : std::nullopt;
    ok_ = part.has_value();
    if (ok_) position_ += size;
    return part.value_or(ByteView());
  }

  // Up to and without the NUL that must follow.
  std::string_view c_string() {
    auto text = ok_ ? bytes_.c_string(position_) : std::nullopt;
    ok_ = text.has_value();
    if (ok_) position_ += text->size() + 1;
    return text.value_or(std::string_view());
  }

  // For a caller who finds that what was read cannot be.
  void fail() { ok_ = false; }

  bool ok() const { return ok_; }
  bool at_end() const { return position_ == bytes_.size(); }
  uint64_t position() const { return position_; }

 private:
  ByteView bytes_;
  uint64_t position_ = 0;
  bool ok_ = true;
};

}  // namespace livecare
