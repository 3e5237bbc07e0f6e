// Secrets as they are stored, and what the proxy can prove to a server with them.
//
// None of these types is ever formatted into a message or a log line; they have no printing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/result.h"
#include "protocol/scram.h"

namespace pgshunt {

// What a user's password entry can be: the three forms of pg_authid.rolpassword and PgBouncer's
// userlist.txt.
enum class SecretKind : std::uint8_t {
  kNone,   // no password: only methods that need none can let the user in
  kPlain,  // the password itself
  kMd5,    // "md5" + hex md5(password + user)
  kScram,  // "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"
};

// One user's stored secret.
struct Secret {
  SecretKind kind = SecretKind::kNone;
  std::string text;     // kPlain: the password; kMd5: the 35 characters; kScram: as stored
  ScramVerifier scram;  // kScram only: `text` parsed
};

// Tells the forms apart as PostgreSQL's get_password_type() does: what is neither an md5 hash nor
// a well-formed SCRAM secret is a plain password.
Secret parse_secret(std::string_view stored);

// Everything the proxy holds to log in to a server as `user`. Any member may be missing; the server
// login uses the best one for what the server asks.
struct ServerCredentials {
  std::string user;
  std::optional<std::string> password;
  std::string md5_hash;  // "md5...", empty if unknown
  // Captured while the same user logged in to the proxy with SCRAM, or derived from the password.
  std::optional<ScramKeys> scram_keys;
};

}  // namespace pgshunt
