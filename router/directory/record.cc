#include "router/directory/record.h"

#include <array>

#include "protocol/byte_reader.h"
#include "protocol/frame.h"

namespace pgshunt::directory_record {
namespace {

constexpr char kValueFormat = 1;
constexpr std::size_t kChecksum = 4;
constexpr std::size_t kCreationId = 16;
constexpr std::string_view kMagic = "pgshunt directory";

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

// On disk: must not change. ShardKeyType is free to be reordered.
constexpr std::array<std::pair<ShardKeyType, std::uint8_t>, 11> kKeyTypes{{
    {ShardKeyType::kInt2, 1},
    {ShardKeyType::kInt4, 2},
    {ShardKeyType::kInt8, 3},
    {ShardKeyType::kText, 4},
    {ShardKeyType::kVarchar, 5},
    {ShardKeyType::kUuid, 6},
    {ShardKeyType::kBytea, 7},
    {ShardKeyType::kNumeric, 8},
    {ShardKeyType::kDate, 9},
    {ShardKeyType::kTimestamp, 10},
    {ShardKeyType::kTimestamptz, 11},
}};

std::uint8_t number_of(ShardKeyType type) {
  for (const auto& [candidate, number] : kKeyTypes) {
    if (candidate == type) return number;
  }
  return 0;
}

std::optional<ShardKeyType> key_type_of(std::uint8_t number) {
  for (const auto& [type, candidate] : kKeyTypes) {
    if (candidate == number) return type;
  }
  return std::nullopt;
}

void append16(std::string& out, std::uint16_t value) {
  char bytes[2];
  store_be16(bytes, value);
  out.append(bytes, sizeof bytes);
}
void append32(std::string& out, std::uint32_t value) {
  char bytes[4];
  store_be32(bytes, value);
  out.append(bytes, sizeof bytes);
}
void append64(std::string& out, std::uint64_t value) {
  char bytes[8];
  store_be64(bytes, value);
  out.append(bytes, sizeof bytes);
}

std::string tagged(Tag tag, std::uint16_t id) {
  std::string key(1, static_cast<char>(tag));
  append16(key, id);
  return key;
}

std::string shard_payload(StableShardId shard) {
  std::string payload;
  append16(payload, shard);
  return payload;
}

// A bound or a list's value behind a byte that says whether there is one.
void append_optional(std::string& out, const std::optional<std::string>& encoded) {
  out.push_back(encoded ? 1 : 0);
  if (encoded) out += *encoded;
}

bool read_optional(std::string_view bytes, std::optional<std::string>& out) {
  if (bytes.empty() || bytes[0] < 0 || bytes[0] > 1) return false;
  if (bytes[0] == 0) return bytes.size() == 1;
  out = std::string(bytes.substr(1));
  return true;
}

KeyspaceRecord* keyspace_of(ShardMap& map, std::string_view key) {
  const KeyspaceId id = load_be16(key.data() + 1);
  for (KeyspaceRecord& keyspace : map.keyspaces) {
    if (keyspace.id == id) return &keyspace;
  }
  return nullptr;
}

bool read_shard(std::string_view key, std::string_view payload, ShardMap& map) {
  if (key.size() != 3 || payload.size() < 2) return false;
  const auto state = static_cast<ShardState>(payload[0]);
  if (state != ShardState::kOpen && state != ShardState::kClosed) return false;
  map.shards.push_back({load_be16(key.data() + 1), std::string(payload.substr(1)), state});
  return true;
}

bool read_keyspace(std::string_view key, std::string_view payload, ShardMap& map) {
  if (key.size() != 3 || payload.size() < 6) return false;
  KeyspaceRecord keyspace;
  keyspace.id = load_be16(key.data() + 1);
  keyspace.kind = static_cast<KeyspaceKind>(payload[0]);
  const auto type = key_type_of(static_cast<std::uint8_t>(payload[1]));
  keyspace.policy = static_cast<NewKeyPolicy>(payload[2]);
  keyspace.fixed_shard = load_be16(payload.data() + 3);
  keyspace.name = payload.substr(5);
  if (!type || name_of(keyspace.kind) == "?" || name_of(keyspace.policy) == "?") return false;
  keyspace.key_type = *type;
  map.keyspaces.push_back(std::move(keyspace));
  return true;
}

bool read_buckets(std::string_view payload, KeyspaceRecord& keyspace) {
  if (payload.size() != kBucketCount * 2) return false;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    keyspace.owners[i] = load_be16(payload.data() + i * 2);
  }
  return true;
}

bool read_range(std::string_view key, std::string_view payload, KeyspaceRecord& keyspace) {
  RangeRecord range;
  if (payload.size() < 3) return false;
  range.shard = load_be16(payload.data());
  if (!read_optional(key.substr(3), range.from) || !read_optional(payload.substr(2), range.to)) {
    return false;
  }
  keyspace.ranges.push_back(std::move(range));
  return true;
}

bool read_list_value(std::string_view key, std::string_view payload, KeyspaceRecord& keyspace) {
  std::optional<std::string> value;
  if (payload.size() != 2 || !read_optional(key.substr(3), value)) return false;
  const StableShardId shard = load_be16(payload.data());
  if (value) {
    keyspace.values[*value] = shard;
  } else {
    keyspace.value_default = shard;
  }
  return true;
}

// Of the records that belong to a keyspace.
bool read_part(Tag tag, std::string_view key, std::string_view payload, ShardMap& map) {
  if (key.size() < 3) return false;
  KeyspaceRecord* const keyspace = keyspace_of(map, key);
  if (!keyspace) return false;
  switch (tag) {
    case Tag::kBuckets:
      return key.size() == 3 && read_buckets(payload, *keyspace);
    case Tag::kRange:
      return read_range(key, payload, *keyspace);
    case Tag::kListValue:
      return read_list_value(key, payload, *keyspace);
    default:
      if (payload.size() != 2) return false;
      keyspace->overrides[std::string(key.substr(3))] = load_be16(payload.data());
      return true;
  }
}

}  // namespace

