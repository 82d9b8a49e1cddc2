// Files as whole values. The functions here are for the tool's own files (configuration, caches,
// patches); a seam for tests is a directory prefix (--root), not an interface.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare {

inline constexpr uint64_t read_file_bytes_max = uint64_t{2} << 30;

// Refuses (invalid_input) a file larger than bytes_max before reading it.
Result<Bytes> read_file(const std::filesystem::path& path,
                        uint64_t bytes_max = read_file_bytes_max);
Result<std::string> read_text(const std::filesystem::path& path, uint64_t bytes_max = 64 << 20);

// Writes beside the target, fsyncs and renames: a reader sees the old or the new file, whole.
// Parent directories are made.
Status write_file_atomic(const std::filesystem::path& path, ByteView bytes, unsigned mode = 0644);

// A file of /proc: size is not known beforehand, may vanish at any moment (process_died).
Result<std::string> read_proc(const std::filesystem::path& path);

// A directory that is removed with its content when the object goes.
class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> make(std::string_view prefix = "livecare");
  TemporaryDirectory(TemporaryDirectory&& other) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&& other) noexcept;
  ~TemporaryDirectory();
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace livecare
