// How a client proves a password: cleartext, md5 or SCRAM, against a secret in any of its stored
// forms. Knows the 'p' messages and the Authentication* requests; what comes before (startup,
// rules) and after (AuthenticationOk) is ClientLogin's.
//
// One exchange, one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "protocol/scram.h"
#include "proxy/auth/credentials.h"
#include "proxy/config/config.h"

namespace pgshunt {

class PasswordExchange {
 public:
  struct Setting {
    AuthMethod method = AuthMethod::kScramSha256;  // kPassword, kMd5 or kScramSha256
    std::string_view user;
    // Null for a user nobody knows: the exchange takes its course and fails at its end. Must
    // outlive the exchange.
    const Secret* secret = nullptr;
    // Secrets come from a server rather than from a list: what a stranger's would most likely be.
    bool secrets_from_server = false;
    std::string_view mock_secret;     // ClientLoginPolicy::mock_secret
    std::string_view end_point_hash;  // of our certificate; empty without TLS
  };
  // Appends the request the client has to answer.
  PasswordExchange(const Setting& setting, std::string& out);

  // The body of a 'p' message. True: the client has proven who it is, false: `out` holds a further
  // request. Errors are in PostgreSQL's words.
  Result<bool> on_message(std::string_view body, std::string& out);

  // After success: what the client gave away, beyond what was stored.
  std::optional<std::string> take_password() { return std::move(password_); }
  std::optional<ScramKeys> take_scram_keys() { return std::move(scram_keys_); }

 private:
  enum class Kind : std::uint8_t { kCleartext, kMd5, kSaslInitial, kSaslFirst, kSaslFinal };

  Kind choose(const Setting& setting) const;
  void begin_scram(const Setting& setting, std::string& out);
  Result<bool> on_cleartext(std::string_view body);
  Result<bool> on_md5(std::string_view body);
  Result<bool> on_sasl_initial(std::string_view body, std::string& out);
  Result<bool> on_sasl_first(std::string_view message, std::string& out);
  Result<bool> on_sasl_final(std::string_view message, std::string& out);

  std::string user_;
  const Secret* secret_;
  Kind kind_;
  std::string md5_salt_;
  std::optional<ScramServer> scram_;
  std::string mechanism_;  // the client's choice
  std::optional<std::string> password_;
  std::optional<ScramKeys> scram_keys_;
};

// 28P01, the same for every way to fail.
Error password_failed_error(std::string_view user);

}  // namespace pgshunt