Error damaged(std::string what) {
  return {Sqlstate{"XX001"}, "the directory is damaged: " + std::move(what),
          "Restore it from a backup; \"shuntctl directory verify\" shows what else is damaged."};
}

std::uint32_t crc32c(std::string_view a, std::string_view b) {
  std::uint32_t crc = ~0u;
  for (const std::string_view part : {a, b}) {
    for (const char c : part) {
      crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
    }
  }
  return ~crc;
}

std::string seal(std::string_view key, std::string_view payload) {
  std::string value(1, kValueFormat);
  value += payload;
  append32(value, crc32c(key, value));
  return value;
}

Result<std::string_view> unseal(std::string_view key, std::string_view value) {
  if (value.size() < 1 + kChecksum) return damaged("a record is too short");
  const std::string_view body = value.substr(0, value.size() - kChecksum);
  if (crc32c(key, body) != load_be32(body.data() + body.size())) {
    return damaged("a record's checksum is wrong");
  }
  if (body[0] != kValueFormat) {
    return Error{sqlstate::kFeatureNotSupported, "the directory holds a record of a newer pgshunt",
                 "Use the version that wrote it."};
  }
  return body.substr(1);
}

std::string meta_key() { return std::string(1, static_cast<char>(Tag::kMeta)); }

std::string meta_payload(const Meta& meta) {
  std::string payload(kMagic);
  append32(payload, meta.format);
  return payload + meta.creation_id;
}

Result<Meta> read_meta(std::string_view payload) {
  if (!payload.starts_with(kMagic) || payload.size() < kMagic.size() + 4) {
    return damaged("its first record is of something else");
  }
  Meta meta;
  meta.format = load_be32(payload.data() + kMagic.size());
  if (meta.format != kFormatVersion) {
    return Error{sqlstate::kFeatureNotSupported,
                 "the directory has format " + std::to_string(meta.format) +
                     ", and this pgshunt reads format " + std::to_string(kFormatVersion),
                 "Use the version that wrote it."};
  }
  meta.creation_id = payload.substr(kMagic.size() + 4);
  if (meta.creation_id.size() != kCreationId) return damaged("its first record is cut");
  return meta;
}

