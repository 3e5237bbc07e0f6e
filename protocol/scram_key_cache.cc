#include "protocol/scram_key_cache.h"

#include <cstring>

#include "protocol/frame.h"

namespace pgshunt {

ScramKeyCache::ScramKeyCache(std::size_t capacity) : capacity_(capacity == 0 ? 1 : capacity) {
  fill_random(secret_);
}

ScramKeyCache& ScramKeyCache::process_wide() {
  static ScramKeyCache cache;
  return cache;
}

std::size_t ScramKeyCache::IdHash::operator()(const ScramKey& id) const {
  std::size_t hash;
  std::memcpy(&hash, id.data(), sizeof hash);
  return hash;
}

ScramKey ScramKeyCache::id_of(std::string_view password, std::string_view salt,
                              std::uint32_t iterations) const {
  // The salt's length keeps "a"+"bc" apart from "ab"+"c".
  char head[8];
  store_be32(head, iterations);
  store_be32(head + 4, static_cast<std::uint32_t>(salt.size()));
  return hmac_sha256(secret_, {std::string_view(head, sizeof head), salt, password});
}

bool ScramKeyCache::find(const ScramKey& id, Derived& out) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return false;
  out = entry->second;
  return true;
}

void ScramKeyCache::store(const ScramKey& id, const Derived& keys) {
  const std::lock_guard lock(mutex_);
  if (!entries_.emplace(id, keys).second) return;  // another thread was faster
  if (order_.size() < capacity_) {
    order_.push_back(id);
    return;
  }
  entries_.erase(order_[oldest_]);
  order_[oldest_] = id;
  oldest_ = (oldest_ + 1) % capacity_;
}

ScramKeys ScramKeyCache::get(std::string_view password, std::string_view salt,
                             std::uint32_t iterations) {
  const ScramKey id = id_of(password, salt, iterations);
  Derived found;
  if (find(id, found)) {
    return {iterations, std::string(salt), found.client_key, found.server_key};
  }
  ScramKeys keys = derive_scram_keys(password, salt, iterations);
  store(id, {keys.client_key, keys.server_key});
  return keys;
}

bool ScramKeyCache::matches(std::string_view password, const ScramVerifier& verifier) {
  const ScramKey id = id_of(password, verifier.salt, verifier.iterations);
  Derived keys;
  const bool remembered = find(id, keys);
  if (!remembered) {
    const ScramKeys derived = derive_scram_keys(password, verifier.salt, verifier.iterations);
    keys = {derived.client_key, derived.server_key};
  }
  const bool fits = equal_constant_time(as_view(keys.server_key), as_view(verifier.server_key));
  if (fits && !remembered) store(id, keys);
  return fits;
}

}  // namespace pgshunt
