#include "proxy/net/stream.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "proxy/net/tls.h"

namespace pgshunt {
namespace {

// write() behind a queue copies up to this much into it, to send one piece; above, the copy costs
// more than gathering two.
constexpr std::size_t kCopyLimit = 4096;

// Ciphertext on its way in or out, within one call. One for each thread, so that TLS connections
// hold none while idle. Two records long: twice that halves the system calls of bulk transfers but
// costs more in cache misses (5 % of the CPU, by tests/bench/net_bench.cc).
struct TlsScratch {
  static constexpr std::size_t kSize = 32 * 1024;
  std::unique_ptr<char[]> in = std::make_unique_for_overwrite<char[]>(kSize);
  std::string out;
};

TlsScratch& tls_scratch() {
  thread_local TlsScratch scratch;
  return scratch;
}

}  // namespace

Stream::Stream(EventLoop& loop, int fd, IoHandler& handler)
    : loop_(loop), handler_(handler), fd_(fd), token_(loop.add(fd, handler, kIoRead)) {}

Stream::~Stream() {
  queue_.release(loop_.buffers());
  plaintext_.release(loop_.buffers());
  if (fd_ < 0) return;
  if (tls_ && tls_->handshake_done() && !failed_ && !blocked_ && !peer_ended_) {
    // Without it the peer cannot tell our end from a cut connection.
    std::string& out = tls_scratch().out;
    out.clear();
    tls_->close_notify(out);
    [[maybe_unused]] const ssize_t sent = ::send(fd_, out.data(), out.size(), MSG_NOSIGNAL);
  }
  loop_.remove_and_close(token_);
}

IoResult Stream::read(char* space, std::size_t capacity, std::size_t& got) {
  assert(capacity > 0);
  got = 0;
  if (failed_) return IoResult::kFailed;
  return tls_ ? read_tls(space, capacity, got) : receive(space, capacity, got);
}

bool Stream::has_pending() const { return tls_ && !failed_ && tls_->has_pending(); }

IoResult Stream::write(std::string_view bytes) {
  if (failed_) return IoResult::kFailed;
  return tls_ ? write_tls(bytes) : send_or_queue(bytes);
}

void Stream::enqueue(std::string_view bytes) {
  if (!failed_) (tls_ ? plaintext_ : queue_).append(bytes, loop_.buffers());
}

IoResult Stream::flush() {
  if (failed_) return IoResult::kFailed;
  blocked_ = false;
  const IoResult result = send_or_queue({});
  return result == IoResult::kOk && tls_ ? flush_plaintext() : result;
}

std::size_t Stream::queued() const { return queue_.size() + plaintext_.size(); }

void Stream::want_read(bool on) {
  want_read_ = on;
  update_interest();
}

IoResult Stream::shutdown_write() {
  if (failed_) return IoResult::kFailed;
  assert(queued() == 0);
  if (tls_) {
    std::string& out = tls_scratch().out;
    out.clear();
    tls_->close_notify(out);
    if (const IoResult result = send_or_queue(out); result != IoResult::kOk) return result;
    peer_ended_ = true;  // said what there is to say: the destructor need not repeat it
  }
  if (::shutdown(fd_, SHUT_WR) < 0) return fail("could not end the connection", errno);
  return IoResult::kOk;
}

void Stream::update_interest() {
  std::uint32_t wanted = kIoNone;
  if (want_read_ || (tls_ && !tls_->handshake_done())) wanted |= kIoRead;
  if (blocked_) wanted |= kIoWrite;
  loop_.modify(token_, wanted);
}

// --- the socket ---

IoResult Stream::receive(char* space, std::size_t capacity, std::size_t& got) {
  ssize_t count;
  do {
    count = ::recv(fd_, space, capacity, 0);
  } while (count < 0 && errno == EINTR);
  if (count > 0) {
    got = static_cast<std::size_t>(count);
    return IoResult::kOk;
  }
  if (count == 0) {
    peer_ended_ = true;
    return IoResult::kClosed;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return IoResult::kWouldBlock;
  return fail("could not receive data", errno);
}

IoResult Stream::send(std::string_view head, std::string_view tail, std::size_t& sent) {
  ssize_t count;
  do {
    if (tail.empty()) {
      count = ::send(fd_, head.data(), head.size(), MSG_NOSIGNAL);
    } else {
      iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                        {const_cast<char*>(tail.data()), tail.size()}};
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = 2;
      count = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    }
  } while (count < 0 && errno == EINTR);
  if (count >= 0) {
    sent = static_cast<std::size_t>(count);
    return IoResult::kOk;
  }
  // A TCP socket that is still connecting says EAGAIN too.
  if (errno == EAGAIN || errno == EWOULDBLOCK) return IoResult::kOk;
  return fail("could not send data", errno);
}

IoResult Stream::send_or_queue(std::string_view bytes) {
  BufferPool& pool = loop_.buffers();
  if (blocked_) {
    queue_.append(bytes, pool);
    return IoResult::kOk;
  }
  if (!queue_.empty() && bytes.size() <= kCopyLimit) {
    queue_.append(bytes, pool);
    bytes = {};
  }
  const std::size_t waiting = queue_.size();
  if (waiting + bytes.size() > 0) {
    std::size_t sent = 0;
    const IoResult result = waiting > 0 ? send(queue_.front(), bytes, sent) : send(bytes, {}, sent);
    if (result != IoResult::kOk) return result;
    if (waiting > 0) queue_.consume(std::min(sent, waiting), pool);
    queue_.append(bytes.substr(sent - std::min(sent, waiting)), pool);
    blocked_ = !queue_.empty();
  }
  update_interest();
  return IoResult::kOk;
}

IoResult Stream::fail(std::string_view what, int error_number) {
  Error error{sqlstate::kConnectionFailure, std::string(what), {}};
  error.message.append(": ").append(std::strerror(error_number));
  return fail(std::move(error));
}

IoResult Stream::fail(Error error) {
  failed_ = true;
  error_ = std::move(error);
  // Nothing will leave any more, and a broken descriptor is reported again and again to whoever
  // waits for writability.
  queue_.release(loop_.buffers());
  plaintext_.release(loop_.buffers());
  blocked_ = false;
  update_interest();
  return IoResult::kFailed;
}

// --- TLS ---

IoResult Stream::read_tls(char* space, std::size_t capacity, std::size_t& got) {
  TlsScratch& scratch = tls_scratch();
  std::size_t received = 0;
  if (!tls_->has_pending()) {
    const std::size_t limit = std::min(TlsScratch::kSize, tls_->receive_limit(capacity));
    const IoResult result = receive(scratch.in.get(), limit, received);
    if (result != IoResult::kOk) return result;
  }
  scratch.out.clear();
  const bool handshaking = !tls_->handshake_done();
  const TlsSession::Status status =
      tls_->receive({scratch.in.get(), received}, space, capacity, got, scratch.out);
  const bool now_done = handshaking && tls_->handshake_done();
  // What waited for the handshake leaves together with the handshake's last flight.
  if (now_done && status == TlsSession::Status::kOpen) encrypt_waiting(scratch.out);
  if (!failed_ && !scratch.out.empty()) send_or_queue(scratch.out);  // or an alert
  if (status == TlsSession::Status::kFailed) return fail(tls_->error());
  if (now_done && !failed_) {
    update_interest();
    flush_plaintext();
  }
  if (got > 0) return IoResult::kOk;
  if (failed_) return IoResult::kFailed;
  if (status == TlsSession::Status::kOpen) return IoResult::kWouldBlock;
  peer_ended_ = true;
  return IoResult::kClosed;
}

IoResult Stream::write_tls(std::string_view bytes) {
  BufferPool& pool = loop_.buffers();
  if (blocked_ || !tls_->handshake_done()) {
    plaintext_.append(bytes, pool);
    return IoResult::kOk;
  }
  if (!plaintext_.empty() && bytes.size() <= kCopyLimit) {
    plaintext_.append(bytes, pool);
    bytes = {};
  }
  if (const IoResult result = flush_plaintext(); result != IoResult::kOk) return result;
  while (!bytes.empty() && !blocked_) {
    const std::string_view piece = bytes.substr(0, TlsScratch::kSize);
    std::string& out = tls_scratch().out;
    out.clear();
    if (tls_->encrypt(piece, out) == TlsSession::Status::kFailed) return fail(tls_->error());
    if (const IoResult result = send_or_queue(out); result != IoResult::kOk) return result;
    bytes.remove_prefix(piece.size());
  }
  plaintext_.append(bytes, pool);
  return IoResult::kOk;
}

IoResult Stream::encrypt_waiting(std::string& out) {
  const std::string_view piece = plaintext_.front().substr(0, TlsScratch::kSize);
  if (tls_->encrypt(piece, out) == TlsSession::Status::kFailed) return fail(tls_->error());
  plaintext_.consume(piece.size(), loop_.buffers());
  return IoResult::kOk;
}

// At most one piece is encrypted ahead of what the socket takes: what waits, waits as plaintext.
IoResult Stream::flush_plaintext() {
  if (!tls_->handshake_done()) return IoResult::kOk;
  while (!plaintext_.empty() && !blocked_) {
    std::string& out = tls_scratch().out;
    out.clear();
    if (const IoResult result = encrypt_waiting(out); result != IoResult::kOk) return result;
    if (const IoResult result = send_or_queue(out); result != IoResult::kOk) return result;
  }
  return IoResult::kOk;
}

Status Stream::start_tls(Result<std::unique_ptr<TlsSession>> made) {
  assert(!tls_);
  if (!made) return made.error();
  tls_ = std::move(*made);
  update_interest();
  return Ok{};
}

Status Stream::start_tls_server(std::shared_ptr<const TlsContext> context, std::string_view early) {
  if (!early.empty()) {
    return Error{sqlstate::kProtocolViolation, "received unencrypted data after SSL request",
                 "This could be either a client-software bug or evidence of an attempted "
                 "man-in-the-middle attack."};
  }
  return start_tls(TlsSession::server(std::move(context), TlsSession::Negotiation::kSslRequest));
}

Status Stream::start_direct_tls_server(std::shared_ptr<const TlsContext> context,
                                       std::string_view received) {
  Status started =
      start_tls(TlsSession::server(std::move(context), TlsSession::Negotiation::kDirect));
  if (started) tls_->keep(received);
  return started;
}

Status Stream::start_tls_client(std::shared_ptr<const TlsContext> context,
                                const std::string& host_name) {
  Status started = start_tls(TlsSession::client(std::move(context), host_name));
  if (!started) return started;
  std::string& out = tls_scratch().out;
  out.clear();
  if (tls_->handshake(out) == TlsSession::Status::kFailed) return tls_->error();
  if (send_or_queue(out) != IoResult::kOk) return error_;
  return Ok{};
}

bool Stream::tls() const { return tls_ != nullptr; }

bool Stream::handshake_done() const { return !tls_ || tls_->handshake_done(); }

std::string Stream::server_end_point_hash() const {
  return tls_ ? tls_->server_end_point_hash() : std::string();
}

std::string Stream::peer_common_name() const {
  return tls_ ? tls_->peer_common_name() : std::string();
}

std::string Stream::tls_description() const { return tls_ ? tls_->description() : std::string(); }

// --- moving to another loop ---

Stream::Detached::Detached(int descriptor, std::unique_ptr<TlsSession> session)
    : fd(descriptor), tls(std::move(session)) {}

Stream::Detached::Detached(Detached&& other) noexcept
    : fd(std::exchange(other.fd, -1)), tls(std::move(other.tls)) {}

Stream::Detached::~Detached() {
  if (fd >= 0) ::close(fd);
}

Stream::Detached Stream::detach() {
  assert(queued() == 0 && !failed_);
  loop_.remove(token_);
  return Detached(std::exchange(fd_, -1), std::move(tls_));
}

Stream::Stream(EventLoop& loop, Detached detached, IoHandler& handler)
    : Stream(loop, std::exchange(detached.fd, -1), handler) {
  tls_ = std::move(detached.tls);
}

}  // namespace pgshunt
