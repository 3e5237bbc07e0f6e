#include "proxy/pool/pool.h"

#include <algorithm>

#include "protocol/backend.h"
#include "protocol/frontend.h"
#include "proxy/log/log.h"
#include "proxy/pool/server_opening.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

constexpr Clock::duration kFirstBackoff = std::chrono::milliseconds(50);
// How far down the stack of idle servers one with fitting settings is looked for.
constexpr std::size_t kSettingsSearchDepth = 16;

Clock::duration to_duration(Seconds seconds) {
  return std::chrono::duration_cast<Clock::duration>(seconds);
}

}  // namespace

Pool::Pool(Worker& worker, std::shared_ptr<const PoolSpec> spec, std::shared_ptr<PoolGate> gate,
           std::shared_ptr<const ServerCredentials> credentials)
    : worker_(worker),
      spec_(std::move(spec)),
      gate_(std::move(gate)),
      credentials_(std::move(credentials)) {
  if (spec_->watches_routines) routines_ = RoutineWatch::of(*spec_);
}

Pool::~Pool() = default;

void Pool::set_spec(std::shared_ptr<const PoolSpec> spec) {
  const PoolSpec& was = *spec_;
  const bool moved = was.host.host != spec->host.host || was.host.port != spec->host.port ||
                     was.server_database != spec->server_database || was.tls != spec->tls ||
                     was.startup_parameters != spec->startup_parameters ||
                     was.connect_query != spec->connect_query;
  spec_ = std::move(spec);
  routines_ = spec_->watches_routines ? RoutineWatch::of(*spec_) : nullptr;
  routines_version_ = 0;
  routine_effects_.reset();
  if (moved) retire_all();
}

void Pool::set_credentials(std::shared_ptr<const ServerCredentials> credentials) {
  credentials_ = std::move(credentials);
  wants_credentials_ = false;
  next_opening_ = {};
}

// --- lending -----------------------------------------------------------------------------------

Backend* Pool::lease(LeaseWaiter& waiter) {
  if (gate_->waiting() == 0 && !gate_->paused.load(std::memory_order_relaxed)) {
    if (Backend* backend = take_idle(waiter.wanted_settings())) {
      statistics_.server_assignments++;
      return backend;
    }
  }
  waiter.since_ = worker_.loop().now();
  queue(waiter, waiter.urgency());
  if (gate_->paused.load(std::memory_order_relaxed)) return nullptr;

  std::uint16_t other = 0;
  if (!idle_.empty()) {
    worker_.defer([this] { hand_over_idle(); });
  } else if (gate_->find_idle(worker_.index(), other)) {
    worker_.post_to(other, [key = worker_.key_of(*this)](Worker& there) {
      if (Pool* pool = there.find_pool(key)) pool->hand_over_idle();
    });
  }
  open_for_waiters();
  return nullptr;
}

void Pool::queue(LeaseWaiter& waiter, Urgency urgency) {
  waiter.pool_ = this;
  waiter.urgency_ = urgency;
  LeaseWaiter* before = last_waiter_;
  while (before && before->urgency_ < urgency) before = before->previous_;
  waiter.previous_ = before;
  waiter.next_ = before ? before->next_ : first_waiter_;
  (waiter.next_ ? waiter.next_->previous_ : last_waiter_) = &waiter;
  (before ? before->next_ : first_waiter_) = &waiter;
  ++waiter_count_;
  gate_->enqueue({worker_.index(), urgency});
}

void Pool::serve_beyond_limits(LeaseWaiter& waiter) {
  if (waiter.pool_ != this) return;
  stop_waiting(waiter);
  queue(waiter, std::max(waiter.urgency_, gate_->enough_to_open()));
  open_for_waiters();
}

void Pool::stop_waiting(LeaseWaiter& waiter) {
  if (waiter.pool_ != this) return;
  (waiter.previous_ ? waiter.previous_->next_ : first_waiter_) = waiter.next_;
  (waiter.next_ ? waiter.next_->previous_ : last_waiter_) = waiter.previous_;
  waiter.pool_ = nullptr;
  waiter.previous_ = waiter.next_ = nullptr;
  --waiter_count_;
  gate_->withdraw({worker_.index(), waiter.urgency_});
}

