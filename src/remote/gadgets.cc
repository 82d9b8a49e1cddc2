#include "remote/gadgets.h"

#include <algorithm>
#include <array>
#include <vector>

#include "remote/maps.h"

namespace livecare::remote {

namespace {

constexpr uint64_t searched_bytes_max = 64 << 20;

constexpr std::array<uint8_t, 3> syscall_ret_code = {0x0f, 0x05, 0xc3};
constexpr std::array<uint8_t, 9> sigreturn_code = {0x48, 0xc7, 0xc0, 0x0f, 0x00,
                                                   0x00, 0x00, 0x0f, 0x05};
constexpr std::array<uint8_t, 7> sigreturn_code_short = {0xb8, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};

template <size_t N>
void look_for(const std::array<uint8_t, N>& code, const Bytes& text, RemoteAddress base,
              RemoteAddress& found) {
  if (!found.is_null()) return;
  auto at = std::search(text.begin(), text.end(), code.begin(), code.end());
  if (at != text.end()) found = base + (at - text.begin());
}

// Smaller is looked at first.
int rank(const Mapping& mapping) {
  if (mapping.path.find("/libc.so.6") != std::string::npos ||
      mapping.path.find("/libc-2.") != std::string::npos)
    return 0;
  if (mapping.path.find("/ld-") != std::string::npos) return 1;
  return mapping.is_file() || mapping.path == "[vdso]" ? 2 : 3;
}

}  // namespace

Result<Gadgets> find_gadgets(const Memory& memory) {
  TRY(Maps maps, Maps::read(memory.pid()));
  std::vector<const Mapping*> places;
  for (const Mapping& mapping : maps.all())
    if (mapping.executable && !mapping.writable && mapping.path != "[vsyscall]")
      places.push_back(&mapping);
  std::stable_sort(places.begin(), places.end(),
                   [](const Mapping* a, const Mapping* b) { return rank(*a) < rank(*b); });
  Gadgets gadgets;
  for (const Mapping* place : places) {
    Bytes text =
        memory.read_prefix(place->range.start, std::min(place->range.size, searched_bytes_max));
    RemoteAddress base = place->range.start;
    look_for(syscall_ret_code, text, base, gadgets.syscall_ret);
    look_for(sigreturn_code, text, base, gadgets.sigreturn);
    look_for(sigreturn_code_short, text, base, gadgets.sigreturn);
    if (!gadgets.syscall_ret.is_null() && !gadgets.sigreturn.is_null()) return gadgets;
  }
  return make_error(ErrorCode::unsupported, fmt::format("process {}", memory.pid()),
                    "holds no {} to borrow; it uses no C library that is known",
                    gadgets.syscall_ret.is_null() ? "'syscall; ret'" : "signal return code");
}

}  // namespace livecare::remote
