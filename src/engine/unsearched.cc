#include "engine/unsearched.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "remote/cpu_time.h"

namespace livecare::engine {
namespace {

using remote::Mapping;
using remote::RemoteAddress;
using remote::RemoteRange;

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t looked_at_bytes_min = 64 << 10;  // a smaller mapping is read as a whole
constexpr size_t entries_a_read = 16384;            // of /proc/PID/pagemap
constexpr uint64_t touched = uint64_t{1} << 63 | uint64_t{1} << 62;  // present or swapped out

}  // namespace

Unsearched::Unsearched(pid_t pid) : entries_(entries_a_read) {
  std::string path = "/proc/" + std::to_string(pid) + "/pagemap";
  pagemap_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

bool Unsearched::add_untouched(const Mapping& mapping, uint64_t deadline_us,
                               std::vector<RemoteRange>& out) {
  uint64_t first = mapping.range.start.address() / page_bytes;
  uint64_t pages = mapping.range.size / page_bytes;
  uint64_t hole_begin = 0, hole_pages = 0;
  auto close_hole = [&] {
    if (hole_pages != 0)
      out.push_back({RemoteAddress(hole_begin * page_bytes), hole_pages * page_bytes});
    hole_pages = 0;
  };
  for (uint64_t done = 0; done < pages;) {
    size_t count = std::min<uint64_t>(pages - done, entries_.size());
    ssize_t got = pread(pagemap_.get(), entries_.data(), count * sizeof(uint64_t),
                        static_cast<off_t>((first + done) * sizeof(uint64_t)));
    if (got < static_cast<ssize_t>(sizeof(uint64_t))) break;
    size_t known = static_cast<size_t>(got) / sizeof(uint64_t);
    for (size_t i = 0; i < known; ++i) {
      if ((entries_[i] & touched) != 0) {
        close_hole();
        continue;
      }
      if (hole_pages++ == 0) hole_begin = first + done + i;
    }
    done += known;
    if (remote::cpu_time_us() > deadline_us) return false;
  }
  close_hole();
  return true;
}

bool Unsearched::add_untouched(const remote::Maps& maps, uint64_t us_max,
                               std::vector<RemoteRange>& out) {
  if (!pagemap_.valid()) return true;
  uint64_t deadline_us = remote::cpu_time_us() + us_max;
  for (const Mapping& mapping : maps.all()) {
    if (!mapping.writable || mapping.shared || mapping.range.size < looked_at_bytes_min) continue;
    if (!add_untouched(mapping, deadline_us, out)) return false;
  }
  return true;
}

}  // namespace livecare::engine
