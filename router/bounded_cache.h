// A cache of fixed size whose look-ups allocate nothing: sets of a few ways, the one not used for
// longest is replaced.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace pgshunt {

template <class Value>
class BoundedCache {
 public:
  // Holds `capacity` values, rounded up to a power of two of at least eight.
  explicit BoundedCache(std::size_t capacity)
      : sets_(std::bit_ceil((capacity + kWays - 1) / kWays)) {}

  // The value stored under `hash` for which `matches` is true, or null. It stays where it is until
  // the next insert().
  template <class Matches>
  Value* find(std::uint64_t hash, Matches matches) {
    for (Way& way : set_of(hash)) {
      if (way.value && way.hash == hash && matches(*way.value)) {
        way.used = ++clock_;
        return way.value.get();
      }
    }
    return nullptr;
  }

  Value& insert(std::uint64_t hash, Value value) {
    Way& oldest = *std::ranges::min_element(set_of(hash), {}, &Way::used);
    oldest.hash = hash;
    oldest.used = ++clock_;
    oldest.value = std::make_unique<Value>(std::move(value));
    return *oldest.value;
  }

 private:
  static constexpr std::size_t kWays = 8;
  struct Way {
    std::uint64_t hash = 0;
    std::uint64_t used = 0;  // 0: empty
    std::unique_ptr<Value> value;
  };
  using Set = std::array<Way, kWays>;

  Set& set_of(std::uint64_t hash) { return sets_[(hash ^ (hash >> 32)) & (sets_.size() - 1)]; }

  std::vector<Set> sets_;
  std::uint64_t clock_ = 0;
};

}  // namespace pgshunt
