// JSON as update metadata uses it: read strictly, and written in the canonical form that signatures
// are over (OLPC: http://wiki.laptop.org/go/Canonical_JSON, named by the specification of TUF).
// Pure functions; safe in any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::trust::tuf {

using Json = nlohmann::json;

inline constexpr size_t json_depth_max = 32;

// Refuses (invalid_input, naming `object`) what is not one JSON value in UTF-8, a member that an
// object names twice, and nesting deeper than json_depth_max: two readers of such bytes could see
// two different things under one signature.
Result<Json> parse_json(ByteView bytes, std::string_view object);

// The bytes that are signed. Refuses numbers that are not integers of 64 bits.
Result<std::string> canonical_json(const Json& value, std::string_view object);

}  // namespace livecare::trust::tuf
