#include "proxy/session/session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "proxy/admin/console.h"
#include "proxy/database.h"
#include "proxy/log/log.h"
#include "proxy/pool/pool.h"
#include "proxy/proxy.h"
#include "proxy/session/conversations.h"
#include "proxy/session/greeting.h"
#include "proxy/session/session_hints.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// Unconsumed client bytes above which the client is no longer read while it has to wait for its own
// earlier requests. A single larger message is still gathered: they may be waiting for it.
constexpr std::size_t kEnoughInput = 256 * 1024;

constexpr Sqlstate kDeadlockDetected{"40P01"};

bool passed(TimePoint since, Seconds limit, TimePoint now) {
  return limit.count() > 0 && since != TimePoint{} && now - since > limit;
}

Error waited_too_long() {
  return {sqlstate::kTooManyConnections, "query_wait_timeout: no server connection became free",
          "Raise the pool's size, or look at SHOW POOLS for what holds its servers."};
}

}  // namespace

Session::Session(Worker& worker, int fd, ClientPeer peer, std::uint16_t port)
    : worker_(worker), stream_(worker.loop(), fd, *this) {
  state_.id = worker.proxy().next_session_id();
  facts_.client_address = peer.unix_socket ? "unix" : peer.address.to_string();
  facts_.client_port = port;
  facts_.connected_at = facts_.last_request = login_since_ = worker.loop().now();
  login_ = std::make_unique<ClientLogin>(worker.snapshot()->login_policy, peer);
}

Session::~Session() {
  for (const auto& budget : counted_in_) budget->put_back();
  if (facts_.cancel_pid != 0) worker_.proxy().cancels().remove(facts_.cancel_pid);
}

// --- socket --------------------------------------------------------------------------------------

void Session::on_io(std::uint32_t events) {
  if (events & kIoWrite) {
    flush();
    if (closed_) return;
  }
  if (events & kIoRead) read();
}

void Session::read() {
  ScratchBuffer& scratch = worker_.client_scratch();
  do {
    std::size_t got = 0;
    const std::size_t kept = in_.size();
    if (kept + kMinReadSpace > scratch.size()) {
      in_.resize(kept + kMinReadSpace);
      const IoResult result = stream_.read(in_.data() + kept, kMinReadSpace, got);
      in_.resize(kept + got);
      if (result == IoResult::kOk) {
        serve_kept();
        if (has_enough_input()) pause_reading();
        continue;
      }
      if (result == IoResult::kWouldBlock) break;
      return lost(result);
    }
    const IoResult result = stream_.read(scratch.data() + kept, scratch.size() - kept, got);
    if (result == IoResult::kWouldBlock) break;
    if (result != IoResult::kOk) return lost(result);
    std::memcpy(scratch.data(), in_.data(), kept);
    serve({scratch.data(), kept + got});
  } while (!closed_ && reading_ && stream_.has_pending());
  if (tls_pending_ && !closed_) serve_kept();
}

void Session::lost(IoResult result) {
  if (result == IoResult::kClosed) return close("client closed the connection");
  if (tls_pending_) log_failed_login(stream_.error());
  close(stream_.error().message);
}

void Session::serve(std::string_view bytes) {
  const std::size_t consumed = consume(bytes);
  if (closed_) return;
  in_.assign(bytes.substr(consumed));
  if (in_.empty() && in_.capacity() > kIdleCapacity) std::string().swap(in_);
}

// The same for bytes that were kept: they move out of the way first, for serving them may read.
void Session::serve_kept() {
  if (serving_) return;
  std::string bytes;
  bytes.swap(in_);
  const std::size_t consumed = consume(bytes);
  if (closed_) return;
  if (consumed == 0) {
    in_.swap(bytes);
  } else {
    in_.assign(bytes, consumed);
  }
}

std::size_t Session::consume(std::string_view bytes) {
  serving_ = true;
  std::size_t consumed = 0;
  if (login_) consumed = advance_login(bytes);
  if (conversation_ && !closed_) {
    consumed += conversation_->on_client_bytes(bytes.substr(consumed));
  }
  serving_ = false;
  return consumed;
}

