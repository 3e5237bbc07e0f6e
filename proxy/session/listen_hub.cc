#include "proxy/session/listen_hub.h"

#include <algorithm>
#include <set>
#include <utility>

#include "protocol/frontend.h"
#include "proxy/log/log.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

constexpr Clock::duration kRetryInterval = std::chrono::seconds(1);
constexpr Clock::duration kSweepInterval = std::chrono::seconds(1);
// Between its LISTEN here and its own, a session does not count as listening yet.
constexpr Clock::duration kGrace = std::chrono::seconds(30);

std::string quoted(const std::string& channel) {
  std::string out = "\"";
  for (const char c : channel) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  return out + '"';
}

}  // namespace

ListenHub::ListenHub(Worker& worker, Pool& pool) : worker_(worker), pool_(pool) {}

ListenHub::~ListenHub() {
  if (connecting_) pool_.stop_extra(*this);
  if (backend_) pool_.discard(*backend_, "the worker stops");
}

bool ListenHub::listen(const std::string& channel, std::uint64_t session) {
  Channel& state = channels_[channel];
  state.unwanted_since = {};
  if (state.confirmed) return true;
  if (std::find(state.waiting.begin(), state.waiting.end(), session) == state.waiting.end()) {
    state.waiting.push_back(session);
  }
  if (backend_) {
    if (!state.asked) send_listen(channel, state);
  } else if (!connecting_) {
    connect();
  }
  return false;
}

// --- the connection ------------------------------------------------------------------------------

bool ListenHub::may_connect() const {
  return !backend_ && !connecting_ && !channels_.empty() &&
         !pool_.gate().paused.load(std::memory_order_relaxed);
}

void ListenHub::connect() {
  if (!may_connect()) return;
  next_attempt_ = worker_.loop().now() + kRetryInterval;
  connecting_ = pool_.open_extra(*this);
  if (connecting_) return;
  worker_.defer([this] {
    fail_waiting({sqlstate::kTooManyConnections, "no server connection is left to listen with",
                  "max_db_connections or max_user_connections is reached."});
  });
}

void ListenHub::disconnect(std::string_view why) {
  queries_.clear();
  for (auto& [name, channel] : channels_) channel.asked = channel.confirmed = false;
  if (backend_) pool_.discard(*std::exchange(backend_, nullptr), why);
}

void ListenHub::on_lease(Backend& backend) {
  connecting_ = false;
  backend_ = &backend;
  backend.driver = this;
  backend.client = 0;
  for (auto& [name, channel] : channels_) send_listen(name, channel);
}

void ListenHub::on_lease_failed(const Error& error) {
  connecting_ = false;
  fail_waiting(error);
}

void ListenHub::on_backend_lost(Backend&, const Error& error) {
  log_event(LogLevel::kWarning, "listener_lost",
            {.database = pool_.spec().database,
             .user = pool_.spec().user,
             .shard = pool_.spec().shard,
             .sqlstate = error.code.view()},
            error.message + ": notifications are missed until it is replaced");
  disconnect(error.message);
  connect();
}

// --- asking --------------------------------------------------------------------------------------

void ListenHub::send_listen(const std::string& channel, Channel& state) {
  state.asked = true;
  send_query("LISTEN " + quoted(channel), channel);
}

void ListenHub::send_query(const std::string& sql, std::string channel) {
  queries_.push_back({std::move(channel), false, {}});
  backend_->tracker.push(RequestKind::kQuery);
  std::string message;
  append_query(message, sql);
  backend_->send(message);
}

std::size_t ListenHub::on_backend_bytes(Backend& backend, std::string_view bytes) {
  std::size_t at = 0;
  while (backend_ == &backend) {
    const std::string_view rest = bytes.substr(at);
    FrameHeader header;
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    const bool malformed = status == FrameStatus::kMalformed;
    if (!malformed && (status == FrameStatus::kNeedMore || rest.size() < header.frame_size())) {
      break;
    }
    if (malformed || !on_message(header.type, rest.substr(kFrameHeaderSize, header.body_size))) {
      on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
      return bytes.size();
    }
    at += header.frame_size();
  }
  return at;
}

