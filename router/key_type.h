// The types a shard key may have, and what is known of them without looking at a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgshunt {

// Type OIDs of PostgreSQL's catalog (pg_type.dat); they never change.
namespace type_oid {
inline constexpr std::uint32_t kBool = 16;
inline constexpr std::uint32_t kBytea = 17;
inline constexpr std::uint32_t kInt8 = 20;
inline constexpr std::uint32_t kInt2 = 21;
inline constexpr std::uint32_t kInt4 = 23;
inline constexpr std::uint32_t kText = 25;
inline constexpr std::uint32_t kFloat4 = 700;
inline constexpr std::uint32_t kFloat8 = 701;
inline constexpr std::uint32_t kUnknown = 705;
inline constexpr std::uint32_t kBpchar = 1042;
inline constexpr std::uint32_t kVarchar = 1043;
inline constexpr std::uint32_t kDate = 1082;
inline constexpr std::uint32_t kTime = 1083;
inline constexpr std::uint32_t kTimestamp = 1114;
inline constexpr std::uint32_t kTimestamptz = 1184;
inline constexpr std::uint32_t kNumeric = 1700;
inline constexpr std::uint32_t kUuid = 2950;
}  // namespace type_oid

// A keyspace hashes values of exactly one of these, the declared type of its tables' key columns.
enum class ShardKeyType : std::uint8_t {
  kInt2,
  kInt4,
  kInt8,
  kText,
  kVarchar,
  kUuid,
  kBytea,
  kNumeric,
  kDate,
  kTimestamp,
  kTimestamptz,
};

std::uint32_t oid_of(ShardKeyType type);
// SQL's name for it: "bigint", "timestamp with time zone".
std::string_view name_of(ShardKeyType type);
std::optional<ShardKeyType> shard_key_type_of(std::uint32_t oid);

inline constexpr bool is_integer(ShardKeyType type) {
  return type == ShardKeyType::kInt2 || type == ShardKeyType::kInt4 || type == ShardKeyType::kInt8;
}
inline constexpr bool is_string(ShardKeyType type) {
  return type == ShardKeyType::kText || type == ShardKeyType::kVarchar;
}

}  // namespace pgshunt
