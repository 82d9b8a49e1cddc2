#include "trust/tuf/target_download.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/fd.h"
#include "base/text.h"
#include "trust/tuf/sinks.h"
#include "trust/tuf/store.h"

namespace livecare::trust::tuf {

namespace {

namespace fs = std::filesystem;

// No target's file name begins so: behind the % of an encoded byte stand hex digits.
constexpr std::string_view part_prefix = "%part-";
constexpr size_t read_bytes = 64 << 10;

Status check_path(const std::string& path) {
  if (!path.empty() && path != "." && path != "..") return ok_status();
  return make_error(ErrorCode::invalid_input, path, "is not a name of a file");
}

// DIRECTORY/DIGEST.NAME
std::string remote_path(const std::string& path, const TargetFile& file, bool is_prefixed) {
  if (!is_prefixed) return percent_encode(path, "/");
  size_t name = path.rfind('/') + 1;  // 0 without a slash
  return percent_encode(path.substr(0, name), "/") + known_digest(file.digests) + "." +
         percent_encode(path.substr(name));
}

// The digests of an open file from its beginning.
Status check_content(int fd, const TargetFile& file, const std::string& path) {
  TRY(DigestCheck check, DigestCheck::make(file.digests, path));
  if (::lseek(fd, 0, SEEK_SET) != 0) return errno_error(path, "cannot read its file", errno);
  Bytes buffer(read_bytes);
  for (;;) {
    ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(path, "cannot read its file", errno);
    if (got == 0) return check.finish();
    check.update(ByteView(buffer.data(), static_cast<size_t>(got)));
  }
}

bool is_there(const fs::path& file_path, const TargetFile& file, const std::string& path) {
  Fd fd(::open(file_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  return fd.valid() && ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) &&
         static_cast<uint64_t>(info.st_size) == file.bytes &&
         check_content(fd.get(), file, path).ok();
}

// What is checked is read back from the file: the bytes that will be used, not those that came.
Status fill(Fetcher& fetcher, const std::string& remote, const std::string& path,
            const TargetFile& file, int fd) {
  FileSink sink(path, file.bytes, fd);
  TRY_STATUS(sink.begin());
  TRY_STATUS(fetcher.fetch(Area::targets, remote, sink));
  if (sink.bytes() != file.bytes)
    return make_error(ErrorCode::untrusted, path, "has {} bytes, {} were signed for", sink.bytes(),
                      file.bytes);
  TRY_STATUS(check_content(fd, file, path));
  if (::fchmod(fd, 0644) != 0 || ::fsync(fd) != 0)
    return errno_error(path, "cannot sync its file", errno);
  return ok_status();
}

}  // namespace

Result<fs::path> download_target(Fetcher& fetcher, const std::string& path, const TargetFile& file,
                                 bool is_prefixed, const fs::path& directory) {
  TRY_STATUS(check_path(path));
  TRY(DigestCheck known, DigestCheck::make(file.digests, path));
  TRY(Fd lock, lock_directory(directory));
  TRY_STATUS(remove_leftovers(directory,
                              [](std::string_view name) { return name.starts_with(part_prefix); }));
  const fs::path final_path = directory / safe_file_name(path);
  if (is_there(final_path, file, path)) return final_path;
  std::string part = (directory / part_prefix).native() + "XXXXXX";
  Fd fd(::mkostemp(part.data(), O_CLOEXEC));
  if (!fd.valid()) return errno_error(part, "cannot create", errno);
  Status filled = fill(fetcher, remote_path(path, file, is_prefixed), path, file, fd.get());
  if (filled.ok() && ::rename(part.c_str(), final_path.c_str()) != 0)
    filled = errno_error(final_path.native(), "cannot rename into place", errno);
  if (!filled.ok()) {
    ::unlink(part.c_str());
    return filled.take_error();
  }
  if (::fsync(lock.get()) != 0) return errno_error(directory.native(), "cannot sync", errno);
  return final_path;
}

}  // namespace livecare::trust::tuf
