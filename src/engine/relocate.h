// Fills in an image's words for the place where it will lie. Pure, thread-safe.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::engine {

// What a symbol of the patch is in the live process.
struct SymbolValue {
  uint64_t address = 0;  // not for thread-local ones
  bool is_tls = false;
  uint64_t tls_module = 0;  // module ID of the block
  uint64_t tls_offset = 0;  // in that block
  bool has_tp_offset = false;
  int64_t tp_offset = 0;  // of the variable, from the thread pointer (static TLS only)
};

struct RelocatedImage {
  Bytes text, rodata, data;  // data may be shorter than in memory: the rest is zero
};

// values[i] belongs to object.symbols[i].
Result<RelocatedImage> relocate(const patchfmt::Object& object, uint64_t image,
                                const std::vector<SymbolValue>& values);

// The initial contents of the new thread-local block, with the addresses that they hold. values as
// above; those of SymbolKind::new_tls are not needed yet.
Result<Bytes> relocate_new_tls(const patchfmt::Object& object,
                               const std::vector<SymbolValue>& values);

}  // namespace livecare::engine