void Session::resume() {
  if (resume_scheduled_ || closed_) return;
  resume_scheduled_ = true;
  worker_.defer([this] {
    resume_scheduled_ = false;
    if (closed_) return;
    serve_kept();
    if (!closed_ && !has_enough_input()) resume_reading();
  });
}

bool Session::has_enough_input() const {
  if (in_.size() <= kEnoughInput || !conversation_) return false;
  FrameHeader header;
  return conversation_->request_since() != TimePoint{} &&
         read_frame_header(in_, kMaxBodySize, header) == FrameStatus::kComplete &&
         in_.size() >= header.frame_size();
}

void Session::drop_next_message() {
  FrameHeader header;
  if (read_frame_header(in_, kMaxBodySize, header) != FrameStatus::kComplete) return;
  in_.erase(0, std::min(in_.size(), header.frame_size()));
}

bool Session::may_send(std::uint32_t body_size) {
  const std::uint32_t limit = worker_.snapshot()->config->max_message_size;
  if (body_size <= limit) return true;
  close_with({sqlstate::kProgramLimitExceeded,
              "a message of " + std::to_string(body_size) + " bytes exceeds max_message_size",
              {}});
  return false;
}

void Session::pause_reading() {
  if (!reading_) return;
  reading_ = false;
  stream_.want_read(false);
}

void Session::resume_reading() {
  if (reading_) return;
  reading_ = true;
  stream_.want_read(true);
  if (stream_.has_pending()) {
    worker_.defer([this] {
      if (!closed_ && reading_) read();
    });
  }
}

// --- replies -------------------------------------------------------------------------------------

void Session::enqueue(std::string_view bytes) {
  if (!closed_ && !bytes.empty()) stream_.enqueue(bytes);
}

void Session::send(std::string_view bytes) {
  if (!closed_ && !bytes.empty()) static_cast<void>(stream_.write(bytes));
}

void Session::flush() {
  if (closed_) return;
  if (stream_.flush() == IoResult::kFailed) {
    // Not from here: the caller is in the middle of a server's reply.
    worker_.defer([this] { close(stream_.error().message); });
    return;
  }
  const std::size_t limit = worker_.snapshot()->config->client_output_limit;
  const std::size_t queued = stream_.queued();
  if (!slow_ && queued > limit) {
    slow_ = true;
    if (conversation_) conversation_->on_client_slow(true);
  } else if (slow_ && queued <= limit / 2) {
    slow_ = false;
    if (conversation_) conversation_->on_client_slow(false);
  }
}

void Session::flush_later() {
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  worker_.defer([this] {
    flush_scheduled_ = false;
    flush();
  });
}

void Session::send_error(const Error& error, TransactionStatus transaction, bool ready) {
  std::string& out = worker_.client_out();
  append_error_response(out, Severity::kError, error);
  if (ready) append_ready_for_query(out, transaction);
  enqueue(out);
  out.clear();
  log(LogLevel::kDebug, "request_refused", error.message, error.code.view());
  flush();
}

void Session::close_with(const Error& error) {
  if (closed_) return;
  if (!conversation_) log_failed_login(error);
  std::string message;
  append_error_response(message, Severity::kFatal, error);
  enqueue(message);
  stream_.flush();
  close(error.message);
}

void Session::close(std::string_view why) {
  if (closed_) return;
  closed_ = true;
  if (conversation_ && worker_.snapshot()->config->log_disconnections) {
    log(LogLevel::kInfo, "client_closed", why);
  }
  for (const Pinned& each : std::exchange(pinned_, {})) {
    if (each.pins != kEffectNone) --each.pool->pinned;
    if (each.place) each.pool->gate().unpin();
  }
  // They may have called us. What reaches them until they go finds the session closed.
  if (conversation_) worker_.bury(std::move(conversation_));
  if (greeting_) worker_.bury(std::move(greeting_));
  stream_.want_read(false);
  worker_.session_ended(*this);
}

