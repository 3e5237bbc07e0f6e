#include "protocol/md5_auth.h"

#include <array>

#include "protocol/digest.h"

namespace pgshunt {
namespace {

constexpr std::string_view kPrefix = "md5";
constexpr std::size_t kHashSize = 3 + 32;

Result<std::string> prefixed_md5(std::string_view first, std::string_view second) {
  std::string digits;
  if (!md5_hex({first, second}, digits)) {
    return Error{sqlstate::kFeatureNotSupported,
                 "could not compute MD5 hash: OpenSSL does not provide MD5 here",
                 {}};
  }
  return std::string(kPrefix) + digits;
}

}  // namespace

bool is_md5_hash(std::string_view stored) {
  return stored.size() == kHashSize && stored.starts_with(kPrefix) &&
         stored.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

Result<std::string> md5_stored_hash(std::string_view password, std::string_view user) {
  return prefixed_md5(password, user);
}

Result<std::string> md5_response(std::string_view stored_hash, std::string_view salt) {
  if (!is_md5_hash(stored_hash)) {
    return Error{sqlstate::kInternalError, "malformed MD5 password hash", {}};
  }
  return prefixed_md5(stored_hash.substr(kPrefix.size()), salt);
}

bool md5_response_matches(std::string_view response, std::string_view stored_hash,
                          std::string_view salt) {
  const Result<std::string> expected = md5_response(stored_hash, salt);
  return expected && equal_constant_time(response, *expected);
}

std::string make_md5_salt() {
  std::array<std::uint8_t, kMd5SaltSize> salt;
  fill_random(salt);
  return std::string(as_view(salt));
}

}  // namespace pgshunt