Backend* Pool::take_idle(const NameValuesPtr& wanted) {
  const TimePoint now = worker_.loop().now();
  while (!idle_.empty()) {
    std::size_t at = idle_.size() - 1;
    if (spec_->config->server_round_robin) {
      at = 0;
    } else {
      const std::size_t depth = std::min(idle_.size(), kSettingsSearchDepth);
      for (std::size_t i = 0; i < depth; ++i) {
        const std::size_t candidate = idle_.size() - 1 - i;
        if (idle_[candidate]->memory.settings == wanted) {
          at = candidate;
          break;
        }
      }
    }
    Backend* backend = idle_[at];
    idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(at));
    gate_->set_idle(worker_.index(), static_cast<std::uint32_t>(idle_.size()));
    if (backend->close_when_idle) {
      discard(*backend, "retired");
      continue;
    }
    const Seconds check_delay = spec_->config->server_check_delay;
    if (!spec_->config->server_check_query.empty() && now - backend->since > check_delay) {
      // Long unused: a firewall may have forgotten it. Its answer puts it back in the pool.
      run_query(*backend, spec_->config->server_check_query, Backend::State::kTested);
      continue;
    }
    if (routines_ && routines_->due(now) && read_routines(*backend)) continue;
    backend->state = Backend::State::kActive;
    backend->since = now;
    return backend;
  }
  return nullptr;
}

void Pool::close_surplus() {
  while (!idle_.empty() && gate_->surplus()) discard(*idle_.front(), "beyond pool_size");
}

// Its answer puts the server back in the pool.
bool Pool::read_routines(Backend& backend) {
  backend.reading = RoutineReading::begin(routines_, worker_.loop().now());
  if (!backend.reading) return false;
  run_query(backend, backend.reading->query(), Backend::State::kTested);
  return true;
}

void Pool::update_routine_effects() {
  routines_version_ = routines_->version();
  routine_effects_ = routines_->effects();
}

void Pool::routines_changed() {
  if (routines_) routines_->changed();
}

void Pool::give_back(Backend& backend) {
  assert(backend.clean());
  backend.driver = this;
  backend.resume_reading();
  if (backend.close_when_idle || expired(backend)) {
    discard(backend, backend.close_when_idle ? "retired" : "server_lifetime");
    return;
  }
  make_available(backend);
}

void Pool::make_available(Backend& backend) {
  backend.state = Backend::State::kIdle;
  backend.since = worker_.loop().now();
  backend.shrink();
  if (backend.cancels_under_way > 0) {
    backend.state = Backend::State::kTested;  // cancel_finished() brings it back
    return;
  }
  if (gate_->surplus()) return discard(backend, "beyond pool_size");
  if (gate_->waiting() == 0 || gate_->paused.load(std::memory_order_relaxed)) {
    if (gives_way()) return discard(backend, "its place is needed by another pool");
    push_idle(backend);
    return;
  }
  // Somebody waits. Not served from here: the caller may be in the middle of its own work.
  push_idle(backend);
  worker_.defer([this] { hand_over_idle(); });
}

// May one server be closed for another pool, and does one want its place?
bool Pool::gives_way() {
  const bool pressed = gate_->database_budget().pressed() || gate_->user_budget().pressed();
  if (!pressed || gate_->waiting() > 0) return false;
  gate_->database_budget().relieve();
  gate_->user_budget().relieve();
  return true;
}

void Pool::hand_over_idle() {
  while (!idle_.empty() && !gate_->paused.load(std::memory_order_relaxed)) {
    PoolGate::Turn turn;
    if (!gate_->dequeue(turn)) return close_surplus();
    const bool local = turn.worker == worker_.index();
    Backend* backend =
        take_idle(local && first_waiter_ ? first_waiter_->wanted_settings() : NameValues::empty());
    if (!backend) {  // all of them had to be tested or closed first
      gate_->enqueue(turn);
      return;
    }
    if (local) {
      lend_to_first_waiter(*backend);
    } else {
      send_to_worker(*backend, turn.worker);
    }
  }
}

