#include "router/key_location.h"

#include "router/refusal.h"

namespace pgshunt {
namespace {

// A key may be a person's name: enough to recognize it, no more.
std::string shown_key(const Keyspace& keyspace, std::string_view key) {
  constexpr std::size_t kLongest = 64;
  std::string text = encoded_key_text(keyspace.key_type, key);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

KeyLocation on(ShardId shard) { return {KeyLocation::Kind::kShard, shard}; }

Result<KeyLocation> locate_by_hash(const Keyspace& keyspace, const HashPlacement& placement,
                                   const KeySource& source, const KeyInput& input, KeyUse use,
                                   std::string& key) {
  const auto hash = hash_key(keyspace.key_type, source, input, use);
  if (!hash) return hash.error();
  if (hash->kind == KeyHash::Kind::kNull) return KeyLocation{};
  if (hash->kind == KeyHash::Kind::kNoMatch) return KeyLocation{KeyLocation::Kind::kNoMatch, 0};
  if (placement.overrides.may_hold(hash->hash)) {
    // The value was read once without an error, so it is again.
    key.clear();
    if (const auto again = hash_key(keyspace.key_type, source, input, use, &key); !again) {
      return again.error();
    }
    if (const auto shard = placement.overrides.find(key)) return on(*shard);
  }
  return on(placement.owners[hash->hash & (kBucketCount - 1)]);
}

}  // namespace

Result<KeyLocation> locate_key_apart(const Keyspace& keyspace, const KeySource& source,
                                     const KeyInput& input, KeyUse use, std::string& key) {
  if (const HashPlacement* placement = keyspace.hash()) {
    return locate_by_hash(keyspace, *placement, source, input, use, key);
  }
  key.clear();
  const auto read = hash_key(keyspace.key_type, source, input, use, &key);
  if (!read) return read.error();
  if (read->kind == KeyHash::Kind::kNull) return KeyLocation{};
  if (read->kind == KeyHash::Kind::kNoMatch) return KeyLocation{KeyLocation::Kind::kNoMatch, 0};
  std::optional<ShardId> shard;
  if (const RangePlacement* range = keyspace.range()) {
    shard = range->find(key);
  } else if (const auto* list = std::get_if<ListPlacement>(&keyspace.placement)) {
    shard = list->find(key);
  } else {
    return KeyLocation{KeyLocation::Kind::kAskDirectory, 0};
  }
  return shard ? on(*shard) : KeyLocation{KeyLocation::Kind::kNobodys, 0};
}

Error nobodys_key(const Keyspace& keyspace, std::string_view key) {
  const bool range = keyspace.range() != nullptr;
  return {sqlstate::kCheckViolation,
          "no " + std::string(range ? "range" : "list entry") + " of keyspace \"" + keyspace.name +
              "\" has the key " + shown_key(keyspace, key),
          range ? "Add a range that covers it to the keyspace's ranges in the configuration."
                : "Add it to the keyspace's values in the configuration, or set default_shard."};
}

KeyPlace place_in_memory(const KeyDirectory* directory, const Keyspace& keyspace,
                         std::string_view key) {
  return directory == nullptr ? KeyPlace{} : directory->try_find(keyspace.name, key);
}

bool takes_new_keys(const Keyspace& keyspace) {
  const auto* placement = std::get_if<DirectoryPlacement>(&keyspace.placement);
  return placement != nullptr && placement->new_keys != NewKeyPolicy::kRefuse;
}

Error refuses_new_keys(const Keyspace& keyspace) {
  return {sqlstate::kCheckViolation,
          "directory keyspace \"" + keyspace.name + "\" has no such key, and refuses new ones",
          "Give the key a shard first (shuntctl directory set or import), or set the keyspace's "
          "new_keys in the configuration."};
}

Result<std::string> parse_key(ShardKeyType type, std::string_view text) {
  KeySource source;
  KeyInput input;
  input.form = KeyInput::Form::kString;
  input.bytes = text;
  std::string key;
  const auto read = hash_key(type, source, input, KeyUse::kStoredUnmodified, &key);
  if (!read) return read.error();
  return key;
}

}  // namespace pgshunt
