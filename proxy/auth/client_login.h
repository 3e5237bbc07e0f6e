// A client from its first packet to "authenticated", as a machine over bytes.
//
// The owner (a client session, on its worker's thread) feeds what it has received and does what the
// returned step says. The machine takes no time and touches no socket; the owner holds the
// deadline. Everything the client sent is untrusted: lengths are checked before a message is waited
// for, so the owner never has to buffer more than kMaxClientLoginMessage bytes.
//
//   for (;;) {
//     ClientLoginStep step = login.advance(input.view());
//     input.consume(step.consumed);
//     stream.enqueue(step.send);  // before anything else; with kStartTls: in plain text
//     switch (step.kind) { ... }
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/frame.h"
#include "protocol/frontend.h"
#include "protocol/result.h"
#include "protocol/scram.h"
#include "proxy/auth/credentials.h"
#include "proxy/auth/hba.h"
#include "proxy/config/config.h"

namespace pgshunt {

class UserTable;  // proxy/auth/userlist.h

// The longest message a client may send before it is authenticated, its header included.
inline constexpr std::size_t kMaxClientLoginMessage = kFrameHeaderSize + kMaxAuthenticationBody;

// Rules for every client of a listener: an immutable snapshot, replaced at reload. Logins under way
// keep the one they began with.
struct ClientLoginPolicy {
  std::shared_ptr<const Hba> hba;
  std::shared_ptr<const UserTable> users;
  // PgBouncer's client_tls_sslmode: kDisable answers an SSLRequest with 'N'; kAllow and kPrefer
  // with 'S', plain connections are welcome too; from kRequire on a StartupMessage over TCP without
  // TLS is refused.
  SslMode tls = SslMode::kDisable;
  // Users that are not in `users` are asked for with kLookupSecret (auth_query).
  bool lookup_unknown_users = false;
  // The method "password" is refused without TLS unless this is set (Unix sockets count as safe).
  bool cleartext_without_tls = false;
  // Salts of mock exchanges for unknown users, and of users stored as plain passwords, derive from
  // this: at least 16 bytes, the same for all workers; see make_mock_secret().
  std::string mock_secret;
};

// 32 bytes for ClientLoginPolicy::mock_secret. The same non-empty seed gives the same bytes, so
// that a restarted proxy shows unknown users the same salt; an empty seed gives random ones.
std::string make_mock_secret(std::string_view seed);

// Where a client comes from, as the accepting side knows it.
struct ClientPeer {
  bool unix_socket = false;
  IpAddress address;  // kNone for Unix sockets
};

// What the machine says when it returns.
enum class ClientLoginStepKind : std::uint8_t {
  kNeedMore,      // read from the client, then advance() again with the bytes not consumed
  kStartTls,      // after `send` left in plain text: handshake, then tls_established(), advance().
                  // Nothing to send: the client began with TLS itself (sslnegotiation=direct), and
                  // the input that was not consumed is the beginning of its handshake
  kLookupSecret,  // find login.user()'s secret for login.database(), then secret_*(), advance()
  kAccepted,      // take_client() once. `send` (SASL's last word and AuthenticationOk) may wait for
                  // the session's ParameterStatus ... ReadyForQuery to leave in one write
  kCancel,        // a CancelRequest: cancel_pid(), cancel_key(); close without an answer
  kReject,        // `send` holds the ErrorResponse (FATAL); write it and close. error() is for the
                  // log, with more detail than the client was told
  kClose,         // an answer would not be read: Terminate, or TLS where none was agreed
};

struct ClientLoginStep {
  ClientLoginStepKind kind = ClientLoginStepKind::kNeedMore;
  std::size_t consumed = 0;  // drop this many bytes of the input
  std::string_view send;     // write these first; valid until the machine's next call
};

// A client that proved who it is.
struct AuthenticatedClient {
  std::string user;
  std::string database;  // the user's name if the client named none
  // Run-time settings asked for, in order of effect: those of "options" (-c name=value), then the
  // startup parameters themselves, application_name and client_encoding included.
  std::vector<std::pair<std::string, std::string>> settings;
  std::uint32_t protocol_minor = 0;         // negotiated
  AuthMethod method = AuthMethod::kReject;  // of the rule that let it in
  // What this login taught us: password (if it was sent or is configured), md5 hash, SCRAM keys.
  ServerCredentials credentials;
};

class ClientLogin {
 public:
  ClientLogin(std::shared_ptr<const ClientLoginPolicy> policy, ClientPeer peer);
  ~ClientLogin();
  ClientLogin(ClientLogin&&) noexcept;
  ClientLogin& operator=(ClientLogin&&) noexcept;

  // Looks at the received bytes and goes as far as they carry. Never call it again after
  // kAccepted, kCancel, kReject or kClose.
  ClientLoginStep advance(std::string_view input);

  // After kStartTls and the handshake.
  // `end_point_hash`: Stream::server_end_point_hash(); `peer_common_name`: of a certificate that
  // was verified, else empty.
  void tls_established(std::string end_point_hash, std::string peer_common_name);

  // Exactly one of these after kLookupSecret. `stored` as in pg_authid; an unknown user goes
  // through the whole exchange and fails at its end, like a wrong password.
  void secret_found(std::string_view stored);
  void secret_not_found();
  void secret_failed(Error error);  // the look-up itself failed: told to the client as it is

  // Known once the startup packet was read (from kLookupSecret on); empty before.
  std::string_view user() const;
  std::string_view database() const;

  // Valid after kAccepted; moves it out.
  AuthenticatedClient take_client();

  // Valid after kCancel.
  std::uint32_t cancel_pid() const;
  std::string_view cancel_key() const;

  // Valid after kReject. Never holds a secret.
  const Error& error() const;

  // What it is waiting for, for SHOW CLIENTS and the log: "startup", "tls", "secret", "password".
  std::string_view state_name() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// PostgreSQL's words for a database nobody serves (3D000). Sent after authentication, never before:
// a stranger learns nothing.
Error unknown_database_error(std::string_view database);

}  // namespace pgshunt
