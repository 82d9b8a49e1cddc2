#include "remote/maps.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>

#include "base/file_system.h"

namespace livecare::remote {

namespace {

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t address_min = 0x10000;             // vm.mmap_min_addr, rounded up
constexpr uint64_t address_end = 0x7fff'ffff'f000;    // user space, 4-level paging
constexpr uint64_t stack_room = uint64_t{256} << 20;  // below [stack]: it grows
constexpr uint64_t heap_room = uint64_t{64} << 20;    // above [heap]: brk grows

// Takes a number and the one character that must follow it.
bool take(std::string_view& text, int base, char after, uint64_t& value) {
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.empty() || text.front() != after) return false;
  text.remove_prefix(1);
  return true;
}

// The kernel writes a newline in a name as \012.
std::string unescape(std::string_view name) {
  std::string plain;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i, 4) == "\\012") {
      plain += '\n';
      i += 3;
    } else {
      plain += name[i];
    }
  }
  return plain;
}

bool parse_line(std::string_view line, Mapping& mapping) {
  uint64_t start = 0, end = 0, major = 0, minor = 0;
  if (!take(line, 16, '-', start) || !take(line, 16, ' ', end) || end < start) return false;
  if (line.size() < 5 || line[4] != ' ') return false;
  mapping.range = {RemoteAddress(start), end - start};
  mapping.readable = line[0] == 'r';
  mapping.writable = line[1] == 'w';
  mapping.executable = line[2] == 'x';
  mapping.shared = line[3] == 's';
  line.remove_prefix(5);
  if (!take(line, 16, ' ', mapping.offset) || !take(line, 16, ':', major) ||
      !take(line, 16, ' ', minor))
    return false;
  mapping.device = makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
  auto [rest, failure] = std::from_chars(line.data(), line.data() + line.size(), mapping.inode);
  if (failure != std::errc()) return false;
  line.remove_prefix(static_cast<size_t>(rest - line.data()));
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  constexpr std::string_view suffix = " (deleted)";
  if (mapping.inode != 0 && line.ends_with(suffix)) {
    mapping.deleted = true;
    line.remove_suffix(suffix.size());
  }
  mapping.path = unescape(line);
  return true;
}

}  // namespace

Result<Maps> Maps::read(pid_t pid) {
  TRY(std::string text, read_proc(fmt::format("/proc/{}/maps", pid)));
  return parse(text);
}

Result<Maps> Maps::parse(std::string_view text) {
  Maps maps;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    Mapping mapping;
    if (!parse_line(text.substr(0, end), mapping))
      return make_error(ErrorCode::invalid_input, "/proc/PID/maps", "cannot understand line '{}'",
                        text.substr(0, end));
    maps.mappings_.push_back(std::move(mapping));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return maps;
}

const Mapping* Maps::find(RemoteAddress address) const {
  auto next =
      std::upper_bound(mappings_.begin(), mappings_.end(), address,
                       [](RemoteAddress at, const Mapping& m) { return at < m.range.start; });
  if (next == mappings_.begin()) return nullptr;
  const Mapping& mapping = *std::prev(next);
  return mapping.range.contains(address) ? &mapping : nullptr;
}

std::optional<RemoteAddress> Maps::find_gap(RemoteRange near, uint64_t size, uint64_t reach) const {
  size = (size + page_bytes - 1) & ~(page_bytes - 1);
  uint64_t near_start = near.start.address(), near_end = near.end().address();
  if (size == 0 || near.size + size > reach) return std::nullopt;
  // Every byte of [start, start + size) within reach of every byte of near.
  uint64_t lowest = near_end > reach ? near_end - reach : 0;
  uint64_t highest = near_start + reach - size;
  lowest = (std::max(lowest, address_min) + page_bytes - 1) & ~(page_bytes - 1);
  highest = std::min(highest, address_end - size) & ~(page_bytes - 1);

  std::optional<uint64_t> best;
  uint64_t best_distance = 0;
  auto consider = [&](uint64_t hole_start, uint64_t hole_end) {
    uint64_t low = std::max(hole_start, lowest);
    if (hole_end < size) return;
    uint64_t high = std::min(hole_end - size, highest);
    if (low > high) return;
    uint64_t start = hole_start >= near_end ? low : high;  // the end of the hole next to `near`
    uint64_t distance = start >= near_end ? start - near_end : near_start - (start + size);
    if (best && distance >= best_distance) return;
    best = start;
    best_distance = distance;
  };
  uint64_t hole_start = address_min;
  for (const Mapping& mapping : mappings_) {
    uint64_t start = mapping.range.start.address();
    uint64_t room = mapping.path == "[stack]" ? stack_room : 0;
    if (start > hole_start + room) consider(hole_start, start - room);
    hole_start = std::max(
        hole_start, mapping.range.end().address() + (mapping.path == "[heap]" ? heap_room : 0));
    if (hole_start >= address_end) break;
  }
  if (hole_start < address_end) consider(hole_start, address_end);
  if (!best) return std::nullopt;
  return RemoteAddress(*best);
}

}  // namespace livecare::remote
