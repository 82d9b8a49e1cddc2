#include "trust/tuf/sinks.h"

#include <cerrno>

namespace livecare::trust::tuf {

namespace {

Status check_room(const std::string& object, uint64_t have, uint64_t more, uint64_t bytes_max) {
  if (more <= bytes_max - have) return ok_status();
  return make_error(ErrorCode::untrusted, object,
                    "is larger than the {} bytes that may come; the download was stopped",
                    bytes_max);
}

}  // namespace

Status MemorySink::begin() {
  bytes_.clear();
  return ok_status();
}

Status MemorySink::write(ByteView piece) {
  TRY_STATUS(check_room(object_, bytes_.size(), piece.size(), bytes_max_));
  bytes_.insert(bytes_.end(), piece.begin(), piece.end());
  return ok_status();
}

Status FileSink::begin() {
  bytes_ = 0;
  if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0)
    return errno_error(object_, "cannot start its file", errno);
  return ok_status();
}

Status FileSink::write(ByteView piece) {
  TRY_STATUS(check_room(object_, bytes_, piece.size(), bytes_max_));
  size_t done = 0;
  while (done < piece.size()) {
    ssize_t put = ::write(fd_, piece.data() + done, piece.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(object_, "cannot write its file", errno);
    done += static_cast<size_t>(put);
  }
  bytes_ += piece.size();
  return ok_status();
}

}  // namespace livecare::trust::tuf