void Pool::lend_to_first_waiter(Backend& backend) {
  LeaseWaiter* waiter = first_waiter_;
  if (!waiter) {  // it gave up meanwhile
    make_available(backend);
    return;
  }
  first_waiter_ = waiter->next_;
  (first_waiter_ ? first_waiter_->previous_ : last_waiter_) = nullptr;
  waiter->pool_ = nullptr;
  waiter->previous_ = waiter->next_ = nullptr;
  --waiter_count_;
  const TimePoint now = worker_.loop().now();
  statistics_.server_assignments++;
  statistics_.wait_time_us += static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now - waiter->since_).count());
  backend.state = Backend::State::kActive;
  backend.since = now;
  waiter->on_lease(backend);
}

void Pool::send_to_worker(Backend& backend, std::uint16_t worker) {
  std::shared_ptr<Backend::Moved> moved = std::make_shared<Backend::Moved>(
      Backend::Moved{backend.detach(), std::move(backend.identity), std::move(backend.memory)});
  // It may have been found lost in this very turn, which is still to be reported: its connection is
  // the other worker's affair now, and found lost there again.
  backend.state = Backend::State::kClosed;
  backend.driver = nullptr;
  worker_.bury(release_ownership(backend));
  worker_.post_to(worker, [key = worker_.key_of(*this), gate = gate_, moved](Worker& there) {
    if (Pool* pool = there.find_pool(key)) {
      pool->adopt(std::move(*moved));
    } else {
      gate->closed();  // it was never ours: the pool that asked is gone
    }
  });
}

void Pool::adopt(Backend::Moved moved) {
  auto backend = std::make_unique<Backend>(worker_, *this);
  backend->identity = std::move(moved.identity);
  backend->memory = std::move(moved.memory);
  backend->driver = this;
  backend->state = Backend::State::kActive;
  backend->attach(std::move(moved.stream));
  Backend& here = *backend;
  backends_.push_back(std::move(backend));
  lend_to_first_waiter(here);
}

void Pool::cancel_finished(std::uint64_t backend_id, bool settled) {
  for (const auto& backend : backends_) {
    if (backend->identity.id != backend_id) continue;
    --backend->cancels_under_way;
    const bool was_held = backend->state == Backend::State::kTested && backend->tracker.clean();
    // A request that may still arrive must not meet another client's query.
    if (!settled) backend->close_when_idle = true;
    if (backend->cancels_under_way == 0 && backend->driver) {
      backend->driver->on_cancels_settled(*backend);
    }
    if (backend->cancels_under_way > 0 || !was_held) return;
    if (backend->close_when_idle) return discard(*backend, "retired");
    return make_available(*backend);
  }
}

// --- taking back -------------------------------------------------------------------------------

void Pool::run_query(Backend& backend, std::string_view sql, Backend::State state) {
  backend.driver = this;
  backend.state = state;
  backend.since = worker_.loop().now();
  std::string message;
  append_query(message, sql);
  backend.tracker.push(RequestKind::kQuery, ReplyUse::kSwallow);
  backend.resume_reading();
  backend.send(message);
}

void Pool::recycle(Backend& backend, std::string_view sql) {
  run_query(backend, sql, Backend::State::kReset);
}

void Pool::clean_up(Backend& backend, std::string_view sql) {
  run_query(backend, sql, Backend::State::kTested);
}

