#include "router/key_directory.h"

#include <utility>

#include "router/pg_hash.h"

namespace pgshunt {
namespace {

constexpr std::size_t kFew = 16;  // as fast to look through as to hash

std::uint64_t hash_of(std::uint16_t keyspace, std::string_view key) {
  return hash_bytes(key) + keyspace;
}

bool is(const KeyLookup& lookup, std::uint16_t keyspace, std::string_view key) {
  return lookup.keyspace == keyspace && lookup.key == key;
}

}  // namespace

void KeyLookups::add(std::uint16_t keyspace, std::string_view key, bool assign) {
  KeyLookup* known = nullptr;
  const bool indexed = list_.size() > kFew;
  const std::uint64_t hash = indexed ? hash_of(keyspace, key) : 0;
  if (indexed) {
    auto [at, end] = index_.equal_range(hash);
    for (; at != end && known == nullptr; ++at) {
      if (is(list_[at->second], keyspace, key)) known = &list_[at->second];
    }
  } else {
    for (KeyLookup& lookup : list_) {
      if (is(lookup, keyspace, key)) known = &lookup;
    }
  }
  if (known != nullptr) {
    known->assign |= assign;
    return;
  }
  list_.push_back({keyspace, std::string(key), assign});
  if (indexed) {
    index_.emplace(hash, list_.size() - 1);
  } else if (list_.size() > kFew) {
    for (std::size_t i = 0; i < list_.size(); ++i) {
      index_.emplace(hash_of(list_[i].keyspace, list_[i].key), i);
    }
  }
}

void KeyLookups::add(std::span<const KeyLookup> lookups) {
  for (const KeyLookup& lookup : lookups) add(lookup.keyspace, lookup.key, lookup.assign);
}

void KeyLookups::clear() {
  list_.clear();
  // Emptying a table that has grown would cost as much for every statement from now on.
  if (!index_.empty()) index_ = {};
}

void LearnedKeys::learn(std::uint64_t epoch, const KeyLookup& lookup, KeyPlace place) {
  const std::uint64_t hash = hash_of(lookup.keyspace, lookup.key);
  Known fresh{epoch, lookup.keyspace, lookup.key, place};
  if (place.kind == KeyPlace::Kind::kShard) {
    Known* known = known_.find(
        hash, [&](const Known& each) { return each.is(epoch, lookup.keyspace, lookup.key); });
    if (known == nullptr) {
      known_.insert(hash, fresh);
    } else {
      *known = fresh;
    }
  }
  // Taught again, it is the same or has come to be there since.
  auto [at, end] = fresh_.equal_range(hash);
  for (; at != end; ++at) {
    if (!at->second.is(epoch, lookup.keyspace, lookup.key)) continue;
    at->second = std::move(fresh);
    return;
  }
  fresh_.emplace(hash, std::move(fresh));
}

std::optional<KeyPlace> LearnedKeys::find(std::uint64_t epoch, std::uint16_t keyspace,
                                          std::string_view key) {
  const std::uint64_t hash = hash_of(keyspace, key);
  if (!fresh_.empty()) {
    auto [at, end] = fresh_.equal_range(hash);
    for (; at != end; ++at) {
      if (at->second.is(epoch, keyspace, key)) return at->second.place;
    }
  }
  const Known* known =
      known_.find(hash, [&](const Known& each) { return each.is(epoch, keyspace, key); });
  if (known == nullptr) return std::nullopt;
  return known->place;
}

}  // namespace pgshunt
