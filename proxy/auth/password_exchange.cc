#include "proxy/auth/password_exchange.h"

#include <array>
#include <span>

#include "protocol/backend.h"
#include "protocol/digest.h"
#include "protocol/frontend.h"
#include "protocol/md5_auth.h"
#include "protocol/scram_key_cache.h"

namespace pgshunt {
namespace {

// The password in the form a server would compare with.
bool password_fits(std::string_view password, std::string_view user, const Secret& secret) {
  switch (secret.kind) {
    case SecretKind::kNone:
      return false;
    case SecretKind::kPlain:
      return equal_constant_time(password, secret.text);
    case SecretKind::kMd5: {
      const Result<std::string> hash = md5_stored_hash(password, user);
      return hash && equal_constant_time(*hash, secret.text);
    }
    case SecretKind::kScram:
      return ScramKeyCache::process_wide().matches(password, secret.scram);
  }
  return false;
}

}  // namespace

Error password_failed_error(std::string_view user) {
  return {sqlstate::kInvalidPassword,
          "password authentication failed for user \"" + std::string(user) + "\"",
          {}};
}

PasswordExchange::PasswordExchange(const Setting& setting, std::string& out)
    : user_(setting.user), secret_(setting.secret), kind_(choose(setting)) {
  switch (kind_) {
    case Kind::kCleartext:
      append_authentication_cleartext(out);
      return;
    case Kind::kMd5:
      md5_salt_ = make_md5_salt();
      append_authentication_md5(out, md5_salt_);
      return;
    default:
      begin_scram(setting, out);
      return;
  }
}

// The method "md5" means what it means in PostgreSQL: SCRAM for those who have a SCRAM secret. A
// stranger gets what a user of ours most likely gets: servers store SCRAM secrets by default, lists
// hold what md5 can use.
PasswordExchange::Kind PasswordExchange::choose(const Setting& setting) const {
  if (setting.method == AuthMethod::kPassword) return Kind::kCleartext;
  if (setting.method == AuthMethod::kScramSha256) return Kind::kSaslInitial;
  const bool scram =
      secret_ == nullptr ? setting.secrets_from_server : secret_->kind == SecretKind::kScram;
  return scram ? Kind::kSaslInitial : Kind::kMd5;
}

void PasswordExchange::begin_scram(const Setting& setting, std::string& out) {
  ScramVerifier verifier;
  bool genuine = false;
  if (secret_ != nullptr && secret_->kind == SecretKind::kScram) {
    verifier = secret_->scram;
    genuine = true;
  } else if (secret_ != nullptr && secret_->kind == SecretKind::kPlain) {
    verifier = make_scram_verifier(ScramKeyCache::process_wide().get(
        secret_->text, scram_mock_salt(setting.mock_secret, user_), kScramDefaultIterations));
    genuine = true;
  } else {
    verifier = scram_mock_verifier(setting.mock_secret, user_);
  }
  scram_.emplace(std::move(verifier), genuine, std::string(setting.end_point_hash));
  constexpr std::array<std::string_view, 2> kMechanisms = {kScramPlusMechanism, kScramMechanism};
  append_authentication_sasl(
      out, std::span(kMechanisms).subspan(setting.end_point_hash.empty() ? 1 : 0));
}

Result<bool> PasswordExchange::on_message(std::string_view body, std::string& out) {
  switch (kind_) {
    case Kind::kCleartext:
      return on_cleartext(body);
    case Kind::kMd5:
      return on_md5(body);
    case Kind::kSaslInitial:
      return on_sasl_initial(body, out);
    case Kind::kSaslFirst:
      return on_sasl_first(body, out);
    case Kind::kSaslFinal:
      break;
  }
  return on_sasl_final(body, out);
}

Result<bool> PasswordExchange::on_cleartext(std::string_view body) {
  const Result<std::string_view> password = decode_password(body);
  if (!password) return password.error();
  if (password->empty()) {
    return Error{sqlstate::kInvalidPassword, "empty password returned by client", {}};
  }
  if (secret_ == nullptr || !password_fits(*password, user_, *secret_)) {
    return password_failed_error(user_);
  }
  password_ = std::string(*password);
  return true;
}

Result<bool> PasswordExchange::on_md5(std::string_view body) {
  const Result<std::string_view> response = decode_password(body);
  if (!response) return response.error();
  std::string hash;
  if (secret_ != nullptr && secret_->kind == SecretKind::kMd5) {
    hash = secret_->text;
  } else if (secret_ != nullptr && secret_->kind == SecretKind::kPlain) {
    Result<std::string> derived = md5_stored_hash(secret_->text, user_);
    if (!derived) return derived.error();
    hash = std::move(*derived);
  }
  if (!md5_response_matches(*response, hash, md5_salt_)) return password_failed_error(user_);
  return true;
}

Result<bool> PasswordExchange::on_sasl_initial(std::string_view body, std::string& out) {
  const Result<SaslInitialResponseView> initial = decode_sasl_initial_response(body);
  if (!initial) return initial.error();
  mechanism_ = initial->mechanism;
  if (initial->has_response) return on_sasl_first(initial->response, out);
  // The client waits for an empty challenge before it speaks (RFC 4422, section 3).
  append_authentication_sasl_continue(out, {});
  kind_ = Kind::kSaslFirst;
  return false;
}

Result<bool> PasswordExchange::on_sasl_first(std::string_view message, std::string& out) {
  const Result<std::string_view> reply = scram_->on_client_first(mechanism_, message);
  if (!reply) return reply.error();
  append_authentication_sasl_continue(out, *reply);
  kind_ = Kind::kSaslFinal;
  return false;
}

Result<bool> PasswordExchange::on_sasl_final(std::string_view message, std::string& out) {
  const Result<std::string> reply = scram_->on_client_final(message);
  if (!reply) {
    if (reply.error().code == sqlstate::kInvalidPassword) return password_failed_error(user_);
    return reply.error();
  }
  append_authentication_sasl_final(out, *reply);
  if (secret_->kind == SecretKind::kScram) scram_keys_ = scram_->captured_keys();
  return true;
}

}  // namespace pgshunt