void Pool::discard(Backend& backend, std::string_view why) {
  if (backend.state == Backend::State::kClosed) return;
  log_event(LogLevel::kDebug, "server_closed",
            {.database = spec_->database, .user = spec_->user, .shard = spec_->shard},
            backend.identity.address + ": " + std::string(why));
  remove_idle(backend);
  if (backend.connected() && backend.tracker.clean()) {
    std::string goodbye;
    append_terminate(goodbye);
    backend.stream().write(goodbye);
  }
  backend.state = Backend::State::kClosed;
  backend.driver = nullptr;
  worker_.bury(release_ownership(backend));
  if (const Extra* extra = find_extra(backend)) {
    extras_.erase(extras_.begin() + (extra - extras_.data()));
    gate_->end_extra();
  }
  gate_->closed();
  // What was the limit a moment ago may be free for somebody who waits.
  if (gate_->waiting() > 0) worker_.defer([this] { open_for_waiters(); });
}

std::unique_ptr<Backend> Pool::release_ownership(Backend& backend) {
  const auto found = std::find_if(backends_.begin(), backends_.end(),
                                  [&](const auto& owned) { return owned.get() == &backend; });
  assert(found != backends_.end());
  std::unique_ptr<Backend> owned = std::move(*found);
  *found = std::move(backends_.back());
  backends_.pop_back();
  return owned;
}

void Pool::push_idle(Backend& backend) {
  idle_.push_back(&backend);
  gate_->set_idle(worker_.index(), static_cast<std::uint32_t>(idle_.size()));
  // A waiter of another worker may have queued just before it could see this one idle.
  if (gate_->waiting() > 0) worker_.defer([this] { hand_over_idle(); });
}

void Pool::remove_idle(Backend& backend) {
  const auto found = std::find(idle_.begin(), idle_.end(), &backend);
  if (found == idle_.end()) return;
  idle_.erase(found);
  gate_->set_idle(worker_.index(), static_cast<std::uint32_t>(idle_.size()));
}

// --- bytes of idle servers -----------------------------------------------------------------------

std::size_t Pool::on_backend_bytes(Backend& backend, std::string_view bytes) {
  std::size_t at = 0;
  while (true) {
    FrameHeader header;
    const std::string_view rest = bytes.substr(at);
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kNeedMore) return at;
    if (status == FrameStatus::kMalformed) break;
    if (rest.size() < header.frame_size()) return at;
    const std::string_view body = rest.substr(kFrameHeaderSize, header.body_size);
    at += header.frame_size();
    if (header.type == backend::kParameterStatus) {
      note_parameter_status(backend, body);
      continue;
    }
    if (header.type == backend::kNoticeResponse || header.type == backend::kNotificationResponse) {
      continue;
    }
    if (backend.state != Backend::State::kReset && backend.state != Backend::State::kTested) {
      // An idle server speaks only to say goodbye.
      std::string why = "unexpected message while idle";
      if (header.type == backend::kErrorResponse) {
        if (auto error = decode_error_response(body)) why = std::string(error->message());
      }
      discard(backend, why);
      return bytes.size();
    }
    const Reply reply = backend.tracker.on_message(header.type);
    if (backend.reading && header.type == backend::kDataRow) backend.reading->add_row(body);
    if (backend.reading && header.type == backend::kErrorResponse) {
      const auto error = decode_error_response(body);
      backend.reading->fail(error ? error->message() : std::string_view());
      continue;
    }
    if (header.type == backend::kErrorResponse || reply.outcome == ReplyOutcome::kViolation) {
      discard(backend, "its check or reset query failed");
      return bytes.size();
    }
    if (header.type != backend::kReadyForQuery) continue;
    const auto transaction = decode_ready_for_query(body);
    if (!transaction || *transaction != TransactionStatus::kIdle) break;
    backend.transaction = *transaction;
    if (backend.reading) {
      backend.reading->finish();
      backend.reading.reset();
    }
    if (backend.state == Backend::State::kReset) {
      backend.memory.settings = NameValues::empty();
      backend.memory.prepared.clear();
      backend.memory.unnamed_tag = 0;
      backend.memory.sequences_of = 0;
      backend.memory.listening = false;
    }
    if (backend.clean()) give_back(backend);
    return at;
  }
  discard(backend, "broken protocol");
  return bytes.size();
}

void Pool::on_backend_lost(Backend& backend, const Error& error) {
  discard(backend, error.message);
}