// --- log -----------------------------------------------------------------------------------------

void Session::log(LogLevel level, std::string_view event, std::string_view message,
                  std::string_view sqlstate, std::string_view shard) const {
  if (!log_enabled(level)) return;
  std::string client = facts_.client_address;
  if (client.find(':') != client.npos) client = "[" + client + "]";
  if (facts_.client_port != 0) client += ":" + std::to_string(facts_.client_port);
  log_event(level, event,
            {.client = client,
             .database = login_ ? login_->database() : state_.database,
             .user = login_ ? login_->user() : state_.user,
             .shard = shard,
             .sqlstate = sqlstate},
            message);
}

void Session::log_failed_login(const Error& error) const {
  if (!worker_.snapshot()->config->log_pooler_errors) return;
  log(LogLevel::kWarning, "login_failed", error.message, error.code.view());
}

// --- login ---------------------------------------------------------------------------------------

std::size_t Session::advance_login(std::string_view bytes) {
  std::size_t consumed = 0;
  if (tls_pending_) {
    if (!stream_.handshake_done()) return 0;
    tls_pending_ = false;
    login_->tls_established(stream_.server_end_point_hash(), stream_.peer_common_name());
  }
  while (login_ && !closed_) {
    const ClientLoginStep step = login_->advance(bytes.substr(consumed));
    consumed += step.consumed;
    enqueue(step.send);
    switch (step.kind) {
      case ClientLoginStepKind::kNeedMore:
        flush();
        return consumed;
      case ClientLoginStepKind::kStartTls: {
        flush();
        const bool direct = step.send.empty();
        // Bytes sent before the handshake could be an attacker's (CVE-2021-23214).
        if (!direct && consumed < bytes.size()) {
          close("bytes before the TLS handshake");
          return consumed;
        }
        const auto& context = worker_.snapshot()->client_tls;
        const Status started =
            direct ? stream_.start_direct_tls_server(context, bytes.substr(consumed))
                   : stream_.start_tls_server(context);
        if (direct) consumed = bytes.size();
        if (!started) {
          log_failed_login(started.error());
          close(started.error().message);
          return consumed;
        }
        tls_pending_ = true;
        return consumed;
      }
      case ClientLoginStepKind::kLookupSecret:
        flush();
        worker_.look_up_secret(*this, login_->user(), login_->database());
        login_waits_ = true;
        return consumed;
      case ClientLoginStepKind::kAccepted:
        accepted();
        return consumed;
      case ClientLoginStepKind::kCancel:
        worker_.proxy().cancel(login_->cancel_pid(), login_->cancel_key());
        close("cancel request");
        return consumed;
      case ClientLoginStepKind::kReject:
        flush();
        log_failed_login(login_->error());
        close(login_->error().message);
        return consumed;
      case ClientLoginStepKind::kClose:
        close("no PostgreSQL client");
        return consumed;
    }
  }
  return consumed;
}

void Session::secret_looked_up(const Result<std::string>& secret, bool found) {
  if (closed_ || !login_) return;
  if (!secret) {
    login_->secret_failed(secret.error());
  } else if (found) {
    login_->secret_found(*secret);
  } else {
    login_->secret_not_found();
  }
  login_waits_ = false;
  resume();
}

