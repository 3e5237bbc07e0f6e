// Reading the text form of values of fixed size, as PostgreSQL's input functions read it. What only
// the newest server accepts (0x1F, 1_000) is accepted here too: an older one refuses it by itself.
//
// Dates and times are read in ISO form only, the form of DateStyle ISO and of every driver; its
// meaning depends on no setting. Any other form may be a date under the session's DateStyle, so it
// is 0A000 rather than 22007.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

// pg_strtoint64() within the bounds given; `type` is the type's SQL name for messages.
Result<std::int64_t> parse_integer(std::string_view text, std::int64_t min, std::int64_t max,
                                   std::string_view type);
// What is behind the sign: decimal digits, or another base behind 0x, 0o or 0b.
enum class MagnitudeScan : std::uint8_t { kOk, kSyntax, kOverflow };
MagnitudeScan scan_magnitude(std::string_view digits, std::uint64_t& out);

Result<bool> parse_bool(std::string_view text);
Result<float> parse_float4(std::string_view text);
Result<double> parse_float8(std::string_view text);

using Uuid = std::array<unsigned char, 16>;
Result<Uuid> parse_uuid(std::string_view text);

// Both output forms of bytea: "\x0aff" and the older "abc\\\012".
Result<std::string> parse_bytea(std::string_view text);

// A date counts days, a timestamp microseconds, both from 2000-01-01 in the proleptic Gregorian
// calendar; the ends of their ranges stand for the infinities, as in binary format.
inline constexpr std::int64_t kDateInfinity = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int64_t kDateMinusInfinity = std::numeric_limits<std::int32_t>::min();
inline constexpr std::int64_t kTimestampInfinity = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t kTimestampMinusInfinity = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int64_t kMicrosecondsPerDay = 86'400'000'000;

// The values a server accepts: 4714-11-24 BC to 5874897-12-31, and 294276-12-31 for timestamps.
bool is_valid_date(std::int64_t days);
bool is_valid_timestamp(std::int64_t microseconds);

Result<std::int64_t> parse_date(std::string_view text);
Result<std::int64_t> parse_timestamp(std::string_view text);
// The offset must be there: without one the session's TimeZone would decide.
Result<std::int64_t> parse_timestamptz(std::string_view text);
// Microseconds of the day, up to and including 24:00:00.
Result<std::int64_t> parse_time(std::string_view text);

// The errors above, for others who read values; they quote the text, cut to a readable length.
// 22P02, 22003 and 0A000.
Error invalid_text(std::string_view type, std::string_view text);
Error number_out_of_range(std::string_view type, std::string_view text);
Error unsupported_text(std::string_view type, std::string_view text, std::string_view hint);

// Without the white space (of the C locale) that input functions skip at both ends.
std::string_view trim_space(std::string_view text);
bool equals_ignoring_case(std::string_view text, std::string_view lower);

}  // namespace pgshunt
