// The link's life: leasing a server, bringing it to the session's state, giving it back.
#include "proxy/session/server_link.h"

#include "proxy/log/log.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

constexpr std::string_view kNoSuchPortal = "pgshunt: refused";

}  // namespace

ServerLink::ServerLink(Session& session, LinkOwner& owner, Pool& pool)
    : session_(session),
      state_(session.state()),
      owner_(owner),
      pool_(pool),
      out_(session.worker().server_out()) {}

ServerLink::~ServerLink() {
  abandon();
  session_.worker().forget_release(*this);
}

const NameValuesPtr& ServerLink::wanted_settings() const { return state_.settings.current(); }

bool ServerLink::acquire() {
  if (backend_) {
    // A cancel request that was meant for an earlier query must not meet this one.
    const bool late_cancel = backend_->cancels_under_way > 0 && backend_->tracker.empty();
    request_waits_ |= late_cancel;
    return !late_cancel && (stage_ == Stage::kReady || stage_ == Stage::kProbing);
  }
  if (waiting()) return false;
  Backend* backend = pool_.lease(*this);
  if (!backend) return false;
  take(*backend);
  return stage_ == Stage::kReady;
}

void ServerLink::on_cancels_settled(Backend&) {
  if (std::exchange(request_waits_, false)) session_.resume();
}

void ServerLink::on_lease(Backend& backend) {
  take(backend);
  if (stage_ == Stage::kReady) owner_.on_link_ready(*this);
}

void ServerLink::on_lease_failed(const Error& error) { owner_.on_link_refused(*this, error); }

void ServerLink::take(Backend& backend) {
  backend_ = &backend;
  backend.driver = this;
  backend.client = state_.id;
  if (backend.memory.sequences_of != state_.id) backend.memory.sequences_of = 0;
  failed_ = told_ = false;
  binary_results_ = false;
  row_description_.clear();
  passing_in_ = 0;
  pin_candidates_ = pins_here_ = kEffectNone;
  request_waits_ = false;
  fence_ = false;
  prepare_backend();
}

void ServerLink::prepare_backend() {
  const NameValuesPtr& wanted = state_.settings.current();
  if (backend_->memory.settings != wanted) {
    const std::string sql = settings_change(*backend_->memory.settings, *wanted);
    if (!sql.empty()) {
      // Waited for: a client's query must never run under another client's settings.
      stage_ = Stage::kPreparing;
      preparing_error_ = {};
      inject(sql);
      return;
    }
  }
  become_ready();
}

void ServerLink::become_ready() {
  backend_->memory.settings = state_.settings.current();
  stage_ = Stage::kReady;
  tell_parameters();
}

void ServerLink::tell_parameters() {
  // One pointer comparison as long as nothing changes.
  if (backend_->memory.reported == state_.known) return;
  for (const auto& [name, value] : backend_->memory.reported->pairs()) {
    const std::string* known = state_.known->find(name);
    if (known && *known == value) continue;
    std::string message;
    append_parameter_status(message, name, value);
    session_.enqueue(message);
  }
  state_.known = backend_->memory.reported;
  session_.parameters_changed();
}

std::span<const std::uint32_t> ServerLink::server_types(const std::vector<std::uint32_t>& types) {
  if (!types_) return types;
  server_types_.clear();
  for (const std::uint32_t type : types) server_types_.push_back(types_->to_shard(type));
  return server_types_;
}

void ServerLink::inject(std::string_view sql) {
  flush();
  if (backend_->tracker.empty()) backend_->request_at = session_.worker().loop().now();
  backend_->tracker.push(RequestKind::kQuery, ReplyUse::kSwallow);
  backend_->memory.unnamed_tag = 0;
  std::string message;
  append_query(message, sql);
  backend_->send_soon(message);
}

void ServerLink::flush() {
  if (!backend_) return;
  if (out_.empty()) {
    if (!verbatim_.empty()) backend_->send(verbatim_);
  } else {
    out_.append(verbatim_);
    backend_->send(out_);
    out_.clear();
  }
  verbatim_ = {};
}

void ServerLink::append_verbatim(std::string_view bytes) {
  if (!verbatim_.empty() && verbatim_.data() + verbatim_.size() == bytes.data()) {
    verbatim_ = {verbatim_.data(), verbatim_.size() + bytes.size()};
    return;
  }
  out_.append(verbatim_);
  verbatim_ = bytes;
}

std::string& ServerLink::rewritten() {
  out_.append(verbatim_);
  verbatim_ = {};
  return out_;
}

ServerLink::Take ServerLink::refuse(const Error& error, bool simple) {
  if (simple) return in_pipeline() ? Take::kInvalid : wait();
  if (!refusal_.message.empty()) return wait();  // the other one was before a Sync
  // A request that is sure to fail takes this one's place, so that the server itself skips to the
  // Sync and undoes what the pipeline did; the client reads our error instead of its.
  ResponseTracker& tracker = backend_->tracker;
  if (!tracker.push(RequestKind::kExecute, ReplyUse::kForward, kLocalRefusal)) return Take::kDone;
  append_execute(rewritten(), kNoSuchPortal);
  refusal_ = error;
  return Take::kDone;
}

void ServerLink::fail_transaction() {
  backend_->tracker.push(RequestKind::kExecute, ReplyUse::kSwallow);
  backend_->tracker.push(RequestKind::kSync, ReplyUse::kSwallow);
  append_execute(rewritten(), kNoSuchPortal);
  append_sync(rewritten());
  flush();
}

void ServerLink::sync_silently() {
  if (backend_->tracker.push(RequestKind::kSync, ReplyUse::kSwallow)) append_sync(rewritten());
}

