// The bytes of the directory's records; README.md has the table of them. On disk: what is written
// here must be read for ever.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "router/directory/shard_map.h"

namespace pgshunt::directory_record {

inline constexpr std::uint32_t kFormatVersion = 1;

// First byte of a key in the column family "default". On disk: must not change.
enum class Tag : char {
  kMeta = 'M',
  kEpoch = 'E',
  kCommit = 'C',
  kShard = 'S',
  kKeyspace = 'K',
  kBuckets = 'B',
  kRange = 'R',
  kListValue = 'L',
  kOverride = 'O',
  kCount = 'N',
  kJob = 'J',
};

struct Meta {
  std::uint32_t format = kFormatVersion;
  std::string creation_id;  // 16 random bytes: backups of one directory share it
};

// CRC-32C (Castagnoli) of the two parts as one string.
std::uint32_t crc32c(std::string_view a, std::string_view b);

// The value as stored: a format byte before the payload, a checksum over key and value behind it.
// RocksDB's checksums end where a block has been read; this one is looked at when a record is used.
std::string seal(std::string_view key, std::string_view payload);
// The payload; XX001 if a byte of key or value has changed.
Result<std::string_view> unseal(std::string_view key, std::string_view value);

std::string meta_key();
std::string meta_payload(const Meta& meta);
Result<Meta> read_meta(std::string_view payload);

std::string number_key(Tag tag);  // kEpoch, kCommit
std::string number_payload(std::uint64_t number);
Result<std::uint64_t> read_number(std::string_view payload);

std::string count_key(KeyspaceId keyspace, StableShardId shard);
std::string job_key(std::uint64_t id);

// Records of the map, the epoch's among them, payloads unsealed; and back. Records of other tags
// are passed over.
using Records = std::map<std::string, std::string, std::less<>>;
Records map_records(const ShardMap& map);
Result<ShardMap> read_map(const Records& records);

// A key of the column family "keys" and its value, whose bytes RocksDB's block checksums cover.
inline constexpr std::size_t kKeyPrefix = 2;
inline constexpr std::size_t kKeyValueSize = 3;
std::string key_value(StableShardId shard);
// 0: not such a value.
StableShardId read_key_value(std::string_view value);

// XX001: `what` is damaged, or was not written by us.
Error damaged(std::string what);

}  // namespace pgshunt::directory_record
