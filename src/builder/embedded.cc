#include "builder/embedded.h"

// LIVECARE_RECORDER and LIVECARE_..._HEADER are paths, set by the room's CMakeLists.txt.
#define EMBED(name, path)                                                    \
  __asm__(".pushsection .rodata." #name                                      \
          ",\"a\"\n"                                                         \
          ".balign 16\n"                                                     \
          ".globl " #name "\n.hidden " #name "\n" #name ":\n.incbin \"" path \
          "\"\n"                                                             \
          ".globl " #name "_end\n.hidden " #name "_end\n" #name              \
          "_end:\n.byte 0\n"                                                 \
          ".popsection\n");                                                  \
  extern "C" const uint8_t name[], name##_end[]

EMBED(livecare_embedded_recorder, LIVECARE_RECORDER);
EMBED(livecare_embedded_patch_header, LIVECARE_PATCH_HEADER);
EMBED(livecare_embedded_kernel_header, LIVECARE_KERNEL_PATCH_HEADER);

namespace livecare::builder {

namespace {
ByteView between(const uint8_t* begin, const uint8_t* end) {
  return {begin, static_cast<size_t>(end - begin)};
}
}  // namespace

ByteView embedded_recorder() {
  return between(livecare_embedded_recorder, livecare_embedded_recorder_end);
}

ByteView embedded_patch_header() {
  return between(livecare_embedded_patch_header, livecare_embedded_patch_header_end);
}

ByteView embedded_kernel_patch_header() {
  return between(livecare_embedded_kernel_header, livecare_embedded_kernel_header_end);
}

}  // namespace livecare::builder
