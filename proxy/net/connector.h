// Opens one connection to a server: name look-up, each address in turn, and TLS if it is asked for.
// What is said on the connection afterwards is the owner's business.
//
// Loop thread only. Destroying a connector cancels it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocol/result.h"
#include "proxy/config/config.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/net/socket.h"
#include "proxy/net/stream.h"

namespace pgshunt {

struct ConnectTarget {
  std::string host;  // a name, an address, or the directory of a Unix socket
  std::uint16_t port = 5432;
  // kDisable and kAllow connect in plain text, and so does everything over Unix sockets. From
  // kPrefer on the server is asked (SSLRequest): kPrefer goes on without TLS where the server has
  // none, and connects anew without it where the handshake fails; the others fail.
  SslMode ssl_mode = SslMode::kDisable;
  std::shared_ptr<const TlsContext> tls;  // made for `ssl_mode`; for kPrefer and above
  KeepaliveOptions keepalive;
};

// The second half of libpq's "allow" and "prefer": when the server's very first answer to the
// startup packet is an error, what to try once more with (pg_hba.conf may ask for TLS, or forbid
// it). Empty: nothing, the error stands.
std::optional<SslMode> ssl_mode_of_second_attempt(SslMode configured, bool first_had_tls);

class Connector : private IoHandler {
 public:
  // A connected socket, with its TLS session if there is one: hand it to a Stream. Errors name the
  // target.
  using Done = std::function<void(Result<Stream::Detached>)>;

  // Begins at once. `done` is called once, from the loop and never from inside the constructor, and
  // may destroy the connector. Every address gets an equal share of the time until `deadline`.
  Connector(EventLoop& loop, Resolver& resolver, ConnectTarget target, TimePoint deadline,
            Done done);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

 private:
  enum class Stage : std::uint8_t { kResolving, kConnecting, kSslAnswer, kHandshake };

  void on_io(std::uint32_t events) override;
  void on_timer();
  void resolved(const Result<SocketAddresses>& found);
  void begin_attempt();
  void try_address();
  void connected();
  void on_ssl_answer();
  void on_handshake();
  void finish_handshake();
  // Of the TLS exchange, for which kPrefer has an answer; then on as below.
  void connection_failed(Error error);
  // Goes on to the next address, or gives up.
  void address_failed(Error error);
  void drop_connection();
  void finish(Result<Stream::Detached> result);
  Error describe(Error error) const;

  EventLoop& loop_;
  const ConnectTarget target_;
  const TimePoint deadline_;
  Done done_;
  Stage stage_ = Stage::kResolving;
  Timer timer_;
  Resolver::Question question_;
  SocketAddresses addresses_;
  std::size_t current_ = 0;   // in addresses_
  bool without_tls_ = false;  // kPrefer, after TLS has failed at this address
  TimePoint attempt_deadline_{};
  // While connecting the bare descriptor is watched (none: a Unix socket was busy); after that the
  // stream has it.
  UniqueFd fd_;
  std::optional<EventLoop::Token> token_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace pgshunt