void Pool::on_backend_drained(Backend&) {}

// --- opening -----------------------------------------------------------------------------------

void Pool::open_for_waiters() {
  if (gate_->paused.load(std::memory_order_relaxed)) return;
  const TimePoint now = worker_.loop().now();
  if (now < next_opening_) return;
  // One opening a waiter is enough: whoever becomes free first serves the first in line.
  const LeaseWaiter* next = first_waiter_;
  for (std::size_t under_way = shared_openings(); next && under_way > 0; --under_way) {
    next = next->next_;
  }
  for (; next; next = next->next_) {
    if (!gate_->try_open(now - next->since_, next->urgency_)) return;
    start_opening();
  }
}

Backend& Pool::start_opening() {
  auto backend = std::make_unique<Backend>(worker_, *this);
  backend->identity.id = worker_.next_backend_id();
  Backend& opening = *backend;
  backends_.push_back(std::move(backend));
  openings_.push_back(std::make_unique<ServerOpening>(worker_, *this, opening));
  openings_.back()->start();
  return opening;
}

void Pool::end_opening(Backend& backend) {
  const auto found = std::find_if(openings_.begin(), openings_.end(), [&](const auto& opening) {
    return &opening->backend() == &backend;
  });
  if (found == openings_.end()) return;
  // It is still on the stack: it called us.
  worker_.bury(std::move(*found));
  openings_.erase(found);
}

void Pool::opened(Backend& backend) {
  end_opening(backend);
  opening_backoff_ = {};
  next_opening_ = {};
  backend.driver = this;
  log_event(
      LogLevel::kInfo, "server_opened",
      {.database = spec_->database, .user = spec_->user, .shard = spec_->shard},
      backend.identity.address + (backend.identity.tls.empty() ? "" : " " + backend.identity.tls));
  Extra* const extra = find_extra(backend);
  if (!extra) {
    if (routines_ && routines_->due(worker_.loop().now()) && read_routines(backend)) return;
    return make_available(backend);
  }
  if (!extra->waiter) return discard(backend, "nobody wants it any more");
  extra->opening = false;
  backend.state = Backend::State::kActive;
  backend.since = worker_.loop().now();
  extra->waiter->on_lease(backend);
}

void Pool::opening_failed(Backend& backend, const Error& error, bool permanent) {
  end_opening(backend);
  log_event(LogLevel::kWarning, "server_login_failed",
            {.database = spec_->database,
             .user = spec_->user,
             .shard = spec_->shard,
             .sqlstate = error.code.view()},
            backend.identity.address + ": " + error.message);
  const Clock::duration longest = to_duration(spec_->config->server_login_retry);
  opening_backoff_ = std::min(std::max(opening_backoff_ * 2, kFirstBackoff), longest);
  next_opening_ = worker_.loop().now() + opening_backoff_;
  const Extra* const extra = find_extra(backend);
  LeaseWaiter* const extra_waiter = extra ? extra->waiter : nullptr;
  discard(backend, error.message);
  if (extra_waiter) extra_waiter->on_lease_failed(error);
  // A server that is away may come back within query_wait_timeout; a refusal stays one.
  wants_credentials_ = permanent;
  if (permanent && gate_->open() == 0) fail_waiters(error);
}

void Pool::fail_waiters(const Error& error) {
  while (first_waiter_) {
    LeaseWaiter& waiter = *first_waiter_;
    stop_waiting(waiter);
    waiter.on_lease_failed(error);
  }
}

bool Pool::open_extra(LeaseWaiter& waiter) {
  if (!gate_->open_extra()) return false;
  // Nothing is called back before the next turn.
  extras_.push_back({&start_opening(), &waiter});
  return true;
}

void Pool::stop_extra(LeaseWaiter& waiter) {
  for (Extra& extra : extras_) {
    if (extra.waiter == &waiter) extra.waiter = nullptr;
  }
}

