// The body of a patch file as a byte string: every field of a Patchset in one fixed order
// (docs/formats/patch.md). No knowledge of compression, digests or signatures.
// Pure, thread-safe.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "patchfmt/patch.h"

namespace livecare::patchfmt {

Bytes write_body(const Patchset& patchset);

// Only the grammar and the counts are checked here; check.h checks what the fields mean.
Result<Patchset> read_body(ByteView body, std::string_view name);

}  // namespace livecare::patchfmt
