#include "proxy/pool/server_opening.h"

#include "protocol/frontend.h"
#include "proxy/pool/pool.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// A server that is starting, stopping or full may let us in a moment later.
bool is_permanent(const Error& error) {
  const std::string_view code = error.code.view();
  return code != sqlstate::kTooManyConnections.view() && !code.starts_with("57P") &&
         !code.starts_with("08") && !code.starts_with("53");
}

}  // namespace

ServerOpening::ServerOpening(Worker& worker, Pool& pool, Backend& backend)
    : worker_(worker), pool_(pool), backend_(backend), timeout_(worker.loop(), [this] {
        fail({sqlstate::kCannotConnect, "server_connect_timeout", {}}, false);
      }) {}

ServerOpening::~ServerOpening() = default;

void ServerOpening::start() {
  const PoolSpec& spec = pool_.spec();
  const Seconds limit = spec.config->server_connect_timeout;
  deadline_ = worker_.loop().now() + std::chrono::duration_cast<Clock::duration>(
                                         limit.count() > 0 ? limit : Seconds{3600});
  timeout_.arm(deadline_);
  backend_.identity.address = spec.host.host + ":" + std::to_string(spec.host.port);
  backend_.driver = this;
  connect(spec.tls_mode);
}

void ServerOpening::connect(SslMode mode) {
  const PoolSpec& spec = pool_.spec();
  mode_ = mode;
  ConnectTarget target;
  target.host = spec.host.host;
  target.port = spec.host.port;
  target.ssl_mode = mode;
  target.tls = spec.tls;
  target.keepalive = keepalive_options(*spec.config);
  connector_ = std::make_unique<Connector>(
      worker_.loop(), worker_.resolver(), std::move(target), deadline_,
      [this](Result<Stream::Detached> result) { connected(std::move(result)); });
}

void ServerOpening::connected(Result<Stream::Detached> result) {
  worker_.bury(std::move(connector_));
  if (!result) return fail(result.error(), false);
  const PoolSpec& spec = pool_.spec();
  backend_.attach(std::move(*result));
  backend_.state = Backend::State::kLogin;
  backend_.driver = this;

  ServerLoginConfig login;
  login.credentials = *pool_.credentials();
  login.database = spec.server_database;
  login.parameters = spec.startup_parameters;
  login.tls = SslMode::kDisable;  // the connector has done that part
  login.cleartext_without_tls = is_unix_host(spec.host.host);
  login_ = std::make_unique<ServerLogin>(std::move(login));
  if (backend_.stream().tls()) login_->tls_established(backend_.stream().server_end_point_hash());
  advance({});
}

std::size_t ServerOpening::on_backend_bytes(Backend&, std::string_view bytes) {
  return running_query_ ? read_connect_query(bytes) : advance(bytes);
}

std::size_t ServerOpening::advance(std::string_view bytes) {
  std::size_t consumed = 0;
  while (!ended_ && login_) {
    const ServerLoginStep step = login_->advance(bytes.substr(consumed));
    consumed += step.consumed;
    if (!step.send.empty()) backend_.send(step.send);
    switch (step.kind) {
      case ServerLoginStepKind::kNeedMore:
        return consumed;
      case ServerLoginStepKind::kStartTls:
        fail({sqlstate::kInternalError, "TLS asked for twice", {}}, true);
        return consumed;
      case ServerLoginStepKind::kFailed: {
        const Error error = login_->error();
        const auto again =
            ssl_mode_of_second_attempt(pool_.spec().tls_mode, backend_.stream().tls());
        if (!second_attempt_ && again && *again != mode_ &&
            error.code == sqlstate::kInvalidAuthorization) {
          second_attempt_ = true;
          backend_.reset_connection();
          connect(*again);
          return consumed;
        }
        fail(error, is_permanent(error));
        return consumed;
      }
      case ServerLoginStepKind::kReady:
        logged_in();
        return consumed;
    }
  }
  return consumed;
}

void ServerOpening::logged_in() {
  ServerGreeting greeting = login_->take_greeting();
  backend_.identity.server_pid = greeting.backend_pid;
  backend_.identity.cancel_key = std::move(greeting.cancel_key);
  backend_.identity.connected_at = worker_.loop().now();
  backend_.identity.tls = backend_.stream().tls_description();
  backend_.memory.reported = NameValues::of(std::move(greeting.parameters));
  const std::string& query = pool_.spec().connect_query;
  if (query.empty()) {
    ended_ = true;
    pool_.opened(backend_);
    return;
  }
  running_query_ = true;
  std::string message;
  append_query(message, query);
  backend_.tracker.push(RequestKind::kQuery, ReplyUse::kSwallow);
  backend_.send(message);
}

std::size_t ServerOpening::read_connect_query(std::string_view bytes) {
  std::size_t at = 0;
  while (!ended_) {
    FrameHeader header;
    const std::string_view rest = bytes.substr(at);
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kNeedMore || rest.size() < header.frame_size()) return at;
    const std::string_view body = rest.substr(kFrameHeaderSize, header.body_size);
    at += header.frame_size();
    if (header.type == backend::kParameterStatus) note_parameter_status(backend_, body);
    if (header.type == backend::kErrorResponse) {
      Error error{sqlstate::kCannotConnect, "connect_query failed", {}};
      if (auto told = decode_error_response(body)) error = told->to_error();
      fail(error, true);
      return at;
    }
    if (backend_.tracker.on_message(header.type).outcome == ReplyOutcome::kViolation) {
      fail({sqlstate::kProtocolViolation, "server broke the protocol", {}}, false);
      return at;
    }
    if (header.type == backend::kReadyForQuery) {
      ended_ = true;
      pool_.opened(backend_);
    }
  }
  return at;
}

void ServerOpening::on_backend_lost(Backend&, const Error& error) { fail(error, false); }

void ServerOpening::fail(const Error& error, bool permanent) {
  if (ended_) return;
  ended_ = true;
  timeout_.cancel();
  connector_.reset();
  pool_.opening_failed(backend_, error, permanent);
}

}  // namespace pgshunt
