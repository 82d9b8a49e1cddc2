// The directory that keeps what a host trusts: root.json, timestamp.json, snapshot.json,
// targets.json and one file for each delegated role that was needed. A file is replaced whole or
// not at all, and is on the disk before the call comes back, so a process may be killed between any
// two calls. While a Store is open no other process has the same directory open (flock on the
// directory).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace livecare::trust::tuf {

inline constexpr size_t file_name_bytes_max = 200;

// A name for a file, without a slash: percent-encoded, and where that is longer than
// file_name_bytes_max cut, with the SHA-256 of the whole behind it.
std::string safe_file_name(std::string_view text);

class Store {
 public:
  // Makes the directory. Waits for another process that has it, up to store_wait_seconds_max
  // (busy). Removes what a killed process left half written.
  static Result<Store> open(const std::filesystem::path& directory);

  // Nothing when there is no such file; the caller judges what is in it.
  Result<std::optional<Bytes>> read(const std::string& role, uint64_t bytes_max) const;
  Status write(const std::string& role, ByteView bytes);
  // It is no error if it is not there.
  Status remove(const std::string& role);

  const std::filesystem::path& directory() const { return directory_; }

 private:
  std::filesystem::path path_of(const std::string& role) const;

  std::filesystem::path directory_;
  Fd lock_;
};

inline constexpr int store_wait_seconds_max = 60;

// The lock that a Store holds, for another directory: released when the Fd goes.
Result<Fd> lock_directory(const std::filesystem::path& directory);

// Removes the files of `directory` whose names are_leftovers says are nobody's.
Status remove_leftovers(const std::filesystem::path& directory,
                        bool (*are_leftovers)(std::string_view name));

}  // namespace livecare::trust::tuf