void Session::accepted() {
  client_ = std::make_unique<AuthenticatedClient>(login_->take_client());
  login_.reset();
  state_.user = client_->user;
  state_.database = client_->database;
  const Config& config = *worker_.snapshot()->config;

  if (state_.database == kAdminDatabase) {
    if (!may_use_admin_console(config, state_.user)) {
      close_with({sqlstate::kInsufficientPrivilege,
                  "user \"" + state_.user + "\" may not use the admin console",
                  "Name it in admin_users or stats_users."});
      return;
    }
    greet_for_console();
    return;
  }
  if (worker_.proxy().client_count() > config.max_client_conn) {
    close_with(
        {sqlstate::kTooManyConnections, "no more connections allowed (max_client_conn)", {}});
    return;
  }
  if (worker_.draining()) {
    close_with({sqlstate::kAdminShutdown, "the proxy is shutting down", {}});
    return;
  }
  database_ = worker_.snapshot()->find(state_.database);
  if (!database_) {
    close_with(unknown_database_error(state_.database));
    return;
  }
  if (worker_.proxy().disabled(state_.database)) {
    close_with(
        {sqlstate::kCannotConnectNow, "database \"" + state_.database + "\" is disabled", {}});
    return;
  }
  const auto known_user = config.users.find(state_.user);
  const char* reached = nullptr;
  if (!count_client("database " + state_.database, database_->config.max_db_client_connections)) {
    reached = "max_db_client_connections";
  } else if (known_user != config.users.end() &&
             !count_client("user " + state_.user, known_user->second.max_user_client_connections)) {
    reached = "max_user_client_connections";
  }
  if (reached) {
    close_with({sqlstate::kTooManyConnections,
                "no more connections allowed (" + std::string(reached) + ")",
                {}});
    return;
  }
  pool_mode_ = database_->config.pool_mode.value_or(config.pool_mode);
  if (known_user != config.users.end() && known_user->second.pool_mode) {
    pool_mode_ = *known_user->second.pool_mode;
  }
  std::vector<std::pair<std::string, std::string>> settings;
  for (auto& setting : client_->settings) {
    const auto& ignored = config.ignore_startup_parameters;
    if (std::find(ignored.begin(), ignored.end(), setting.first) == ignored.end()) {
      settings.push_back(std::move(setting));
    }
  }
  state_.settings.start(settings);
  if (database_->topology) {
    const Status good = check_startup_hints(state_.settings.startup(), *database_->topology);
    if (!good) return close_with(good.error());
  }
  Pool& pool = worker_.pool({state_.database, state_.user, 0}, *database_, client_->credentials);
  greeting_ = std::make_unique<Greeting>(*this, pool);
  greeting_->start();
}

bool Session::count_client(const std::string& key, std::uint32_t limit) {
  auto budget = worker_.proxy().client_budget(key, limit);
  if (!budget->try_take()) return false;
  counted_in_.push_back(std::move(budget));
  return true;
}

void Session::greeted() {
  std::string& out = worker_.client_out();
  CancelRegistry& cancels = worker_.proxy().cancels();
  std::string key;
  facts_.cancel_pid = cancels.add(worker_.index(), state_.id, client_->protocol_minor, key);
  append_backend_key_data(out, facts_.cancel_pid, key);
  append_ready_for_query(out, TransactionStatus::kIdle);
  enqueue(out);
  out.clear();
  parameters_changed();
  if (worker_.snapshot()->config->log_connections) {
    log(LogLevel::kInfo, "client_login",
        stream_.tls() ? stream_.tls_description() : std::string("plain"));
  }
  conversation_ = make_conversation(*this, client_->credentials);
  client_.reset();
  if (greeting_) worker_.bury(std::move(greeting_));
  flush();
  resume();
}

void Session::greet_for_console() {
  static const NameValuesPtr kParameters = NameValues::of({{"client_encoding", "UTF8"},
                                                           {"DateStyle", "ISO"},
                                                           {"integer_datetimes", "on"},
                                                           {"server_encoding", "UTF8"},
                                                           {"server_version", "15.0/pgshunt"},
                                                           {"standard_conforming_strings", "on"},
                                                           {"TimeZone", "UTC"}});
  std::string& out = worker_.client_out();
  for (const auto& [name, value] : kParameters->pairs()) append_parameter_status(out, name, value);
  enqueue(out);
  out.clear();
  state_.known = kParameters;
  greeted();
}

void Session::set_local_strings(std::optional<bool> conforming) {
  if (std::exchange(local_strings_, conforming) != conforming) parameters_changed();
}

void Session::parameters_changed() {
  const std::string* value = state_.known->find("standard_conforming_strings");
  standard_conforming_strings_ = local_strings_.value_or(!value || *value != "off");
}

// --- what conversations report -------------------------------------------------------------------

