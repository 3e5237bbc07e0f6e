// How one keyspace places its keys on shards: a type for each strategy, and what each answers for a
// key. Plain data, part of the immutable Topology.
//
// Keys are compared in their canonical form (router/key_encoding.h): equal keys have equal bytes,
// and bytes order as PostgreSQL orders the keys. Nothing here allocates once it is built.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pgshunt {

using ShardId = std::uint16_t;  // index into Topology::shards

// Keys hash into this many buckets for ever: bucket = hash & (kBucketCount - 1). Only the owner of
// a bucket changes.
inline constexpr std::size_t kBucketCount = 4096;
using BucketOwners = std::array<ShardId, kBucketCount>;

// Bucket owners for `shards` shards, moving as few buckets as possible away from `current` (owners
// that are not below `shards` count as gone). Afterwards two shards differ by one bucket at most.
// From N to N + 1 shards exactly the newcomer's share moves.
BucketOwners propose_assignment(std::size_t shards, const BucketOwners& current);
// The same from nothing: contiguous runs, so that the map reads well.
BucketOwners deal_evenly(std::size_t shards);

// A canonical key and its shard. `text`: as a person wrote it, for SHOW.
struct PlacedKey {
  std::string key;
  ShardId shard = 0;
  std::string text;
};

// Keys with a shard of their own, whatever bucket they hash into. A Bloom filter over the hash,
// which is known at that point anyway, keeps every other key from being encoded and searched for.
class KeyOverrides {
 public:
  void add(PlacedKey key, std::uint64_t hash);

  bool empty() const { return keys_.empty(); }
  // False: there is none for a key of this hash. True is wrong for less than one key in 100.
  bool may_hold(std::uint64_t hash) const {
    return !keys_.empty() && bit(first_bit(hash)) && bit(second_bit(hash));
  }
  std::optional<ShardId> find(std::string_view key) const;
  const std::vector<PlacedKey>& keys() const { return keys_; }  // ascending

 private:
  // The low bits of the hash choose the bucket and are alike where buckets are.
  std::size_t first_bit(std::uint64_t hash) const { return (hash >> 12) & mask_; }
  std::size_t second_bit(std::uint64_t hash) const { return (hash >> 38) & mask_; }
  bool bit(std::size_t at) const { return (filter_[at / 64] >> (at % 64) & 1) != 0; }
  void set(std::uint64_t hash);

  std::vector<PlacedKey> keys_;
  std::vector<std::uint64_t> hashes_;  // of all keys, for a larger filter
  std::vector<std::uint64_t> filter_;
  std::size_t mask_ = 0;
};

struct HashPlacement {
  BucketOwners owners{};
  KeyOverrides overrides;
};

// [from, to); an end that is not there is unbounded.
struct KeyRange {
  std::optional<std::string> from;  // canonical
  std::optional<std::string> to;
  ShardId shard = 0;
  std::string text;  // "[10, 20)", for SHOW
};

// What a statement's comparisons leave of all keys. Open or closed at an end makes no difference
// to anybody who asks which ranges may hold such a key, except for an upper end at a range's start.
struct KeyInterval {
  std::optional<std::string> low;
  std::optional<std::string> high;
  bool low_included = true;
  bool high_included = true;

  // Keeps the tighter end.
  void raise_low(std::string_view key, bool included);
  void lower_high(std::string_view key, bool included);
  bool empty() const;
};

struct RangePlacement {
  std::vector<KeyRange> ranges;  // ascending, without overlaps; gaps are nobody's

  std::optional<ShardId> find(std::string_view key) const;
  // Adds the shards whose ranges have keys in common with `interval`, ascending, each once.
  void shards_in(const KeyInterval& interval, std::vector<ShardId>& out) const;
};

struct ListPlacement {
  std::vector<PlacedKey> keys;        // ascending
  std::optional<ShardId> other_keys;  // unset: keys not listed are nobody's

  std::optional<ShardId> find(std::string_view key) const;
};

// What a directory does with a key that it has not seen. On disk: numbers must not change or be
// used again.
enum class NewKeyPolicy : std::uint8_t {
  kHash = 1,         // the owner of its bucket
  kLeastLoaded = 2,  // the open shard with the fewest keys of the keyspace; of equals the lowest id
  kFixed = 3,
  kRefuse = 4,
};

// Key to shard is kept in the key directory, which is asked through router/key_directory.h. So is
// who owns a bucket, for kHash.
struct DirectoryPlacement {
  NewKeyPolicy new_keys = NewKeyPolicy::kHash;
  ShardId fixed = 0;  // kFixed
};

// One schema, one shard: no key at all. A table is where its schema is.
struct SchemaPlacement {
  std::vector<std::pair<std::string, ShardId>> schemas;  // by name

  std::optional<ShardId> find(std::string_view schema) const;
};

using Placement =
    std::variant<HashPlacement, RangePlacement, ListPlacement, DirectoryPlacement, SchemaPlacement>;

// "hash", "range", "list", "directory", "schema".
std::string_view strategy_name(const Placement& placement);

// Sorts and checks; what is wrong, in words, or empty.
std::string arrange(RangePlacement& placement);
std::string arrange(ListPlacement& placement);
std::string arrange(SchemaPlacement& placement);

}  // namespace pgshunt
