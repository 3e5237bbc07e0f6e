// TLS in two parts: TlsContext, what the configuration says about it, and TlsSession, one
// connection's OpenSSL state. Neither touches a socket: a session turns ciphertext it is handed
// into plaintext and plaintext into ciphertext, so that TLS costs the system calls that plain
// connections cost. Stream (stream.h) does the moving.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "proxy/config/config.h"

// OpenSSL's own types; its headers stay in the .cc files.
struct ssl_ctx_st;
struct ssl_st;

namespace pgshunt {

// Immutable, shared by all connections of a listener or a server; a reload makes a new one and lets
// running sessions keep theirs. Any thread.
class TlsContext {
 public:
  // Errors name the file and OpenSSL's reason.

  // For clients. verify-ca and verify-full demand a certificate signed by the CA (a client has no
  // host name to compare). Below that a CA file makes certificates optional, but one that is shown
  // must be good, as in PostgreSQL.
  static Result<std::shared_ptr<const TlsContext>> server(const TlsConfig& config);
  // For servers. Their certificate is verified for verify-ca and verify-full, and, as libpq does
  // it, for require when a CA file is given. verify-full also compares the host name.
  static Result<std::shared_ptr<const TlsContext>> client(const TlsConfig& config);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* native() const { return context_; }
  bool verifies_host() const { return verifies_host_; }
  // Of our own certificate; see TlsSession.
  const std::string& server_end_point_hash() const { return server_end_point_hash_; }

 private:
  TlsContext() = default;

  ssl_ctx_st* context_ = nullptr;
  bool verifies_host_ = false;
  std::string server_end_point_hash_;
};

// One connection. May be handed from thread to thread, not shared.
class TlsSession {
 public:
  // kDirect: the client began with TLS instead of an SSLRequest (sslnegotiation=direct, PostgreSQL
  // 17); it must then name the protocol by ALPN, lest another protocol's client be led here.
  enum class Negotiation : std::uint8_t { kSslRequest, kDirect };

  static Result<std::unique_ptr<TlsSession>> server(std::shared_ptr<const TlsContext> context,
                                                    Negotiation negotiation);
  // `host_name`: sent as SNI unless it is an address, and compared if the context verifies hosts.
  static Result<std::unique_ptr<TlsSession>> client(std::shared_ptr<const TlsContext> context,
                                                    const std::string& host_name);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  enum class Status : std::uint8_t { kOpen, kClosed, kFailed };

  // Takes in what was received: takes the handshake further, then decrypts into `space`. All of
  // `cipher` is consumed; what does not fit stays inside (has_pending()). Ciphertext to send is
  // appended to `out`, also on failure (an alert). Not kOpen is reported after the last byte before
  // it, with `got` == 0, and error() says why.
  Status receive(std::string_view cipher, char* space, std::size_t capacity, std::size_t& got,
                 std::string& out);
  // For bytes that were received before the session was made: as if they did not fit before.
  void keep(std::string_view cipher) { kept_.append(cipher); }
  // The most to receive for a read of `capacity` bytes so that nothing has to stay inside.
  std::size_t receive_limit(std::size_t capacity) const;
  bool has_pending() const;

  // Takes the handshake as far as what was received allows; a client's first step sends its hello.
  Status handshake(std::string& out);
  bool handshake_done() const { return handshake_done_; }

  // Appends `plain` as ciphertext to `out`. After the handshake only.
  Status encrypt(std::string_view plain, std::string& out);
  // Appends the alert that ends our direction in an orderly way.
  void close_notify(std::string& out);

  const Error& error() const { return error_; }

  // Channel binding data tls-server-end-point (RFC 5929, section 4.1): the server certificate's
  // hash, by the hash function of its signature (SHA-256 if that is MD5 or SHA-1). Empty if the
  // signature has none (Ed25519), or before the handshake.
  std::string server_end_point_hash() const;
  // Common name in the peer's verified certificate; empty if there is none.
  std::string peer_common_name() const;
  // Protocol version and cipher.
  std::string description() const;

 private:
  friend struct SessionBio;
  TlsSession() = default;
  static Result<std::unique_ptr<TlsSession>> make(std::shared_ptr<const TlsContext> context);
  Status decrypt(char* space, std::size_t capacity, std::size_t& got);
  Status fail(std::string_view what);

  std::shared_ptr<const TlsContext> context_;
  ssl_st* ssl_ = nullptr;
  bool is_server_ = false;
  bool direct_ = false;
  bool handshake_done_ = false;
  Status status_ = Status::kOpen;  // not kOpen before it was reported: has_pending()
  bool status_reported_ = false;
  // Ciphertext OpenSSL holds of a record that is not complete, an upper bound.
  std::size_t held_ = 0;
  std::string_view input_;         // what OpenSSL may still take, during a call
  std::string* output_ = nullptr;  // where OpenSSL writes, during a call
  std::string kept_;               // ciphertext that did not fit into the reader's space
  std::string host_name_;          // for messages
  Error error_;
};

}  // namespace pgshunt
