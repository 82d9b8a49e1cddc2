#include "trust/tuf/store.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/text.h"
#include "trust/keys.h"

namespace livecare::trust::tuf {

namespace fs = std::filesystem;

namespace {

constexpr size_t kept_of_long_name_bytes = 100;
constexpr long lock_poll_ns = 50'000'000;

// write_file_atomic writes NAME.json.RANDOM first, six letters or digits. No role's file ends so:
// the last six characters of NAME.json hold a dot.
bool is_half_written(std::string_view name) {
  constexpr size_t random_bytes = 6;
  size_t dot = name.rfind('.');
  return dot != std::string_view::npos && name.size() - dot - 1 == random_bytes &&
         name.substr(0, dot).ends_with(".json");
}

}  // namespace

std::string safe_file_name(std::string_view text) {
  std::string name = percent_encode(text);
  if (name.size() > file_name_bytes_max)
    name = name.substr(0, kept_of_long_name_bytes) + "-" + sha256_hex(ByteView(text));
  return name;
}

Result<Fd> lock_directory(const fs::path& directory) {
  std::error_code failure;
  fs::create_directories(directory, failure);
  if (failure)
    return make_error(ErrorCode::io, directory.native(), "cannot make it: {}", failure.message());
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return errno_error(directory.native(), "cannot open", errno);
  const uint64_t begin_us = monotonic_us();
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return errno_error(directory.native(), "cannot lock", errno);
    if (monotonic_us() - begin_us > uint64_t{store_wait_seconds_max} * 1'000'000)
      return make_error(ErrorCode::busy, directory.native(),
                        "another process has been updating it for {} s; wait for it or end it",
                        store_wait_seconds_max);
    timespec pause{0, lock_poll_ns};
    ::nanosleep(&pause, nullptr);
  }
  return fd;
}

Status remove_leftovers(const fs::path& directory, bool (*are_leftovers)(std::string_view)) {
  std::error_code failure;
  fs::directory_iterator entries(directory, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    std::error_code ignored;  // it is in nobody's way
    if (are_leftovers(entries->path().filename().native())) fs::remove(entries->path(), ignored);
  }
  if (failure)
    return make_error(ErrorCode::io, directory.native(), "cannot list: {}", failure.message());
  return ok_status();
}

Result<Store> Store::open(const fs::path& directory) {
  Store store;
  store.directory_ = directory;
  TRY(store.lock_, lock_directory(directory));
  TRY_STATUS(remove_leftovers(directory, is_half_written));
  return store;
}

fs::path Store::path_of(const std::string& role) const {
  return directory_ / (safe_file_name(role) + ".json");
}

Result<std::optional<Bytes>> Store::read(const std::string& role, uint64_t bytes_max) const {
  auto bytes = read_file(path_of(role), bytes_max);
  if (bytes.ok()) return std::optional<Bytes>(std::move(bytes).value());
  if (bytes.error().code == ErrorCode::not_found) return std::optional<Bytes>();
  return bytes.take_error();
}

Status Store::write(const std::string& role, ByteView bytes) {
  return write_file_atomic(path_of(role), bytes, 0644);
}

Status Store::remove(const std::string& role) {
  if (::unlink(path_of(role).c_str()) != 0 && errno != ENOENT)
    return errno_error(path_of(role).native(), "cannot remove", errno);
  if (::fsync(lock_.get()) != 0) return errno_error(directory_.native(), "cannot sync", errno);
  return ok_status();
}

}  // namespace livecare::trust::tuf