void Session::note_error(Pool& pool, const ErrorResponseView& error) {
  if (!log_enabled(LogLevel::kDebug)) return;
  log(LogLevel::kDebug, "query_error", error.message(), error.field(error_field::kSqlstate),
      pool.spec().shard);
}

bool Session::reserve_pin(Pool& pool) {
  if (closed_) return true;
  Pinned& here = pinned_in(pool);
  if (!here.place) here.place = pool.gate().try_pin(pool.spec().config->max_pinned_servers);
  return here.place;
}

void Session::give_up_pin_place(Pool& pool) {
  if (pinned_.empty()) return;
  Pinned& here = pinned_in(pool);
  if (std::exchange(here.place, false)) pool.gate().unpin();
  count_pins();
}

void Session::set_pins(Pool& pool, std::uint32_t pins) {
  if (closed_) {  // not counted any more, but its server must be reset for them
    state_.pins |= pins;
    return;
  }
  if (pins == kEffectNone) give_up_pin_place(pool);
  if (pins == kEffectNone && pinned_.empty()) return;
  Pinned& here = pinned_in(pool);
  if (pins == here.pins) return;
  if (here.pins == kEffectNone) {
    ++pool.pinned;
    if (!std::exchange(here.place, true)) pool.gate().pin();
    if (state_.pins == kEffectNone) state_.pinned_since = worker_.loop().now();
  } else if (pins == kEffectNone) {
    --pool.pinned;
  }
  here.pins = pins;
  count_pins();
  log(LogLevel::kDebug, pins == kEffectNone ? "unpinned" : "pinned", describe_pins(pins),
      pool.spec().shard);
}

Session::Pinned& Session::pinned_in(Pool& pool) {
  const auto at = std::find_if(pinned_.begin(), pinned_.end(),
                               [&](const Pinned& each) { return each.pool == &pool; });
  return at == pinned_.end() ? pinned_.emplace_back(Pinned{&pool}) : *at;
}

void Session::count_pins() {
  std::erase_if(pinned_,
                [](const Pinned& each) { return each.pins == kEffectNone && !each.place; });
  state_.pins = kEffectNone;
  for (const Pinned& each : pinned_) state_.pins |= each.pins;
}

void Session::count_query(Pool& pool, TimePoint sent_at, bool transaction_ended) {
  const TimePoint now = worker_.loop().now();
  PoolStatistics& statistics = pool.statistics();
  const auto micros = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now - sent_at).count());
  statistics.queries++;
  statistics.query_time_us += micros;
  if (transaction_ended) {
    statistics.transactions++;
    transaction_since_ = {};
  }
  facts_.last_request = now;
}

void Session::listen(const std::string& channel) {
  if (pool_mode_ == PoolMode::kSession) return;
  if (!state_.channels_next) state_.channels_next = state_.channels;
  state_.channels_next->insert(channel);
}

void Session::unlisten(const std::string& channel) {
  if (!state_.channels_next) state_.channels_next = state_.channels;
  state_.channels_next->erase(channel);
}

void Session::unlisten_all() { state_.channels_next.emplace(); }

void Session::settle_channels(bool committed) {
  if (!state_.channels_next) return;
  if (committed) state_.channels.swap(*state_.channels_next);
  state_.channels_next.reset();
}

void Session::notify(std::uint32_t pid, std::string_view channel, std::string_view payload) {
  if (!conversation_ || !state_.channels.contains(std::string(channel))) return;
  std::string message;
  append_notification(message, pid, channel, payload);
  conversation_->deliver(message);
}

void Session::channel_failed(const Error& error) {
  channel_error_ = std::make_unique<Error>(error);
  resume();
}

// --- from the worker -----------------------------------------------------------------------------

