#include "router/key_type.h"

#include <array>

namespace pgshunt {
namespace {

struct Entry {
  ShardKeyType type;
  std::uint32_t oid;
  std::string_view name;
};

constexpr std::array kTypes = {
    Entry{ShardKeyType::kInt2, type_oid::kInt2, "smallint"},
    Entry{ShardKeyType::kInt4, type_oid::kInt4, "integer"},
    Entry{ShardKeyType::kInt8, type_oid::kInt8, "bigint"},
    Entry{ShardKeyType::kText, type_oid::kText, "text"},
    Entry{ShardKeyType::kVarchar, type_oid::kVarchar, "character varying"},
    Entry{ShardKeyType::kUuid, type_oid::kUuid, "uuid"},
    Entry{ShardKeyType::kBytea, type_oid::kBytea, "bytea"},
    Entry{ShardKeyType::kNumeric, type_oid::kNumeric, "numeric"},
    Entry{ShardKeyType::kDate, type_oid::kDate, "date"},
    Entry{ShardKeyType::kTimestamp, type_oid::kTimestamp, "timestamp without time zone"},
    Entry{ShardKeyType::kTimestamptz, type_oid::kTimestamptz, "timestamp with time zone"},
};

const Entry& entry_of(ShardKeyType type) { return kTypes[static_cast<std::size_t>(type)]; }

}  // namespace

std::uint32_t oid_of(ShardKeyType type) { return entry_of(type).oid; }

std::string_view name_of(ShardKeyType type) { return entry_of(type).name; }

std::optional<ShardKeyType> shard_key_type_of(std::uint32_t oid) {
  for (const Entry& entry : kTypes) {
    if (entry.oid == oid) return entry.type;
  }
  return std::nullopt;
}

}  // namespace pgshunt
