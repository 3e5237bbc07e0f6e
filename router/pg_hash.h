// PostgreSQL's extended hash functions (the ones hash partitioning uses), bit for bit.
//
// A bucket is `hash(key, kHashSeed) & 4095`, and the server can compute the same with, say,
// `hashint8extended(id, 8816678312871386365) & 4095`: publication row filters, COPY filters and
// clean-up agree with the proxy because they share the function. Buckets are stored in shard maps,
// so nothing here may ever change.
//
// Allocates nothing; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace pgshunt {

// HASH_PARTITION_SEED (src/include/catalog/partition.h).
inline constexpr std::uint64_t kHashSeed = 8816678312871386365u;

// hash_any_extended(): text and varchar under deterministic collations, bytea, uuid's 16 bytes.
std::uint64_t hash_bytes(std::string_view bytes);
// hashint2extended(), hashint4extended(); also date, as days since 2000-01-01.
std::uint64_t hash_int4(std::int32_t value);
// hashint8extended(); equal to hash_int4() for values that fit. Also timestamp and timestamptz, as
// microseconds since 2000-01-01 (UTC).
std::uint64_t hash_int8(std::int64_t value);
// hash_numeric_extended() of a finite value: base-10000 digits, most significant first, the first
// with weight 10000^weight. Leading and trailing zero digits are ignored, and so is the sign.
std::uint64_t hash_numeric(std::span<const std::int16_t> digits, int weight);
// ... of NaN and the infinities.
std::uint64_t hash_numeric_special();

}  // namespace pgshunt
