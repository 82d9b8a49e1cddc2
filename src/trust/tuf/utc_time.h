// Expiry as update metadata writes it: "2030-01-31T12:00:00Z" and no other form (section 4.2 of the
// specification: ISO 8601, UTC, no fractions). Seconds since 1970.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace livecare::trust::tuf {

std::optional<int64_t> parse_utc(std::string_view text);

// For years 0 to 9999.
std::string format_utc(int64_t seconds);

}  // namespace livecare::trust::tuf
