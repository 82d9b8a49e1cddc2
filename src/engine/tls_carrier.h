// The tiny shared object that brings new thread-local data into a process: nothing but a PT_TLS
// segment and two words which the dynamic linker fills with the module ID and the offset from the
// thread pointer. The linker allocates and initialises the block for every thread, those that run
// already included, which nobody outside of it could do.
//
// The offset word is also what makes it a static block: its relocation obliges the linker to find
// room in the static area, or to fail. Without a static block (code that uses __tls_get_addr only)
// the word is left out. Pure, thread-safe.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::engine {

struct TlsCarrier {
  std::string soname;
  Bytes file;
};

// Where the linker leaves its answers, from the load bias of the carrier.
inline constexpr uint64_t carrier_module_offset = 0x1e0;
inline constexpr uint64_t carrier_tp_offset_offset = 0x1e8;

struct TlsBlock {
  ByteView initial;      // may be shorter than size
  std::string identity;  // of what lies where in it
  uint64_t size = 0;
  uint64_t alignment = 1;  // power of two
  bool is_static = true;
};

// The same block of the same target has the same name, so a carrier that is loaded already is found
// again by its soname. Its addresses count as well: an image that lies elsewhere, or another level,
// has a block of its own.
TlsCarrier make_tls_carrier(std::string_view target_build_id, const TlsBlock& block);

}  // namespace livecare::engine
