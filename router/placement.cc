#include "router/placement.h"

#include <algorithm>
#include <bit>

namespace pgshunt {
namespace {

const PlacedKey* find_key(const std::vector<PlacedKey>& sorted, std::string_view key) {
  const auto at = std::lower_bound(
      sorted.begin(), sorted.end(), key,
      [](const PlacedKey& placed, std::string_view wanted) { return placed.key < wanted; });
  return at == sorted.end() || at->key != key ? nullptr : &*at;
}

// An absent lower end is below everything.
bool starts_before(const KeyRange& a, const KeyRange& b) {
  if (!a.from || !b.from) return !a.from && b.from;
  return *a.from < *b.from;
}

}  // namespace

// --- overrides --------------------------------------------------------------------------------

void KeyOverrides::add(PlacedKey key, std::uint64_t hash) {
  const auto at =
      std::lower_bound(keys_.begin(), keys_.end(), key,
                       [](const PlacedKey& a, const PlacedKey& b) { return a.key < b.key; });
  keys_.insert(at, std::move(key));
  hashes_.push_back(hash);
  // Sixteen bits a key, two of them set: 1.4 % of other keys pass when it is full, half as many on
  // average.
  constexpr std::size_t kBitsPerKey = 16;
  const std::size_t bits = std::bit_ceil(std::max<std::size_t>(64, kBitsPerKey * keys_.size()));
  if (bits != mask_ + 1) {
    mask_ = bits - 1;
    filter_.assign(bits / 64, 0);
    for (const std::uint64_t known : hashes_) set(known);
  }
  set(hash);
}

void KeyOverrides::set(std::uint64_t hash) {
  for (const std::size_t at : {first_bit(hash), second_bit(hash)}) {
    filter_[at / 64] |= std::uint64_t{1} << (at % 64);
  }
}

std::optional<ShardId> KeyOverrides::find(std::string_view key) const {
  const PlacedKey* placed = find_key(keys_, key);
  if (placed == nullptr) return std::nullopt;
  return placed->shard;
}

// --- ranges -----------------------------------------------------------------------------------

void KeyInterval::raise_low(std::string_view key, bool included) {
  if (low && *low > key) return;
  if (low && *low == key) {
    low_included &= included;
    return;
  }
  low = key;
  low_included = included;
}

void KeyInterval::lower_high(std::string_view key, bool included) {
  if (high && *high < key) return;
  if (high && *high == key) {
    high_included &= included;
    return;
  }
  high = key;
  high_included = included;
}

bool KeyInterval::empty() const {
  if (!low || !high) return false;
  return *high < *low || (*high == *low && !(low_included && high_included));
}

std::optional<ShardId> RangePlacement::find(std::string_view key) const {
  // The last range that does not begin above the key.
  const auto above = std::upper_bound(ranges.begin(), ranges.end(), key,
                                      [](std::string_view wanted, const KeyRange& range) {
                                        return range.from && wanted < *range.from;
                                      });
  if (above == ranges.begin()) return std::nullopt;
  const KeyRange& range = *std::prev(above);
  if (range.to && key >= *range.to) return std::nullopt;
  return range.shard;
}

void RangePlacement::shards_in(const KeyInterval& interval, std::vector<ShardId>& out) const {
  if (interval.empty()) return;
  for (const KeyRange& range : ranges) {
    if (range.to && interval.low && *range.to <= *interval.low) continue;
    if (range.from && interval.high) {
      if (interval.high_included ? *interval.high < *range.from : *interval.high <= *range.from) {
        continue;
      }
    }
    const auto at = std::lower_bound(out.begin(), out.end(), range.shard);
    if (at == out.end() || *at != range.shard) out.insert(at, range.shard);
  }
}

std::string arrange(RangePlacement& placement) {
  std::stable_sort(placement.ranges.begin(), placement.ranges.end(), starts_before);
  const KeyRange* last = nullptr;
  for (const KeyRange& range : placement.ranges) {
    if (range.from && range.to && *range.to <= *range.from) {
      return "range " + range.text + " is empty";
    }
    if (last != nullptr && (!last->to || !range.from || *range.from < *last->to)) {
      return "ranges " + last->text + " and " + range.text + " overlap";
    }
    last = &range;
  }
  return {};
}

// --- lists and schemas ------------------------------------------------------------------------

std::optional<ShardId> ListPlacement::find(std::string_view key) const {
  const PlacedKey* placed = find_key(keys, key);
  return placed == nullptr ? other_keys : placed->shard;
}

std::string arrange(ListPlacement& placement) {
  auto& keys = placement.keys;
  std::stable_sort(keys.begin(), keys.end(),
                   [](const PlacedKey& a, const PlacedKey& b) { return a.key < b.key; });
  const auto twice =
      std::adjacent_find(keys.begin(), keys.end(),
                         [](const PlacedKey& a, const PlacedKey& b) { return a.key == b.key; });
  return twice == keys.end() ? std::string() : "value \"" + twice->text + "\" is listed twice";
}

std::optional<ShardId> SchemaPlacement::find(std::string_view schema) const {
  const auto at = std::lower_bound(
      schemas.begin(), schemas.end(), schema,
      [](const auto& placed, std::string_view wanted) { return placed.first < wanted; });
  if (at == schemas.end() || at->first != schema) return std::nullopt;
  return at->second;
}

std::string arrange(SchemaPlacement& placement) {
  auto& schemas = placement.schemas;
  std::stable_sort(schemas.begin(), schemas.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto twice =
      std::adjacent_find(schemas.begin(), schemas.end(),
                         [](const auto& a, const auto& b) { return a.first == b.first; });
  return twice == schemas.end() ? std::string() : "schema \"" + twice->first + "\" is listed twice";
}

std::string_view strategy_name(const Placement& placement) {
  static constexpr std::string_view kNames[] = {"hash", "range", "list", "directory", "schema"};
  return kNames[placement.index()];
}

// --- buckets ----------------------------------------------------------------------------------

BucketOwners deal_evenly(std::size_t shards) {
  BucketOwners owners;
  for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    owners[bucket] = static_cast<ShardId>(bucket * shards / kBucketCount);
  }
  return owners;
}

BucketOwners propose_assignment(std::size_t shards, const BucketOwners& current) {
  std::vector<std::size_t> held(shards, 0);
  for (const ShardId owner : current) {
    if (owner < shards) ++held[owner];
  }
  // Everybody gets the floor of the average; the few buckets over go to those who hold most, who
  // then have the fewest to give away.
  std::vector<std::size_t> order(shards);
  for (std::size_t i = 0; i < shards; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&held](std::size_t a, std::size_t b) { return held[a] > held[b]; });
  std::vector<std::size_t> room(shards, kBucketCount / shards);
  for (std::size_t i = 0; i < kBucketCount % shards; ++i) ++room[order[i]];

  BucketOwners owners = current;
  std::vector<std::size_t> homeless;
  for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    const ShardId owner = current[bucket];
    if (owner < shards && room[owner] > 0) {
      --room[owner];
    } else {
      homeless.push_back(bucket);
    }
  }
  std::size_t taker = 0;
  for (const std::size_t bucket : homeless) {
    while (room[taker] == 0) ++taker;
    owners[bucket] = static_cast<ShardId>(taker);
    --room[taker];
  }
  return owners;
}

}  // namespace pgshunt
