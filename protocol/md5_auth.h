// PostgreSQL's md5 password authentication (PostgreSQL manual, "Password Authentication" and
// "Message Flow"): weak by today's measure, kept for servers and clients that have nothing better.
//
// Pure functions. Where OpenSSL has no MD5 (FIPS mode) everything fails with 0A000.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

inline constexpr std::size_t kMd5SaltSize = 4;

// "md5" and 32 hexadecimal digits: the form of pg_authid.rolpassword.
bool is_md5_hash(std::string_view stored);

// The hash a server stores for this user and password.
Result<std::string> md5_stored_hash(std::string_view password, std::string_view user);

// What a client answers to AuthenticationMD5Password; needs only the stored hash.
Result<std::string> md5_response(std::string_view stored_hash, std::string_view salt);

// Compares in constant time. False for anything but a well-formed answer.
bool md5_response_matches(std::string_view response, std::string_view stored_hash,
                          std::string_view salt);

// Four random bytes.
std::string make_md5_salt();

}  // namespace pgshunt
