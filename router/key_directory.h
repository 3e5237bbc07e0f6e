// What the router asks of the directory that knows the shard of each key of a directory keyspace.
//
// Routing never waits. What is not in memory, or has to be written down first, leaves the router as
// a route of kind kLookup; the session asks the directory's service, tells Router::learn() the
// answers and routes the same statement again. Nothing is ever guessed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "router/bounded_cache.h"
#include "router/placement.h"

namespace pgshunt {

struct KeyPlace {
  enum class Kind : std::uint8_t {
    kShard,        // on `shard`
    kAbsent,       // the directory has no such key
    kNotInMemory,  // it would have to read
  };
  Kind kind = Kind::kNotInMemory;
  ShardId shard = 0;
};

// Of one database. Any thread; never blocks.
class KeyDirectory {
 public:
  virtual ~KeyDirectory() = default;
  // `key`: canonical (router/key_encoding.h).
  virtual KeyPlace try_find(std::string_view keyspace, std::string_view key) const = 0;
};

// One question to the directory's service.
struct KeyLookup {
  std::uint16_t keyspace = 0;  // index into Topology::keyspaces
  std::string key;             // canonical
  bool assign = false;  // a row with this key is to be stored: give it a shard if it has none
};

// Questions that are asked together, each key once however often it is named.
class KeyLookups {
 public:
  void add(std::uint16_t keyspace, std::string_view key, bool assign);
  void add(std::span<const KeyLookup> lookups);
  void clear();
  bool empty() const { return list_.empty(); }
  std::span<const KeyLookup> list() const { return list_; }

 private:
  std::vector<KeyLookup> list_;
  // By hash of keyspace and key; made once there are more than a few.
  std::unordered_multimap<std::uint64_t, std::size_t> index_;
};

// The service's answers, of one worker. A shard is good as long as the epoch; that a key is absent
// is good for the one statement it was asked for, since the next client may have stored it.
class LearnedKeys {
 public:
  explicit LearnedKeys(std::size_t capacity) : known_(capacity) {}

  void learn(std::uint64_t epoch, const KeyLookup& lookup, KeyPlace place);
  std::optional<KeyPlace> find(std::uint64_t epoch, std::uint16_t keyspace, std::string_view key);
  // A statement has been routed: absences learned until now count no more.
  void statement_routed() {
    if (!fresh_.empty()) fresh_ = {};
  }

 private:
  struct Known {
    std::uint64_t epoch = 0;
    std::uint16_t keyspace = 0;
    std::string key;
    KeyPlace place;

    bool is(std::uint64_t of_epoch, std::uint16_t of_keyspace, std::string_view of_key) const {
      return epoch == of_epoch && keyspace == of_keyspace && key == of_key;
    }
  };

  BoundedCache<Known> known_;  // on a shard
  // All that was learned for the next statement, which may name more keys than the cache holds.
  std::unordered_multimap<std::uint64_t, Known> fresh_;
};

}  // namespace pgshunt
