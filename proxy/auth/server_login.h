// The proxy's own way into a PostgreSQL server, from the first byte to ReadyForQuery, as a machine
// over bytes. Owner: one backend connection, on its worker's thread; the owner holds the deadline.
//
//   ServerLogin login(config);
//   for (;;) {
//     ServerLoginStep step = login.advance(input.view());   // the first time with no input
//     input.consume(step.consumed);
//     stream.write(step.send);
//     switch (step.kind) { ... }
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/result.h"
#include "protocol/scram.h"
#include "proxy/auth/credentials.h"
#include "proxy/config/config.h"

namespace pgshunt {

// The longest message a server may send before ReadyForQuery, header included: libpq's limit for
// errors (30,000) with room. The owner never needs to buffer more.
inline constexpr std::size_t kMaxServerLoginMessage = 32 * 1024;

// libpq's channel_binding.
enum class ChannelBindingMode : std::uint8_t { kDisable, kPrefer, kRequire };

// Ways of proving ourselves that we are willing to use: libpq's require_auth as a set of bits.
enum ServerAuthMethod : std::uint8_t {
  kServerAuthNone = 1u << 0,       // the server asks for nothing: trust, or our certificate
  kServerAuthCleartext = 1u << 1,  // also needs TLS, or cleartext_without_tls
  kServerAuthMd5 = 1u << 2,
  kServerAuthScram = 1u << 3,
  kServerAuthAny = 0x0f,
};

struct ServerLoginConfig {
  ServerCredentials credentials;  // credentials.user is the user we log in as
  std::string database;
  // Further startup parameters: application_name, client_encoding, options, ...
  std::vector<std::pair<std::string, std::string>> parameters;
  // kDisable and kAllow begin in plain text ("allow" is a second attempt with kRequire, the owner's
  // doing); kPrefer takes what the server offers; from kRequire on TLS must be had (that the
  // certificate is checked is the TLS context's business).
  SslMode tls = SslMode::kPrefer;
  ChannelBindingMode channel_binding = ChannelBindingMode::kPrefer;
  std::uint8_t allowed_methods = kServerAuthAny;
  bool cleartext_without_tls = false;  // Unix sockets: set it
  std::uint32_t protocol_minor = 0;    // asked for: 0, or 2 for long cancel keys
};

enum class ServerLoginStepKind : std::uint8_t {
  kNeedMore,  // read, then advance() again with the bytes not consumed
  kStartTls,  // handshake, then tls_established(), then advance()
  kReady,     // ReadyForQuery was consumed; bytes after it are not touched
  kFailed,    // error(); close the connection
};

struct ServerLoginStep {
  ServerLoginStepKind kind = ServerLoginStepKind::kNeedMore;
  std::size_t consumed = 0;
  std::string_view send;  // write these first; valid until the machine's next call
};

// What the server told about itself.
struct ServerGreeting {
  // ParameterStatus in order of arrival, the last value of each name.
  std::vector<std::pair<std::string, std::string>> parameters;
  std::uint32_t backend_pid = 0;
  std::string cancel_key;  // 4 to 256 bytes; empty: the server sent none, it cannot be cancelled
  std::uint32_t protocol_minor = 0;
  ServerAuthMethod method = kServerAuthNone;  // how we proved ourselves
};

class ServerLogin {
 public:
  explicit ServerLogin(ServerLoginConfig config);
  ~ServerLogin();
  ServerLogin(ServerLogin&&) noexcept;
  ServerLogin& operator=(ServerLogin&&) noexcept;

  // Never call it again after kReady or kFailed.
  ServerLoginStep advance(std::string_view input);

  // After kStartTls, or before the first advance() when the owner did the TLS part itself:
  // `end_point_hash` is Stream::server_end_point_hash() of the server's certificate.
  void tls_established(std::string end_point_hash);

  // Valid after kReady; moves it out.
  ServerGreeting take_greeting();

  // Valid after kFailed: the server's own SQLSTATE and message where it gave one, else ours.
  const Error& error() const;
  // True if the failure is the server's refusal of our identity (class 28) or ours of its method:
  // trying again without a change of configuration is pointless.
  bool refused() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgshunt
