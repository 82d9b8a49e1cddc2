#include "base/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "base/fd.h"

namespace livecare {

namespace fs = std::filesystem;

namespace {

Status read_all(int fd, const fs::path& path, uint64_t bytes_max, Bytes& out) {
  uint8_t buffer[65536];
  for (;;) {
    ssize_t got = ::read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(path.native(), "cannot read", errno);
    if (got == 0) return ok_status();
    if (out.size() + static_cast<size_t>(got) > bytes_max)
      return make_error(ErrorCode::invalid_input, path.native(),
                        "larger than the limit of {} bytes", bytes_max);
    out.insert(out.end(), buffer, buffer + got);
  }
}

}  // namespace

Result<Bytes> read_file(const fs::path& path, uint64_t bytes_max) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_error(path.native(), "cannot open", errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_error(path.native(), "cannot stat", errno);
  if (S_ISDIR(info.st_mode))
    return make_error(ErrorCode::invalid_input, path.native(), "is a directory, not a file");
  if (static_cast<uint64_t>(info.st_size) > bytes_max)
    return make_error(ErrorCode::invalid_input, path.native(), "larger than the limit of {} bytes",
                      bytes_max);
  Bytes bytes;
  bytes.reserve(static_cast<size_t>(info.st_size));
  TRY_STATUS(read_all(fd.get(), path, bytes_max, bytes));
  return bytes;
}

Result<std::string> read_text(const fs::path& path, uint64_t bytes_max) {
  TRY(Bytes bytes, read_file(path, bytes_max));
  return std::string(bytes.begin(), bytes.end());
}

Result<std::string> read_proc(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    Error error = errno_error(path.native(), "cannot open", errno);
    if (error.code == ErrorCode::not_found) error.code = ErrorCode::process_died;
    return error;
  }
  Bytes bytes;
  TRY_STATUS(read_all(fd.get(), path, read_file_bytes_max, bytes));
  return std::string(bytes.begin(), bytes.end());
}

Status write_file_atomic(const fs::path& path, ByteView bytes, unsigned mode) {
  std::error_code failure;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), failure);
  if (failure)
    return make_error(ErrorCode::io, path.native(), "cannot make its directory: {}",
                      failure.message());
  std::string temporary = path.native() + ".XXXXXX";
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return errno_error(path.native(), "cannot create", errno);
  auto fail = [&](std::string_view action) {
    Error error = errno_error(path.native(), action, errno);
    ::unlink(temporary.c_str());
    return error;
  };
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t put = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail("cannot write");
    done += static_cast<size_t>(put);
  }
  if (::fchmod(fd.get(), mode) != 0) return fail("cannot set the mode of");
  if (::fsync(fd.get()) != 0) return fail("cannot sync");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail("cannot rename into place");
  Fd directory(::open(path.has_parent_path() ? path.parent_path().c_str() : ".",
                      O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid()) ::fsync(directory.get());
  return ok_status();
}

Result<TemporaryDirectory> TemporaryDirectory::make(std::string_view prefix) {
  std::error_code failure;
  fs::path base = fs::temp_directory_path(failure);
  std::string name = (base / (std::string(prefix) + ".XXXXXX")).native();
  if (::mkdtemp(name.data()) == nullptr)
    return errno_error(name, "cannot make a temporary directory", errno);
  return TemporaryDirectory(fs::path(name));
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryDirectory& TemporaryDirectory::operator=(TemporaryDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace livecare
