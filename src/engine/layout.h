// How an image lies in one block of the target's address space:
//
//   control header | stubs | image of the patch file: text, rodata, data | own page
//   r--              r-x     r-x, r--, rw- as the file says                rw-
//
// Stubs: the pad that remote calls return to, and a routine that calls a function and then stores a
// flag. libgcc's registration goes through it, so that the flag in the own page is right whenever
// the thread that ran it is done, even if nobody waited for it. The own page holds the flag,
// libgcc's `struct object` and a scratch area for remote calls. Pure.
#pragma once

#include <array>

#include "engine/control.h"
#include "patchfmt/patch.h"

namespace livecare::engine {

inline constexpr uint64_t unwinder_flag_offset = 0;  // in the own page, 8 bytes
inline constexpr uint64_t unwinder_object_offset = 64;
inline constexpr uint64_t unwinder_object_bytes = 256;  // libgcc's is 48 to 64
inline constexpr uint64_t scratch_bytes = 2048;
inline constexpr uint64_t flag_stub_offset = 64;  // in the page of the stubs

// void stub(a, b, function, flag, value): function(a, b); *flag = value.
inline constexpr std::array<uint8_t, 19> flag_stub = {
    0x51,                    // push %rcx
    0x41, 0x50,              // push %r8
    0x48, 0x83, 0xec, 0x08,  // sub $8, %rsp
    0xff, 0xd2,              // call *%rdx
    0x58,                    // pop %rax
    0x41, 0x58,              // pop %r8
    0x59,                    // pop %rcx
    0x4c, 0x89, 0x01,        // mov %r8, (%rcx)
    0xc3,                    // ret
    0xcc, 0xcc,
};

struct Layout {
  uint64_t control_size = 0;  // pages
  uint64_t stubs = 0;         // offsets from the region
  uint64_t image = 0;
  uint64_t own = 0;
  uint64_t size = 0;
};

inline uint64_t page_ceil(uint64_t bytes) {
  return (bytes + patchfmt::page_bytes - 1) & ~(patchfmt::page_bytes - 1);
}

inline Layout lay_out(uint64_t control_bytes_needed, uint64_t image_bytes) {
  Layout layout;
  layout.control_size = page_ceil(control_bytes_needed);
  layout.stubs = layout.control_size;
  layout.image = layout.stubs + patchfmt::page_bytes;
  layout.own = layout.image + page_ceil(image_bytes);
  layout.size = layout.own + patchfmt::page_bytes;
  return layout;
}

// The same, from a header that was found.
inline uint64_t stubs_of(const Control& control) {
  return control.image - patchfmt::page_bytes;
}
inline uint64_t own_page_of(const Control& control) {
  return control.region.end() - patchfmt::page_bytes;
}
inline uint64_t unwinder_flag_of(const Control& control) {
  return own_page_of(control) + unwinder_flag_offset;
}
inline uint64_t unwinder_object_of(const Control& control) {
  return own_page_of(control) + unwinder_object_offset;
}
inline uint64_t scratch_of(const Control& control) {
  return control.region.end() - scratch_bytes;
}

}  // namespace livecare::engine
