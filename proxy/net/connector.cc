#include "proxy/net/connector.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "protocol/frame.h"
#include "proxy/config/names.h"
#include "proxy/net/tls.h"

namespace pgshunt {
namespace {

// PostgreSQL manual, "Message Formats": SSLRequest.
constexpr std::uint32_t kSslRequestCode = 80877103;

// Between attempts at a Unix socket whose queue is full; the kernel does not tell when it has room.
constexpr auto kBusyRetry = std::chrono::milliseconds(10);

Error reason(std::string text) { return {sqlstate::kCannotConnect, std::move(text), {}}; }

}  // namespace

std::optional<SslMode> ssl_mode_of_second_attempt(SslMode configured, bool first_had_tls) {
  if (configured == SslMode::kAllow && !first_had_tls) return SslMode::kRequire;
  if (configured == SslMode::kPrefer && first_had_tls) return SslMode::kDisable;
  return std::nullopt;
}

Connector::Connector(EventLoop& loop, Resolver& resolver, ConnectTarget target, TimePoint deadline,
                     Done done)
    : loop_(loop),
      target_(std::move(target)),
      deadline_(deadline),
      done_(std::move(done)),
      timer_(loop, [this] { on_timer(); }) {
  timer_.arm(deadline_);
  question_ = resolver.resolve(loop_, target_.host, target_.port,
                               [this](const Result<SocketAddresses>& found) { resolved(found); });
}

Connector::~Connector() { drop_connection(); }

void Connector::resolved(const Result<SocketAddresses>& found) {
  if (!found) return finish(describe(found.error()));
  addresses_ = *found;
  begin_attempt();
}

void Connector::begin_attempt() {
  const TimePoint now = loop_.now();
  const auto left = static_cast<Clock::rep>(addresses_.size() - current_);
  attempt_deadline_ = now + std::max(deadline_ - now, Clock::duration::zero()) / left;
  try_address();
}

void Connector::try_address() {
  Result<Connecting> begun = connect_start(addresses_[current_], target_.keepalive);
  if (!begun) return address_failed(begun.error());
  stage_ = Stage::kConnecting;
  if (begun->busy) {
    timer_.arm(std::min(loop_.now() + kBusyRetry, attempt_deadline_));
    return;
  }
  timer_.arm(attempt_deadline_);
  fd_ = std::move(begun->fd);
  if (begun->done) return connected();
  token_ = loop_.add(fd_.get(), *this, kIoWrite);
}

void Connector::on_timer() {
  const bool busy = stage_ == Stage::kConnecting && !fd_;
  if (busy && loop_.now() < attempt_deadline_) return try_address();
  if (stage_ == Stage::kResolving) {
    return finish(describe(reason("the name server did not answer in time")));
  }
  address_failed(reason("timed out"));
}

void Connector::on_io(std::uint32_t events) {
  if (stage_ == Stage::kConnecting) {
    loop_.remove(*std::exchange(token_, std::nullopt));
    const Status result = connect_result(fd_.get());
    return result ? connected() : address_failed(result.error());
  }
  if (events & kIoWrite && stream_->flush() == IoResult::kFailed) {
    return connection_failed(stream_->error());
  }
  if (events & kIoRead) {
    return stage_ == Stage::kSslAnswer ? on_ssl_answer() : on_handshake();
  }
  if (stage_ == Stage::kHandshake) finish_handshake();
}

void Connector::connected() {
  const bool with_tls =
      target_.ssl_mode >= SslMode::kPrefer && !without_tls_ && !addresses_[current_].is_unix();
  if (!with_tls) return finish(Stream::Detached(fd_.release(), nullptr));
  stage_ = Stage::kSslAnswer;
  IoHandler& handler = *this;
  stream_ = std::make_unique<Stream>(loop_, fd_.release(), handler);
  char request[8];
  store_be32(request, sizeof request);
  store_be32(request + 4, kSslRequestCode);
  if (stream_->write({request, sizeof request}) == IoResult::kFailed) {
    connection_failed(stream_->error());
  }
}

void Connector::on_ssl_answer() {
  // Just the one byte: whatever came behind an 'S' in plain text then meets the handshake, which
  // fails, and is not taken for the server's words afterwards (CVE-2021-23222).
  char answer = 0;
  std::size_t got = 0;
  switch (stream_->read(&answer, 1, got)) {
    case IoResult::kWouldBlock:
      return;
    case IoResult::kClosed:
      return connection_failed(reason("the server closed the connection"));
    case IoResult::kFailed:
      return connection_failed(stream_->error());
    case IoResult::kOk:
      break;
  }
  const bool optional = target_.ssl_mode == SslMode::kPrefer;
  switch (answer) {
    case 'S': {
      stage_ = Stage::kHandshake;
      const Status started = stream_->start_tls_client(target_.tls, target_.host);
      return started ? void() : connection_failed(started.error());
    }
    case 'N':
      if (optional) return finish(stream_->detach());
      return address_failed(reason("the server does not support TLS, which sslmode " +
                                   std::string(name_of(target_.ssl_mode)) + " demands"));
    case 'E':  // too old, or out of memory: libpq tries again without TLS, too
      return connection_failed(reason("the server answered the request for TLS with an error"));
    default:
      return address_failed(reason("the answer to the request for TLS is not PostgreSQL's"));
  }
}

void Connector::on_handshake() {
  char early = 0;
  std::size_t got = 0;
  switch (stream_->read(&early, 1, got)) {
    case IoResult::kWouldBlock:
      return finish_handshake();
    case IoResult::kOk:
      return address_failed(reason("the server spoke before it was spoken to"));
    case IoResult::kClosed:
      return connection_failed(reason("the server closed the connection"));
    case IoResult::kFailed:
      return connection_failed(stream_->error());
  }
}

void Connector::finish_handshake() {
  if (stream_->handshake_done() && stream_->queued() == 0) finish(stream_->detach());
}

void Connector::connection_failed(Error error) {
  if (target_.ssl_mode != SslMode::kPrefer) return address_failed(std::move(error));
  drop_connection();
  without_tls_ = true;
  try_address();
}

void Connector::address_failed(Error error) {
  drop_connection();
  if (current_ + 1 == addresses_.size() || loop_.now() >= deadline_) {
    return finish(describe(std::move(error)));
  }
  ++current_;
  without_tls_ = false;
  begin_attempt();
}

void Connector::drop_connection() {
  stream_.reset();
  if (token_) loop_.remove(*std::exchange(token_, std::nullopt));
  fd_.reset();
}

void Connector::finish(Result<Stream::Detached> result) {
  timer_.cancel();
  const Done done = std::move(done_);
  done(std::move(result));  // may have destroyed this connector
}

Error Connector::describe(Error error) const {
  std::string where = target_.host + ":" + std::to_string(target_.port);
  if (!addresses_.empty()) {
    const SocketAddress& address = addresses_[current_];
    const bool named = !address.is_unix() && address.host() != target_.host;
    where = named ? where + " (" + address.host() + ")" : address.text();
  }
  error.message = "could not connect to " + where + ": " + error.message;
  error.code = sqlstate::kCannotConnect;
  return error;
}

}  // namespace pgshunt