void ServerLink::take_over_again() {
  if (backend_) backend_->driver = this;
}

void ServerLink::forget_server(std::string_view why) {
  if (!backend_) return;
  Backend& backend = *backend_;
  backend_ = nullptr;
  stage_ = Stage::kNone;
  forget_requests();
  lose_pins();
  pool_.discard(backend, why);
}

bool ServerLink::catch_up_settings() {
  const NameValuesPtr& wanted = state_.settings.current();
  if (backend_->memory.settings == wanted) return false;
  const std::string sql = settings_change(*backend_->memory.settings, *wanted);
  backend_->memory.settings = wanted;
  if (!sql.empty()) inject(sql);
  return !sql.empty();
}

void ServerLink::doubt_setting(std::string_view name) {
  // No statement is the empty one.
  if (backend_) backend_->memory.settings = with(backend_->memory.settings, name, {});
}

void ServerLink::stop_waiting() {
  if (waiting()) pool_.stop_waiting(*this);
}

void ServerLink::pause_replies() {
  if (backend_) backend_->pause_reading();
}

void ServerLink::resume_replies() {
  if (backend_) backend_->resume_reading();
}

void ServerLink::pass(std::string_view bytes) {
  append_verbatim(bytes);
  passing_in_ -= bytes.size();
  if (passing_in_ == 0) session_.worker().defer_release(*this);
}

void ServerLink::release_if_free() {
  if (!backend_ || stage_ != Stage::kReady || !backend_->clean() || passing_in_ > 0) return;
  if (!out_.empty() || !verbatim_.empty()) return;
  if (session_.pool_mode() == PoolMode::kSession) return;
  if (pin_candidates_ != kEffectNone) probe();  // it had to wait for the end of a frame
  if (stage_ != Stage::kReady || pins_here_ != kEffectNone) return;
  give_up_backend();
}

void ServerLink::give_up_backend() {
  Backend& backend = *backend_;
  backend_ = nullptr;
  stage_ = Stage::kNone;
  forget_requests();
  session_.give_up_pin_place(pool_);
  if (backend.memory.listening) {
    backend.memory.listening = false;
    // The hub listens for the session; this server must not, on the next client's behalf.
    pool_.clean_up(backend, "UNLISTEN *");
    return;
  }
  pool_.give_back(backend);
}

void ServerLink::end_own_transaction() {
  if (!backend_) return;
  Backend& backend = *backend_;
  backend_ = nullptr;
  stage_ = Stage::kNone;
  forget_requests();
  if (backend.tracker.clean() && backend.stream().queued() == 0) {
    pool_.clean_up(backend, "ROLLBACK;CLOSE ALL");
  } else {
    pool_.discard(backend, "its transaction was given up in the middle of a request");
  }
}

void ServerLink::abandon() {
  if (waiting()) pool_.stop_waiting(*this);
  if (!backend_) return;
  const bool traces = may_leave_traces();
  lose_pins();
  Backend& backend = *backend_;
  out_.clear();
  verbatim_ = {};
  backend_ = nullptr;
  stage_ = Stage::kNone;
  forget_requests();
  const bool answered = backend.tracker.clean() && backend.passing == 0 &&
                        backend.stream().queued() == 0 && passing_in_ == 0;
  if (!answered) {
    // Whatever it is doing, nobody wants it any more; its rows must reach nobody.
    if (!backend.tracker.empty()) session_.worker().cancel_on_server(backend);
    pool_.discard(backend, "client disconnected in the middle of a request");
    return;
  }
  std::string reset;
  if (backend.transaction != TransactionStatus::kIdle) reset = "ROLLBACK";
  const Config& config = *pool_.spec().config;
  const bool session_mode = session_.pool_mode() == PoolMode::kSession;
  if (session_mode || traces || config.server_reset_query_always) {
    // DISCARD cannot share a message with anything else: it refuses to run in a transaction block,
    // which several statements in one message are.
    if (!reset.empty() || config.server_reset_query.empty()) {
      pool_.discard(backend, "client disconnected inside a transaction");
      return;
    }
    pool_.recycle(backend, config.server_reset_query);
  } else if (!reset.empty()) {
    // Which of the settings made inside the transaction go with it depends on when this server
    // joined it: not worth knowing.
    if (state_.settings.current() != state_.settings.committed()) {
      pool_.discard(backend, "client disconnected after SET in a transaction");
      return;
    }
    pool_.clean_up(backend, reset);
  } else {
    pool_.give_back(backend);
  }
}

// They go with the server.
void ServerLink::lose_pins() {
  pins_here_ = kEffectNone;
  session_.set_pins(pool_, kEffectNone);
}

void ServerLink::cancel_request() {
  if (backend_ && !backend_->tracker.empty()) session_.worker().cancel_on_server(*backend_);
}

void ServerLink::on_backend_lost(Backend& backend, const Error& error) {
  const bool in_transaction = backend.transaction != TransactionStatus::kIdle ||
                              backend.passing != 0 || pins_here_ != kEffectNone ||
                              session_.pool_mode() == PoolMode::kSession;
  lose_pins();
  owed_ = backend.tracker.owed();
  const bool preparing = stage_ == Stage::kPreparing;
  backend_ = nullptr;
  stage_ = Stage::kNone;
  forget_requests();
  out_.clear();
  verbatim_ = {};
  pool_.discard(backend, error.message);
  // While preparing, the client's request has not been taken yet.
  if (preparing) return owner_.on_link_refused(*this, error);
  owner_.on_link_broken(*this, error, in_transaction);
}

void ServerLink::on_backend_drained(Backend&) { owner_.on_link_drained(*this); }

}  // namespace pgshunt
