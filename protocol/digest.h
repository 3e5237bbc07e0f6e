// SHA-256, HMAC-SHA-256 and MD5 over OpenSSL's EVP, with the costs of EVP taken out: algorithms are
// fetched once per process and contexts live as long as their thread, so that a digest is a few
// hundred nanoseconds and allocates nothing.
//
// Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace pgshunt {

using Sha256Digest = std::array<std::uint8_t, 32>;

// The parts are hashed as if they stood in one string.
using DigestParts = std::initializer_list<std::string_view>;

Sha256Digest sha256(DigestParts parts);
Sha256Digest hmac_sha256(std::span<const std::uint8_t, 32> key, DigestParts parts);

// 32 lower-case hexadecimal digits. False where OpenSSL has no MD5 (FIPS mode).
bool md5_hex(DigestParts parts, std::string& out);

// PBKDF2-HMAC-SHA-256 (RFC 8018), one block: SCRAM's Hi(). About 0.25 microseconds an iteration.
Sha256Digest pbkdf2_sha256(std::string_view password, std::string_view salt,
                           std::uint32_t iterations);

// Cryptographically strong; aborts if the system has no randomness to give, because going on
// would mean predictable nonces.
void fill_random(std::span<std::uint8_t> out);

// Takes the same time wherever the difference is. Lengths are not secret.
bool equal_constant_time(std::string_view a, std::string_view b);

inline std::string_view as_view(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace pgshunt
