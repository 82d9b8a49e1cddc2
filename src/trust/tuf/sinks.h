// Bounded places for fetched bytes: whatever a server sends, no more than was agreed is kept.
#pragma once

#include <string>

#include "base/fd.h"
#include "trust/tuf/fetcher.h"

namespace livecare::trust::tuf {

// In memory, up to bytes_max; one byte more is untrusted ("endless data").
class MemorySink : public FetchSink {
 public:
  MemorySink(std::string object, uint64_t bytes_max)
      : object_(std::move(object)), bytes_max_(bytes_max) {}
  Status begin() override;
  Status write(ByteView piece) override;
  uint64_t bytes_max() const override { return bytes_max_; }
  Bytes take() { return std::move(bytes_); }

 private:
  std::string object_;
  uint64_t bytes_max_;
  Bytes bytes_;
};

// Into an open file, up to bytes_max.
class FileSink : public FetchSink {
 public:
  FileSink(std::string object, uint64_t bytes_max, int fd)
      : object_(std::move(object)), bytes_max_(bytes_max), fd_(fd) {}
  Status begin() override;
  Status write(ByteView piece) override;
  uint64_t bytes_max() const override { return bytes_max_; }
  uint64_t bytes() const { return bytes_; }

 private:
  std::string object_;
  uint64_t bytes_max_;
  int fd_;  // borrowed
  uint64_t bytes_ = 0;
};

}  // namespace livecare::trust::tuf
