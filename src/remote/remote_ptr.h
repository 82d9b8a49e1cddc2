// An address in another process. Never dereferenced here, never mixed up with a number or with a
// pointer of our own; arithmetic is in units of T (bytes for void).
#pragma once

#include <compare>
#include <cstdint>
#include <type_traits>

namespace livecare::remote {

template <class T>
class RemotePtr {
 public:
  constexpr RemotePtr() = default;
  constexpr explicit RemotePtr(uint64_t address) : address_(address) {}

  constexpr uint64_t address() const { return address_; }
  constexpr bool is_null() const { return address_ == 0; }

  template <class U>
  constexpr RemotePtr<U> cast() const {
    return RemotePtr<U>(address_);
  }
  constexpr operator RemotePtr<void>() const requires(!std::is_void_v<T>) {
    return RemotePtr<void>(address_);
  }

  constexpr RemotePtr operator+(int64_t count) const {
    return RemotePtr(address_ + static_cast<uint64_t>(count) * unit());
  }
  constexpr RemotePtr operator-(int64_t count) const { return *this + -count; }
  // The distance in bytes.
  constexpr int64_t bytes_from(RemotePtr other) const {
    return static_cast<int64_t>(address_ - other.address_);
  }
  // NOLINTNEXTLINE(modernize-use-nullptr): false positive of clang-tidy 14
  friend constexpr auto operator<=>(RemotePtr, RemotePtr) = default;

 private:
  static constexpr uint64_t unit() {
    if constexpr (std::is_void_v<T>) {
      return 1;
    } else {
      return sizeof(T);
    }
  }
  uint64_t address_ = 0;
};

using RemoteAddress = RemotePtr<void>;

// [start, start + size)
struct RemoteRange {
  RemoteAddress start;
  uint64_t size = 0;

  constexpr RemoteAddress end() const { return start + static_cast<int64_t>(size); }
  constexpr bool contains(RemoteAddress address) const {
    return address.address() - start.address() < size;
  }
  friend constexpr bool operator==(const RemoteRange&, const RemoteRange&) = default;
};

}  // namespace livecare::remote
