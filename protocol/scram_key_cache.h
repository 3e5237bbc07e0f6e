// Remembers what SCRAM derives from passwords, so that the millisecond of key derivation is spent
// once per password and salt, not once per login.
//
// Any thread: lookups take a mutex for some tens of nanoseconds; derivation runs outside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/scram.h"

namespace pgshunt {

class ScramKeyCache {
 public:
  // Full, it forgets the oldest entry for each new one. An entry is about 200 bytes.
  explicit ScramKeyCache(std::size_t capacity = 10'000);

  // The keys of a password we were configured with: derived at most once while it is remembered.
  ScramKeys get(std::string_view password, std::string_view salt, std::uint32_t iterations);

  // Does a password that a client sent fit the verifier? Only those that do are remembered: a
  // guesser pays for every guess and pushes nobody out.
  bool matches(std::string_view password, const ScramVerifier& verifier);

  // The one all workers share.
  static ScramKeyCache& process_wide();

 private:
  // Entries are found by a keyed hash of password, salt and iterations: passwords themselves are
  // not kept.
  struct IdHash {
    std::size_t operator()(const ScramKey& id) const;
  };
  struct Derived {
    ScramKey client_key;
    ScramKey server_key;
  };

  ScramKey id_of(std::string_view password, std::string_view salt, std::uint32_t iterations) const;
  bool find(const ScramKey& id, Derived& out);
  void store(const ScramKey& id, const Derived& keys);

  const std::size_t capacity_;
  ScramKey secret_;  // of id_of(), random
  std::mutex mutex_;
  std::unordered_map<ScramKey, Derived, IdHash> entries_;
  std::vector<ScramKey> order_;  // ring of ids, oldest at oldest_ once it is full
  std::size_t oldest_ = 0;
};

}  // namespace pgshunt