bool ListenHub::on_message(char type, std::string_view body) {
  if (type == backend::kNotificationResponse) {
    deliver(body);
    return true;
  }
  switch (backend_->tracker.on_message(type).outcome) {
    case ReplyOutcome::kViolation:
    case ReplyOutcome::kUnsolicited:
      return false;
    case ReplyOutcome::kAsync:
      if (type == backend::kParameterStatus) note_parameter_status(*backend_, body);
      return true;
    case ReplyOutcome::kError:
      if (const auto error = decode_error_response(body); error && !queries_.empty()) {
        queries_.front().failed = true;
        queries_.front().error = error->to_error();
      }
      return true;
    default:
      break;
  }
  if (type == backend::kReadyForQuery && !queries_.empty()) answered();
  return true;
}

void ListenHub::answered() {
  const Query query = std::move(queries_.front());
  queries_.pop_front();
  const auto found = channels_.find(query.channel);
  if (query.channel.empty() || found == channels_.end()) return;
  const std::vector<std::uint64_t> waiting = std::exchange(found->second.waiting, {});
  if (query.failed) {
    channels_.erase(found);
  } else {
    found->second.confirmed = true;
  }
  for (const std::uint64_t id : waiting) {
    Session* session = worker_.find_session(id);
    if (!session) continue;
    if (query.failed) {
      session->channel_failed(query.error);
    } else {
      session->channel_heard();
    }
  }
}

void ListenHub::fail_waiting(const Error& error) {
  const std::set<std::string> wanted = wanted_channels();
  for (auto channel = channels_.begin(); channel != channels_.end();) {
    const std::vector<std::uint64_t> waiting = std::exchange(channel->second.waiting, {});
    // Channels that clients listen to already are tried again; a first LISTEN is not.
    channel = wanted.contains(channel->first) ? std::next(channel) : channels_.erase(channel);
    for (const std::uint64_t id : waiting) {
      if (Session* session = worker_.find_session(id)) session->channel_failed(error);
    }
  }
}

// --- telling -------------------------------------------------------------------------------------

bool ListenHub::serves(const Session& session) const {
  const SessionState& state = session.state();
  return !state.channels.empty() && state.database == pool_.spec().database &&
         state.user == pool_.spec().user;
}

void ListenHub::deliver(std::string_view body) {
  const auto notification = decode_notification(body);
  if (!notification) return;
  for (const auto& session : worker_.sessions()) {
    if (!serves(*session)) continue;
    session->notify(notification->pid, notification->channel, notification->payload);
  }
}

// --- upkeep --------------------------------------------------------------------------------------

void ListenHub::maintain() {
  const TimePoint now = worker_.loop().now();
  if (backend_ && pool_.gate().paused.load(std::memory_order_relaxed)) disconnect("paused");
  if (backend_ && backend_->close_when_idle) disconnect("retired");
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepInterval;
    forget_unwanted();
  }
  if (backend_ && channels_.empty()) disconnect("nobody listens any more");
  if (now >= next_attempt_) connect();
}

std::set<std::string> ListenHub::wanted_channels() const {
  std::set<std::string> wanted;
  for (const auto& session : worker_.sessions()) {
    if (serves(*session)) {
      wanted.insert(session->state().channels.begin(), session->state().channels.end());
    }
  }
  return wanted;
}

void ListenHub::forget_unwanted() {
  const std::set<std::string> wanted = wanted_channels();
  const TimePoint now = worker_.loop().now();
  for (auto channel = channels_.begin(); channel != channels_.end();) {
    auto& [name, state] = *channel;
    const bool under_way = !state.waiting.empty() || (state.asked && !state.confirmed);
    if (wanted.contains(name) || under_way) {
      state.unwanted_since = {};
    } else if (state.unwanted_since == TimePoint{}) {
      state.unwanted_since = now;
    } else if (now - state.unwanted_since > kGrace) {
      if (backend_ && state.asked) send_query("UNLISTEN " + quoted(name), {});
      channel = channels_.erase(channel);
      continue;
    }
    ++channel;
  }
}

}  // namespace pgshunt
