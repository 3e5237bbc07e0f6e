// A connected socket, plain or TLS, with bounded queued output. Sans policy: it moves bytes and
// reports what happened; who reads when, and what the bytes mean, is the owner's business.
//
// Loop thread only. A Stream owns its descriptor and its registration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/out_queue.h"

namespace pgshunt {

class TlsContext;  // proxy/net/tls.h: immutable, shared by all streams of a listener or a shard
class TlsSession;  // one connection's OpenSSL state over memory, owned by its stream

enum class IoResult : std::uint8_t { kOk, kWouldBlock, kClosed, kFailed };

class Stream {
 public:
  // Takes over a connected (or connecting) non-blocking descriptor.
  Stream(EventLoop& loop, int fd, IoHandler& handler);
  ~Stream();  // closes at once
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Reads what is there, one recv, into the front of `space` (at least 16 KB under TLS).
  // kOk: `got` > 0 bytes. kWouldBlock: nothing (under TLS also: a handshake step was taken).
  // kClosed: orderly end. kFailed: error() says why.
  // Under TLS decrypted bytes can remain inside: then has_pending() is true and the owner must call
  // read() again without waiting for readiness (the loop will not report it).
  IoResult read(char* space, std::size_t capacity, std::size_t& got);
  bool has_pending() const;

  // Sends now as much as the socket takes; the rest is copied to the queue and sent when the socket
  // is writable (call flush() from on_io on kIoWrite). kOk also when bytes were queued.
  IoResult write(std::string_view bytes);
  // Appends to the queue without sending: for replies that are followed by more in this turn, which
  // the owner ends with flush() or write().
  void enqueue(std::string_view bytes);
  IoResult flush();
  // Bytes accepted by write()/enqueue() that the kernel has not taken yet.
  std::size_t queued() const;

  // What the loop should report to the handler. Write interest is added by itself while queued() >
  // 0 or a TLS handshake wants it. want_read(false) is back-pressure: the peer's window fills.
  void want_read(bool on);

  // Ends our direction once all is sent (TLS: with its alert); the peer can still send. Only when
  // nothing is queued.
  IoResult shutdown_write();

  // TLS. After start, reads drive the handshake; what is written before it completes is queued.
  // `early`: bytes received behind the SSLRequest, in the same recv. There must be none: a peer
  // that sends before it saw our answer is a man in the middle (CVE-2021-23214).
  Status start_tls_server(std::shared_ptr<const TlsContext> context, std::string_view early = {});
  // For a client that began with TLS at once (PostgreSQL 17, sslnegotiation=direct; the first byte
  // is 0x16): `received` is what was read so far in search of a startup packet. has_pending() is
  // true afterwards.
  Status start_direct_tls_server(std::shared_ptr<const TlsContext> context,
                                 std::string_view received);
  // `host_name`: SNI and, for verify-full, the name the certificate must carry. Sends the hello.
  Status start_tls_client(std::shared_ptr<const TlsContext> context, const std::string& host_name);
  bool tls() const;
  bool handshake_done() const;  // true for plain streams
  // Material for SCRAM-SHA-256-PLUS, RFC 5929 tls-server-end-point: hash of the server's
  // certificate (ours on the server side, the peer's on the client side). Empty without TLS.
  std::string server_end_point_hash() const;
  // Common name of the client's verified certificate, empty if none.
  std::string peer_common_name() const;
  // "TLSv1.3" and the cipher, empty if plain. For SHOW CLIENTS/SERVERS.
  std::string tls_description() const;

  const Error& error() const { return error_; }
  int fd() const { return fd_; }
  // Hands the bare plain socket to another worker: deregisters, forgets the descriptor. Only when
  // nothing is queued. TLS state travels with it.
  struct Detached {
    int fd = -1;
    std::unique_ptr<TlsSession> tls;
    Detached(int descriptor, std::unique_ptr<TlsSession> session);
    Detached(Detached&&) noexcept;
    ~Detached();
  };
  Detached detach();
  Stream(EventLoop& loop, Detached detached, IoHandler& handler);

 private:
  IoResult receive(char* space, std::size_t capacity, std::size_t& got);
  // Sends `head` and then `tail` in one system call; `sent` counts over both.
  IoResult send(std::string_view head, std::string_view tail, std::size_t& sent);
  // Sends now, behind what is queued, and queues what the socket does not take.
  IoResult send_or_queue(std::string_view bytes);
  IoResult read_tls(char* space, std::size_t capacity, std::size_t& got);
  IoResult write_tls(std::string_view bytes);
  // Appends the first piece of what waits to `out`.
  IoResult encrypt_waiting(std::string& out);
  IoResult flush_plaintext();
  Status start_tls(Result<std::unique_ptr<TlsSession>> made);
  IoResult fail(Error error);
  IoResult fail(std::string_view what, int error_number);
  void update_interest();

  EventLoop& loop_;
  IoHandler& handler_;
  int fd_;
  EventLoop::Token token_;
  bool want_read_ = true;
  bool blocked_ = false;     // the socket took less than it was given: wait for writability
  bool peer_ended_ = false;  // nothing more comes: a closing alert would reach nobody
  bool failed_ = false;      // error_ is set and final
  OutQueue queue_;           // as it goes on the wire
  // Under TLS: not encrypted yet, because more may come for the same record, the socket is full, or
  // the handshake is not done.
  OutQueue plaintext_;
  std::unique_ptr<TlsSession> tls_;
  Error error_;
};

}  // namespace pgshunt