void Session::tick(TimePoint now) {
  const Config& config = *worker_.snapshot()->config;
  if (!conversation_) {
    // A client that has proven who it is waits for its first server as it would for any other.
    const TimePoint waiting = greeting_ ? greeting_->waiting_since() : TimePoint{};
    if (waiting != TimePoint{}) login_since_ = now;
    if (passed(waiting, config.query_wait_timeout, now)) {
      close_with(waited_too_long());
    } else if (passed(login_since_, config.client_login_timeout, now)) {
      close_with({sqlstate::kProtocolViolation, "client_login_timeout", {}});
    }
    return;
  }
  if (!database_) {  // the admin console: whoever watches may do so for ever
    if (draining_ && conversation_->idle()) {
      close_with({sqlstate::kAdminShutdown, "the proxy is shutting down", {}});
    }
    return;
  }
  const TimePoint waiting = conversation_->waiting_since();
  if (passed(waiting, config.query_wait_timeout, now)) {
    conversation_->give_up_waiting(waited_too_long());
    return;
  }
  const TimePoint since = conversation_->request_since();
  if (waiting == TimePoint{} && passed(since, config.query_timeout, now)) {
    close_with({sqlstate::kQueryCanceled, "query_timeout", {}});
    return;
  }
  if (passed(since, config.deadlock_timeout, now)) {
    const auto held = locks();
    if (held && (held->queued || (waiting == TimePoint{} && held->servers.size() > 1))) {
      worker_.proxy().deadlocks().suspect(state_.database);
    }
  }
  // Noticed at the first tick within it; its end does not wait for a tick.
  if (conversation_->idle() || waiting != TimePoint{}) {
    transaction_since_ = {};
  } else if (transaction_since_ == TimePoint{}) {
    transaction_since_ = now;
  } else if (passed(transaction_since_, config.transaction_timeout, now)) {
    close_with({sqlstate::kTransactionTimeout, "transaction_timeout", {}});
    return;
  }
  if (since != TimePoint{}) return;
  if (conversation_->idle_in_transaction()) {
    if (passed(facts_.last_request, config.idle_transaction_timeout, now)) {
      close_with({sqlstate::kIdleSessionTimeout, "idle_transaction_timeout", {}});
    }
  } else if (draining_) {
    close_with({sqlstate::kAdminShutdown, "the proxy is shutting down", {}});
  } else if (passed(facts_.last_request, config.client_idle_timeout, now)) {
    close_with({sqlstate::kIdleSessionTimeout, "client_idle_timeout", {}});
  } else if (state_.pins != kEffectNone && passed(facts_.last_request, config.pin_timeout, now)) {
    close_with({sqlstate::kIdleSessionTimeout,
                "pin_timeout: the session kept a server for " + describe_pins(state_.pins),
                {}});
  }
}

std::optional<SessionLocks> Session::locks() const {
  if (!conversation_ || !database_ || !database_->topology) return std::nullopt;
  SessionLocks out;
  conversation_->describe_locks(out);
  if (out.servers.empty()) return std::nullopt;
  out.worker = worker_.index();
  out.id = state_.id;
  out.name = facts_.cancel_pid;
  out.user = state_.user;
  return out;
}

void Session::break_deadlock(const SessionLocks& seen, const std::string& detail) {
  const auto now = locks();
  if (!now || !is_same_moment(*now, seen)) return;
  deadlock_ = detail;
  conversation_->on_cancel();
}

void Session::serve_beyond_limits(const SessionLocks& seen) {
  const auto now = locks();
  if (now && is_same_moment(*now, seen)) conversation_->wait_beyond_limits();
}

std::string Session::error_of_deadlock(std::string_view body) const {
  if (deadlock_.empty()) return {};
  const auto error = decode_error_response(body);
  if (!error || error->sqlstate() != sqlstate::kQueryCanceled) return {};
  std::string out;
  append_error_response(out, Severity::kError, kDeadlockDetected, "deadlock detected", deadlock_,
                        "Repeat the transaction.");
  return out;
}

void Session::drain() {
  draining_ = true;
  if (!conversation_ || conversation_->idle()) {
    close_with({sqlstate::kAdminShutdown, "the proxy is shutting down", {}});
  }
}

void Session::cancel() {
  if (conversation_) conversation_->on_cancel();
}

}  // namespace pgshunt
