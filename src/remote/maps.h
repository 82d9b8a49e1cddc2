// /proc/PID/maps as values: a snapshot, old the moment it is read.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "remote/remote_ptr.h"

namespace livecare::remote {

struct Mapping {
  RemoteRange range;
  bool readable = false, writable = false, executable = false, shared = false;
  uint64_t offset = 0;  // in the file
  uint64_t device = 0;  // makedev(major, minor); 0 for anonymous
  uint64_t inode = 0;
  std::string path;      // unescaped, without " (deleted)"; "[stack]", "[heap]", "[anon:x]", ""
  bool deleted = false;  // the file was unlinked or replaced

  bool is_file() const { return inode != 0; }
  bool is_anonymous() const { return inode == 0; }
};

class Maps {
 public:
  static Result<Maps> read(pid_t pid);
  static Result<Maps> parse(std::string_view text);

  const std::vector<Mapping>& all() const { return mappings_; }  // in order of address
  const Mapping* find(RemoteAddress address) const;              // nullptr: a hole

  // A hole of size bytes (rounded up to pages) whose every byte is within +-reach of every byte of
  // `near`; the one nearest to it. Holes right below a stack or above the heap's end are left
  // alone.
  std::optional<RemoteAddress> find_gap(RemoteRange near, uint64_t size,
                                        uint64_t reach = (uint64_t{1} << 31) - (1 << 20)) const;

 private:
  std::vector<Mapping> mappings_;
};

}  // namespace livecare::remote
