#include "router/pg_hash.h"

#include <bit>
#include <cstddef>

namespace pgshunt {
namespace {

// Bob Jenkins' lookup3 (2006, public domain) with PostgreSQL's initial value and its way of mixing
// in a seed (src/common/hashfn.c).
struct Lookup3 {
  std::uint32_t a, b, c;

  explicit Lookup3(std::uint32_t length) : a(0x9e3779b9u + length + 3923095u), b(a), c(a) {
    a += static_cast<std::uint32_t>(kHashSeed >> 32);
    b += static_cast<std::uint32_t>(kHashSeed);
    mix();
  }

  void mix() {
    a -= c, a ^= std::rotl(c, 4), c += b;
    b -= a, b ^= std::rotl(a, 6), a += c;
    c -= b, c ^= std::rotl(b, 8), b += a;
    a -= c, a ^= std::rotl(c, 16), c += b;
    b -= a, b ^= std::rotl(a, 19), a += c;
    c -= b, c ^= std::rotl(b, 4), b += a;
  }

  std::uint64_t finish() {
    c ^= b, c -= std::rotl(b, 14);
    a ^= c, a -= std::rotl(c, 11);
    b ^= a, b -= std::rotl(a, 25);
    c ^= b, c -= std::rotl(b, 16);
    a ^= c, a -= std::rotl(c, 4);
    b ^= a, b -= std::rotl(a, 14);
    c ^= b, c -= std::rotl(b, 24);
    return (std::uint64_t{b} << 32) | c;
  }
};

// Up to four bytes as a little-endian number, as the servers we know compute it.
std::uint32_t little_endian(const unsigned char* at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value |= std::uint32_t{at[i]} << (8 * i);
  return value;
}

}  // namespace

std::uint64_t hash_bytes(std::string_view bytes) {
  Lookup3 state(static_cast<std::uint32_t>(bytes.size()));
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  for (; left >= 12; at += 12, left -= 12) {
    state.a += little_endian(at, 4);
    state.b += little_endian(at + 4, 4);
    state.c += little_endian(at + 8, 4);
    state.mix();
  }
  // The lowest byte of c belongs to the length, so the tail's bytes there start one higher.
  if (left > 8) state.c += little_endian(at + 8, left - 8) << 8;
  if (left > 4) state.b += little_endian(at + 4, left < 8 ? left - 4 : 4);
  if (left > 0) state.a += little_endian(at, left < 4 ? left : 4);
  return state.finish();
}

std::uint64_t hash_int4(std::int32_t value) {
  Lookup3 state(4);
  state.a += static_cast<std::uint32_t>(value);
  return state.finish();
}

std::uint64_t hash_int8(std::int64_t value) {
  // The high half is folded in so that it vanishes for values that fit in 32 bits.
  const auto low = static_cast<std::uint32_t>(value);
  const auto high = static_cast<std::uint32_t>(static_cast<std::uint64_t>(value) >> 32);
  return hash_int4(static_cast<std::int32_t>(low ^ (value >= 0 ? high : ~high)));
}

std::uint64_t hash_numeric(std::span<const std::int16_t> digits, int weight) {
  while (!digits.empty() && digits.front() == 0) {
    digits = digits.subspan(1);
    --weight;
  }
  while (!digits.empty() && digits.back() == 0) digits = digits.first(digits.size() - 1);
  if (digits.empty()) return kHashSeed - 1;
  const std::string_view bytes(reinterpret_cast<const char*>(digits.data()), digits.size_bytes());
  return hash_bytes(bytes) ^ static_cast<std::uint64_t>(std::int64_t{weight});
}

std::uint64_t hash_numeric_special() { return kHashSeed; }

}  // namespace pgshunt