std::string number_key(Tag tag) { return std::string(1, static_cast<char>(tag)); }

std::string number_payload(std::uint64_t number) {
  std::string payload;
  append64(payload, number);
  return payload;
}

Result<std::uint64_t> read_number(std::string_view payload) {
  if (payload.size() != 8) return damaged("a number has the wrong size");
  return load_be64(payload.data());
}

std::string count_key(KeyspaceId keyspace, StableShardId shard) {
  std::string key = tagged(Tag::kCount, keyspace);
  append16(key, shard);
  return key;
}

std::string job_key(std::uint64_t id) {
  std::string key(1, static_cast<char>(Tag::kJob));
  append64(key, id);
  return key;
}

Records map_records(const ShardMap& map) {
  Records records;
  records[number_key(Tag::kEpoch)] = number_payload(map.epoch);
  for (const ShardRecord& shard : map.shards) {
    records[tagged(Tag::kShard, shard.id)] =
        std::string(1, static_cast<char>(shard.state)) + shard.name;
  }
  for (const KeyspaceRecord& keyspace : map.keyspaces) {
    std::string head;
    head.push_back(static_cast<char>(keyspace.kind));
    head.push_back(static_cast<char>(number_of(keyspace.key_type)));
    head.push_back(static_cast<char>(keyspace.policy));
    append16(head, keyspace.fixed_shard);
    records[tagged(Tag::kKeyspace, keyspace.id)] = head + keyspace.name;
    std::string owners;
    for (const StableShardId owner : keyspace.owners) append16(owners, owner);
    records[tagged(Tag::kBuckets, keyspace.id)] = owners;
    for (const RangeRecord& range : keyspace.ranges) {
      std::string key = tagged(Tag::kRange, keyspace.id);
      append_optional(key, range.from);
      std::string payload = shard_payload(range.shard);
      append_optional(payload, range.to);
      records[key] = payload;
    }
    const std::string list = tagged(Tag::kListValue, keyspace.id);
    if (keyspace.value_default) {
      records[list + std::string(1, '\0')] = shard_payload(*keyspace.value_default);
    }
    for (const auto& [key, shard] : keyspace.values) {
      records[list + '\1' + key] = shard_payload(shard);
    }
    for (const auto& [key, shard] : keyspace.overrides) {
      records[tagged(Tag::kOverride, keyspace.id) + key] = shard_payload(shard);
    }
  }
  return records;
}

Result<ShardMap> read_map(const Records& records) {
  ShardMap map;
  // Keyspaces first: their parts have tags that sort before theirs.
  for (const auto& [key, payload] : records) {
    if (key.empty()) return damaged("a record without a key");
    const auto tag = static_cast<Tag>(key[0]);
    bool good = true;
    if (tag == Tag::kEpoch) {
      const auto epoch = read_number(payload);
      if (!epoch) return epoch.error();
      map.epoch = *epoch;
    } else if (tag == Tag::kShard) {
      good = read_shard(key, payload, map);
    } else if (tag == Tag::kKeyspace) {
      good = read_keyspace(key, payload, map);
    }
    if (!good) return damaged("a record of a shard or keyspace cannot be read");
  }
  for (const auto& [key, payload] : records) {
    const auto tag = static_cast<Tag>(key[0]);
    if (tag != Tag::kBuckets && tag != Tag::kRange && tag != Tag::kListValue &&
        tag != Tag::kOverride) {
      continue;
    }
    if (!read_part(tag, key, payload, map)) return damaged("a part of a keyspace cannot be read");
  }
  if (const Status good = check_map(map); !good) return damaged(good.error().message);
  return map;
}

std::string key_value(StableShardId shard) {
  std::string value(1, kValueFormat);
  append16(value, shard);
  return value;
}

StableShardId read_key_value(std::string_view value) {
  if (value.size() != kKeyValueSize || value[0] != kValueFormat) return 0;
  return load_be16(value.data() + 1);
}

}  // namespace pgshunt::directory_record
