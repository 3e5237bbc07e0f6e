// From a key's value to its place, by whatever strategy its keyspace has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "router/key_directory.h"
#include "router/key_encoding.h"
#include "router/key_value.h"
#include "router/topology.h"

namespace pgshunt {

// Where the rows with a key are.
struct KeyLocation {
  enum class Kind : std::uint8_t {
    kShard,         // on `shard`
    kNull,          // the key is NULL
    kNoMatch,       // no key can equal the value: 5.5 for a bigint
    kNobodys,       // no range or list entry has it, so no row can either
    kAskDirectory,  // the key directory knows
  };
  Kind kind = Kind::kNull;
  ShardId shard = 0;
};

// Errors as hash_key()'s. `key` is scratch that keeps its capacity: it holds the canonical key
// afterwards, unless the keyspace is one of buckets. Allocates nothing beyond it, but for a long
// numeric or bytea.
inline Result<KeyLocation> locate_key(const Keyspace& keyspace, const KeySource& source,
                                      const KeyInput& input, KeyUse use, std::string& key);

// Why a row with such a key cannot be stored (kNobodys), naming keyspace and key.
Error nobodys_key(const Keyspace& keyspace, std::string_view key);

// Of a directory keyspace (kAskDirectory): what can be said of a key at once, does the directory
// give new keys a shard, and why a row with such a key cannot be stored otherwise.
KeyPlace place_in_memory(const KeyDirectory* directory, const Keyspace& keyspace,
                         std::string_view key);
bool takes_new_keys(const Keyspace& keyspace);
Error refuses_new_keys(const Keyspace& keyspace);

// A key as a person writes it in the configuration, in its canonical form.
Result<std::string> parse_key(ShardKeyType type, std::string_view text);

// The rest of locate_key(): all but plain buckets.
Result<KeyLocation> locate_key_apart(const Keyspace& keyspace, const KeySource& source,
                                     const KeyInput& input, KeyUse use, std::string& key);

// In line because nearly every statement comes through here.
inline Result<KeyLocation> locate_key(const Keyspace& keyspace, const KeySource& source,
                                      const KeyInput& input, KeyUse use, std::string& key) {
  const HashPlacement* buckets = keyspace.hash();
  if (buckets == nullptr || !buckets->overrides.empty()) {
    return locate_key_apart(keyspace, source, input, use, key);
  }
  const auto hash = hash_key(keyspace.key_type, source, input, use);
  if (!hash) return hash.error();
  switch (hash->kind) {
    case KeyHash::Kind::kHash:
      return KeyLocation{KeyLocation::Kind::kShard,
                         buckets->owners[hash->hash & (kBucketCount - 1)]};
    case KeyHash::Kind::kNoMatch:
      return KeyLocation{KeyLocation::Kind::kNoMatch, 0};
    case KeyHash::Kind::kNull:
      break;
  }
  return KeyLocation{};
}

}  // namespace pgshunt
