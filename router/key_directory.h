// What the router asks of the directory that knows the shard of each key of a directory keyspace.
//
// Routing never waits. What is not in memory, or has to be written down first, leaves the router as
// a route of kind kLookup; the session asks the directory's service, tells Router::learn() the
// answers and routes the same statement again. Nothing is ever guessed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "router/bounded_cache.h"
#include "router/pg_hash.h"
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

// The service's answers, of one worker. A shard is good as long as the epoch; that a key is absent
// is good for the one statement it was asked for, since the next client may have stored it.
class LearnedKeys {
 public:
  explicit LearnedKeys(std::size_t capacity) : known_(capacity) {}

  void learn(std::uint64_t epoch, const KeyLookup& lookup, KeyPlace place) {
    const std::uint64_t hash = hash_of(lookup.keyspace, lookup.key);
    Known fresh{epoch, ++absent_until_, lookup.keyspace, place, lookup.key};
    if (Known* known = find_entry(hash, lookup.keyspace, lookup.key)) {
      *known = std::move(fresh);
    } else {
      known_.insert(hash, std::move(fresh));
    }
  }

  std::optional<KeyPlace> find(std::uint64_t epoch, std::uint16_t keyspace, std::string_view key) {
    const Known* known = find_entry(hash_of(keyspace, key), keyspace, key);
    if (known == nullptr || known->epoch != epoch) return std::nullopt;
    if (known->place.kind != KeyPlace::Kind::kShard && known->learned <= absent_from_) {
      return std::nullopt;
    }
    return known->place;
  }

  // A statement has been routed: absences learned until now count no more.
  void forget_absences() { absent_from_ = absent_until_; }

 private:
  struct Known {
    std::uint64_t epoch = 0;
    std::uint64_t learned = 0;  // counts up
    std::uint16_t keyspace = 0;
    KeyPlace place;
    std::string key;
  };

  static std::uint64_t hash_of(std::uint16_t keyspace, std::string_view key) {
    return hash_bytes(key) + keyspace;
  }
  Known* find_entry(std::uint64_t hash, std::uint16_t keyspace, std::string_view key) {
    return known_.find(hash, [keyspace, key](const Known& known) {
      return known.keyspace == keyspace && known.key == key;
    });
  }

  BoundedCache<Known> known_;
  std::uint64_t absent_from_ = 0;
  std::uint64_t absent_until_ = 0;
};

}  // namespace pgshunt
