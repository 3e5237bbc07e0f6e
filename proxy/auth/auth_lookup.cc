#include "proxy/auth/auth_lookup.h"

#include "protocol/frontend.h"
#include "proxy/auth/userlist.h"
#include "proxy/database.h"
#include "proxy/log/log.h"
#include "proxy/session/settings.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// For clients without a login time-out of their own.
constexpr Seconds kLongestLookup{60};

ServerCredentials credentials_of(const std::string& user, const UserTable& users) {
  ServerCredentials credentials;
  credentials.user = user;
  const Secret* secret = users.find(user);
  if (!secret) return credentials;  // the server may trust us, or take our certificate
  if (secret->kind == SecretKind::kPlain) credentials.password = secret->text;
  if (secret->kind == SecretKind::kMd5) credentials.md5_hash = secret->text;
  return credentials;
}

}  // namespace

AuthLookup::AuthLookup(Worker& worker, std::string user, std::string database, Done done)
    : worker_(worker),
      user_(std::move(user)),
      database_(std::move(database)),
      done_(std::move(done)),
      deadline_(worker.loop(), [this] { give_up("no answer in time"); }) {}

AuthLookup::~AuthLookup() {
  if (waiting_in()) waiting_in()->stop_waiting(*this);
  if (backend_) pool_->discard(*backend_, "the look-up was abandoned");
}

void AuthLookup::start() {
  if (!find_pool()) return finish();
  const Seconds limit = worker_.snapshot()->config->client_login_timeout;
  deadline_.arm_after(
      std::chrono::duration_cast<Clock::duration>(limit.count() > 0 ? limit : kLongestLookup));
  if (Backend* backend = pool_->lease(*this)) ask(*backend);
}

// False: nobody to ask; the user counts as unknown.
bool AuthLookup::find_pool() {
  const Snapshot& snapshot = *worker_.snapshot();
  const Config& config = *snapshot.config;
  const auto named = snapshot.find(database_);
  const std::string& own_user = named ? named->config.auth_user : config.auth_user;
  const std::string& own_query = named ? named->config.auth_query : config.auth_query;
  const std::string& as_user = own_user.empty() ? config.auth_user : own_user;
  query_ = own_query.empty() ? config.auth_query : own_query;
  if (as_user.empty() || query_.empty()) return false;

  const std::string& place = config.auth_dbname.empty() ? database_ : config.auth_dbname;
  const auto found = snapshot.find(place);
  if (!found) return false;
  // The query is asked as auth_user, whoever else the database's clients are turned into.
  Database asked = *found;
  asked.config.force_user.clear();
  pool_ = &worker_.pool({place, as_user, 0}, asked,
                        credentials_of(as_user, *snapshot.login_policy->users));
  return true;
}

void AuthLookup::on_lease(Backend& backend) { ask(backend); }

void AuthLookup::on_lease_failed(const Error& error) {
  failure_ = error.message;
  finish();
}

const NameValuesPtr& AuthLookup::wanted_settings() const { return NameValues::empty(); }

void AuthLookup::ask(Backend& backend) {
  backend_ = &backend;
  backend.driver = this;
  backend.client = 0;
  backend.request_at = worker_.loop().now();
  std::string out;
  // A client of the same name may have left settings; a search_path would decide what the query
  // reads.
  const std::string reset = settings_change(*backend.memory.settings, *NameValues::empty());
  if (!reset.empty()) {
    backend.tracker.push(RequestKind::kQuery, ReplyUse::kSwallow);
    append_query(out, reset);
    backend.memory.settings = NameValues::empty();
  }
  backend.tracker.push(RequestKind::kParse);
  append_parse(out, {}, query_);
  const WireValue user{false, user_};
  backend.tracker.push(RequestKind::kBind);
  append_bind_text(out, {}, {}, {&user, 1});
  backend.tracker.push(RequestKind::kExecute);
  append_execute(out, {});
  backend.tracker.push(RequestKind::kSync);
  append_sync(out);
  backend.memory.unnamed_tag = 0;
  backend.send(out);
}

std::size_t AuthLookup::on_backend_bytes(Backend& backend, std::string_view bytes) {
  std::size_t at = 0;
  while (backend_ == &backend) {
    const std::string_view rest = bytes.substr(at);
    FrameHeader header;
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kMalformed) {
      give_up("the server broke the protocol");
      return bytes.size();
    }
    if (status == FrameStatus::kNeedMore || rest.size() < header.frame_size()) break;
    at += header.frame_size();
    if (!on_message(header.type, rest.substr(kFrameHeaderSize, header.body_size))) {
      give_up("the server sent what answers no request");
      return bytes.size();
    }
  }
  return at;
}

bool AuthLookup::on_message(char type, std::string_view body) {
  const Reply reply = backend_->tracker.on_message(type);
  switch (reply.outcome) {
    case ReplyOutcome::kAsync:
      if (type == backend::kParameterStatus) note_parameter_status(*backend_, body);
      return true;
    case ReplyOutcome::kViolation:
    case ReplyOutcome::kUnsolicited:
      return false;
    case ReplyOutcome::kError:
      if (const auto error = decode_error_response(body)) failure_ = error->message();
      if (failure_.empty()) failure_ = "the query failed";
      // What it is set to is anybody's guess now.
      if (reply.request.kind == RequestKind::kQuery) backend_->close_when_idle = true;
      return true;
    default:
      break;
  }
  if (type == backend::kDataRow && reply.request.kind == RequestKind::kExecute) read_row(body);
  if (type == backend::kReadyForQuery) {
    const auto transaction = decode_ready_for_query(body);
    if (!transaction) return false;
    backend_->transaction = *transaction;
    if (backend_->tracker.empty()) end();
  }
  return true;
}

// The user's name, then the secret; of several rows the first one counts.
void AuthLookup::read_row(std::string_view body) {
  const auto row = decode_data_row(body);
  if (!row || row->size() < 2) {
    failure_ = "the query must return the user's name and secret";
    return;
  }
  if (found_) return;
  auto value = row->begin();
  if ((*value).is_null) return;
  const WireValue secret = *++value;
  found_ = true;
  if (!secret.is_null) secret_ = secret.bytes;
}

// The server is ready again: back it goes, and the answer out.
void AuthLookup::end() {
  Backend& backend = *backend_;
  backend_ = nullptr;
  if (backend.clean()) {
    pool_->give_back(backend);
  } else {
    pool_->discard(backend, "auth_query left it unclean");
  }
  finish();
}

void AuthLookup::on_backend_lost(Backend&, const Error& error) { give_up(error.message); }

void AuthLookup::give_up(const std::string& why) {
  failure_ = why;
  if (waiting_in()) waiting_in()->stop_waiting(*this);
  if (backend_) {
    Backend& backend = *backend_;
    backend_ = nullptr;
    pool_->discard(backend, "auth_query: " + why);
  }
  finish();
}

void AuthLookup::finish() {
  if (ended_) return;
  ended_ = true;
  deadline_.cancel();
  if (!failure_.empty()) {
    log_event(LogLevel::kError, "auth_query_failed",
              {.database = pool_ ? pool_->spec().database : database_, .user = user_}, failure_);
  }
  // Later: whoever asked, or lends us servers, is still at work.
  worker_.defer([this] {
    if (failure_.empty()) return done_(*this, std::move(secret_), found_);
    done_(*this, Error{sqlstate::kCannotConnectNow, "the password could not be looked up", {}},
          false);
  });
}

}  // namespace pgshunt
