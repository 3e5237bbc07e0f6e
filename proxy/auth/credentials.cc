#include "proxy/auth/credentials.h"

#include "protocol/md5_auth.h"

namespace pgshunt {

Secret parse_secret(std::string_view stored) {
  Secret secret;
  secret.text = stored;
  if (stored.empty()) {
    secret.kind = SecretKind::kNone;
  } else if (is_md5_hash(stored)) {
    secret.kind = SecretKind::kMd5;
  } else if (auto verifier = parse_scram_verifier(stored); verifier) {
    secret.kind = SecretKind::kScram;
    secret.scram = std::move(*verifier);
  } else {
    secret.kind = SecretKind::kPlain;
  }
  return secret;
}

}  // namespace pgshunt