Pool::Extra* Pool::find_extra(const Backend& backend) {
  const auto found = std::find_if(extras_.begin(), extras_.end(),
                                  [&](const Extra& extra) { return extra.backend == &backend; });
  return found == extras_.end() ? nullptr : &*found;
}

std::size_t Pool::shared_openings() const {
  return openings_.size() -
         static_cast<std::size_t>(std::count_if(extras_.begin(), extras_.end(),
                                                [](const Extra& extra) { return extra.opening; }));
}

// --- upkeep ------------------------------------------------------------------------------------

bool Pool::expired(const Backend& backend) const {
  const Seconds lifetime = spec_->config->server_lifetime;
  return lifetime.count() > 0 && worker_.loop().now() - backend.identity.connected_at > lifetime;
}

void Pool::maintain() {
  const TimePoint now = worker_.loop().now();
  const Config& config = *spec_->config;
  const std::uint32_t minimum = gate_->limits().min_size;
  std::vector<Backend*> leaving;
  for (Backend* backend : idle_) {
    const bool idle_too_long = config.server_idle_timeout.count() > 0 &&
                               now - backend->since > config.server_idle_timeout &&
                               gate_->open() > minimum + leaving.size();
    if (backend->close_when_idle || expired(*backend) || idle_too_long) leaving.push_back(backend);
  }
  for (Backend* backend : leaving) discard(*backend, "idle or old");
  close_surplus();
  const bool gave_way = !idle_.empty() && gives_way();
  if (gave_way) discard(*idle_.front(), "its place is needed by another pool");

  std::vector<Backend*> silent;
  const Clock::duration patience = to_duration(config.server_connect_timeout);
  for (const auto& backend : backends_) {
    const bool pending =
        backend->state == Backend::State::kReset || backend->state == Backend::State::kTested;
    if (pending && patience.count() > 0 && now - backend->since > patience) {
      silent.push_back(backend.get());
    }
  }
  for (Backend* backend : silent) discard(*backend, "no answer to its check or reset query");

  if (now >= next_opening_ && !gate_->paused.load(std::memory_order_relaxed)) {
    if (gate_->waiting() > 0) open_for_waiters();
    if (worker_.index() == 0 && !gave_way && gate_->try_open_minimum()) start_opening();
  }
  if (gate_->waiting() > 0) hand_over_idle();
}

const Pool::Reported* Pool::reported_for(const NameValuesPtr& settings) const {
  const auto found = reported_for_.find(settings);
  return found == reported_for_.end() ? nullptr : &found->second;
}

void Pool::remember_reported(const NameValuesPtr& settings, const NameValuesPtr& reported) {
  // Clients may invent settings without end.
  constexpr std::size_t kMost = 64;
  if (reported_for_.size() >= kMost) reported_for_.clear();
  std::string messages;
  for (const auto& [name, value] : reported->pairs()) {
    append_parameter_status(messages, name, value);
  }
  reported_for_[settings] = {reported, std::move(messages)};
}

void Pool::retire_all() {
  reported_for_.clear();
  for (const auto& backend : backends_) backend->close_when_idle = true;
  close_idle();
}

void Pool::close_idle() {
  const std::vector<Backend*> idle = idle_;
  for (Backend* backend : idle) discard(*backend, "closed on request");
}

Pool::Counts Pool::counts() const {
  Counts counts;
  for (const auto& backend : backends_) {
    switch (backend->state) {
      case Backend::State::kConnecting:
      case Backend::State::kLogin:
        ++counts.login;
        break;
      case Backend::State::kIdle:
        ++counts.idle;
        break;
      case Backend::State::kActive:
        ++counts.active;
        break;
      case Backend::State::kTested:
      case Backend::State::kReset:
        ++(backend->cancels_under_way > 0 ? counts.being_canceled : counts.tested);
        break;
      case Backend::State::kClosed:
        break;
    }
  }
  counts.waiting = waiter_count_;
  counts.pinned = pinned;
  if (first_waiter_) counts.longest_wait = worker_.loop().now() - first_waiter_->since_;
  return counts;
}

}  // namespace pgshunt
