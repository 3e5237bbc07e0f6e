#include "proxy/auth/client_login.h"

#include "protocol/backend.h"
#include "protocol/digest.h"
#include "protocol/startup.h"
#include "proxy/auth/password_exchange.h"
#include "proxy/auth/userlist.h"

namespace pgshunt {
namespace {

using StepKind = ClientLoginStepKind;

// What PostgreSQL takes for true (parse_bool); "database" also asks for replication.
bool asks_for_replication(std::string_view value) {
  for (const std::string_view no : {"", "0", "no", "off", "false", "n", "f", "of"}) {
    if (value == no) return false;
  }
  return true;
}

Error authorization_error(std::string message) {
  return {sqlstate::kInvalidAuthorization, std::move(message), {}};
}

}  // namespace

std::string make_mock_secret(std::string_view seed) {
  Sha256Digest secret;
  if (seed.empty()) {
    fill_random(secret);
  } else {
    secret = sha256({"pgshunt mock authentication", seed});
  }
  return std::string(as_view(secret));
}

Error unknown_database_error(std::string_view database) {
  return {sqlstate::kInvalidCatalogName,
          "database \"" + std::string(database) + "\" does not exist",
          {}};
}

class ClientLogin::Impl {
 public:
  Impl(std::shared_ptr<const ClientLoginPolicy> policy, ClientPeer peer)
      : policy_(std::move(policy)), peer_(peer) {}

  ClientLoginStep advance(std::string_view input);
  void tls_established(std::string end_point_hash, std::string peer_common_name);
  void secret_known(const Secret* secret);
  void secret_failed(Error error);

  enum class State : std::uint8_t { kStartup, kTls, kSecret, kMethod, kExchange, kEnded };

  std::shared_ptr<const ClientLoginPolicy> policy_;
  ClientPeer peer_;
  State state_ = State::kStartup;
  AuthenticatedClient client_;
  Error error_;
  std::uint32_t cancel_pid_ = 0;
  std::string cancel_key_;
  Secret looked_up_;  // the secret of a user that is not in the table

 private:
  // One unit of work: an end or a wait, or nothing when the next unit can follow at once.
  std::optional<StepKind> work(std::string_view input, std::size_t& consumed);
  std::optional<StepKind> on_startup(std::string_view input, std::size_t& consumed);
  std::optional<StepKind> on_ssl_request(bool more_input);
  std::optional<StepKind> on_startup_message(const StartupMessageView& startup);
  std::optional<StepKind> begin_method();
  std::optional<StepKind> on_exchange(std::string_view input, std::size_t& consumed);
  Status read_startup(const StartupMessageView& startup);
  Status check_rules();
  Status check_certificate() const;
  StepKind accept();
  StepKind reject(Error error);

  std::string out_;
  bool tls_ = false;
  bool answered_ssl_ = false;
  bool answered_gss_ = false;
  std::string end_point_hash_;
  std::string peer_common_name_;
  Hba::Decision rule_;
  const Secret* secret_ = nullptr;  // in the policy's table or looked_up_; null: unknown user
  bool secret_failed_ = false;      // error_ says why
  std::optional<PasswordExchange> exchange_;
};

ClientLoginStep ClientLogin::Impl::advance(std::string_view input) {
  ClientLoginStep step;
  out_.clear();
  for (;;) {
    std::size_t consumed = 0;
    const std::optional<StepKind> kind = work(input.substr(step.consumed), consumed);
    step.consumed += consumed;
    if (!kind) continue;
    step.kind = *kind;
    step.send = out_;
    return step;
  }
}

std::optional<StepKind> ClientLogin::Impl::work(std::string_view input, std::size_t& consumed) {
  switch (state_) {
    case State::kStartup:
      return on_startup(input, consumed);
    case State::kTls:
      return StepKind::kStartTls;
    case State::kSecret:
      return StepKind::kLookupSecret;
    case State::kMethod:
      return begin_method();
    case State::kExchange:
      return on_exchange(input, consumed);
    case State::kEnded:
      break;
  }
  return StepKind::kClose;
}

// --- startup ------------------------------------------------------------------------------------

std::optional<StepKind> ClientLogin::Impl::on_startup(std::string_view input,
                                                      std::size_t& consumed) {
  const Result<StartupPacket> packet = decode_startup(input);
  if (!packet) return reject(packet.error());
  consumed = packet->size;
  switch (packet->kind) {
    case StartupKind::kNeedMore:
      return StepKind::kNeedMore;
    case StartupKind::kDirectTls:
      // As the very first thing only: behind an answer of ours it could be an injection.
      if (tls_ || answered_ssl_ || answered_gss_ || policy_->tls == SslMode::kDisable ||
          peer_.unix_socket) {
        state_ = State::kEnded;
        return StepKind::kClose;
      }
      state_ = State::kTls;
      return std::nullopt;
    case StartupKind::kSslRequest:
      return on_ssl_request(input.size() > packet->size);
    case StartupKind::kGssEncRequest:
      if (answered_gss_) {
        return reject({sqlstate::kProtocolViolation, "GSS encryption was asked for twice", {}});
      }
      answered_gss_ = true;
      out_ += 'N';
      return std::nullopt;
    case StartupKind::kCancelRequest:
      cancel_pid_ = packet->cancel.pid;
      cancel_key_ = packet->cancel.key;
      state_ = State::kEnded;
      return StepKind::kCancel;
    case StartupKind::kStartup:
      break;
  }
  return on_startup_message(packet->startup);
}

std::optional<StepKind> ClientLogin::Impl::on_ssl_request(bool more_input) {
  if (tls_ || answered_ssl_) {
    return reject({sqlstate::kProtocolViolation, "TLS was asked for twice", {}});
  }
  answered_ssl_ = true;
  if (policy_->tls == SslMode::kDisable || peer_.unix_socket) {
    out_ += 'N';
    return std::nullopt;
  }
  if (more_input) {
    // Were these bytes read as if they had come through TLS, a man in the middle could put words
    // into the client's mouth (CVE-2021-23214).
    return reject({sqlstate::kProtocolViolation, "received unencrypted data after SSL request",
                   "This is a bug of the client's, or someone is in the middle."});
  }
  out_ += 'S';
  state_ = State::kTls;
  return std::nullopt;
}

std::optional<StepKind> ClientLogin::Impl::on_startup_message(const StartupMessageView& startup) {
  if (startup.needs_negotiation()) append_negotiate_protocol_version(out_, startup);
  if (const Status read = read_startup(startup); !read) return reject(read.error());
  if (const Status passed = check_rules(); !passed) return reject(passed.error());

  if (policy_->users) secret_ = policy_->users->find(client_.user);
  if (secret_ == nullptr && policy_->lookup_unknown_users) {
    state_ = State::kSecret;
  } else {
    state_ = State::kMethod;
  }
  return std::nullopt;
}

Status ClientLogin::Impl::read_startup(const StartupMessageView& startup) {
  if (const Status user = check_startup_user(startup); !user) return user.error();
  client_.user = startup.value("user");
  client_.credentials.user = client_.user;
  client_.database = startup.value("database");
  if (client_.database.empty()) client_.database = client_.user;
  if (asks_for_replication(startup.value("replication"))) {
    return Error{sqlstate::kFeatureNotSupported,
                 "replication connections are not supported by pgshunt",
                 "Connect to the server itself."};
  }

  Result<std::vector<OptionSetting>> options = parse_startup_options(startup.value("options"));
  if (!options) return options.error();
  for (OptionSetting& option : *options) {
    client_.settings.emplace_back(std::move(option.name), std::move(option.value));
  }
  for (const auto& [name, value] : startup) {
    if (name == "user" || name == "database" || name == "options" || name == "replication" ||
        StartupMessageView::is_protocol_option(name)) {
      continue;
    }
    client_.settings.emplace_back(name, value);
  }
  return Ok{};
}

// --- rules --------------------------------------------------------------------------------------

Status ClientLogin::Impl::check_rules() {
  if (policy_->tls >= SslMode::kRequire && !tls_ && !peer_.unix_socket) {
    return authorization_error("SSL connection is required");
  }
  rule_ = policy_->hba->decide({.unix_socket = peer_.unix_socket,
                                .tls = tls_,
                                .address = peer_.address,
                                .database = client_.database,
                                .user = client_.user});
  client_.method = rule_.method;
  if (!rule_.matched || rule_.method == AuthMethod::kReject) {
    const std::string host = peer_.unix_socket ? "[local]" : peer_.address.to_string();
    return authorization_error((rule_.matched ? "pg_hba.conf rejects connection for host \""
                                              : "no pg_hba.conf entry for host \"") +
                               host + "\", user \"" + client_.user + "\", database \"" +
                               client_.database + "\", " +
                               (tls_ ? "SSL encryption" : "no encryption"));
  }
  if (rule_.method == AuthMethod::kPassword && !tls_ && !peer_.unix_socket &&
      !policy_->cleartext_without_tls) {
    return authorization_error(
        "password authentication without encryption is refused: the connection must use SSL");
  }
  return check_certificate();
}

Status ClientLogin::Impl::check_certificate() const {
  const bool proves_identity = rule_.method == AuthMethod::kCert;
  if (!proves_identity && rule_.client_cert == HbaClientCert::kNo) return Ok{};
  if (peer_common_name_.empty()) {
    return authorization_error("connection requires a valid client certificate");
  }
  if (!proves_identity && rule_.client_cert == HbaClientCert::kVerifyCa) return Ok{};
  const std::string_view expected = rule_.cert_name.empty() ? client_.user : rule_.cert_name;
  if (peer_common_name_ != expected) {
    return authorization_error("certificate authentication failed for user \"" + client_.user +
                               "\"");
  }
  return Ok{};
}

// --- proof --------------------------------------------------------------------------------------

std::optional<StepKind> ClientLogin::Impl::begin_method() {
  if (secret_failed_) return reject(error_);
  if (rule_.method == AuthMethod::kTrust || rule_.method == AuthMethod::kCert) return accept();
  exchange_.emplace(PasswordExchange::Setting{.method = rule_.method,
                                              .user = client_.user,
                                              .secret = secret_,
                                              .secrets_from_server = policy_->lookup_unknown_users,
                                              .mock_secret = policy_->mock_secret,
                                              .end_point_hash = end_point_hash_},
                    out_);
  state_ = State::kExchange;
  return std::nullopt;
}

std::optional<StepKind> ClientLogin::Impl::on_exchange(std::string_view input,
                                                       std::size_t& consumed) {
  FrameHeader header;
  switch (read_frontend_header(input, FrontendPhase::kAuthentication, header)) {
    case FrameStatus::kNeedMore:
      return StepKind::kNeedMore;
    case FrameStatus::kMalformed:
      return reject(frontend_frame_error(input, FrontendPhase::kAuthentication));
    case FrameStatus::kComplete:
      break;
  }
  if (input.size() < header.frame_size()) return StepKind::kNeedMore;
  consumed = header.frame_size();
  if (header.type == frontend::kTerminate) {
    state_ = State::kEnded;
    return StepKind::kClose;
  }
  const Result<bool> proven =
      exchange_->on_message(input.substr(kFrameHeaderSize, header.body_size), out_);
  if (!proven) return reject(proven.error());
  if (*proven) return accept();
  return std::nullopt;
}

StepKind ClientLogin::Impl::accept() {
  ServerCredentials& known = client_.credentials;
  if (secret_ != nullptr && secret_->kind == SecretKind::kPlain) known.password = secret_->text;
  if (secret_ != nullptr && secret_->kind == SecretKind::kMd5) known.md5_hash = secret_->text;
  if (exchange_) {
    if (auto password = exchange_->take_password()) known.password = std::move(password);
    known.scram_keys = exchange_->take_scram_keys();
  }
  append_authentication_ok(out_);
  state_ = State::kEnded;
  return StepKind::kAccepted;
}

StepKind ClientLogin::Impl::reject(Error error) {
  append_error_response(out_, Severity::kFatal, error);
  // The log may know what the client must not: that there is no such user, and which rule it was.
  if (error.code == sqlstate::kInvalidPassword) {
    error.message += secret_ == nullptr                   ? " (unknown user"
                     : secret_->kind == SecretKind::kNone ? " (the user has no password"
                     : secret_->kind == SecretKind::kMd5  ? " (md5 secret"
                                                          : " (wrong password";
    error.message += ", rule " + std::string(rule_.origin) + ")";
  }
  error_ = std::move(error);
  state_ = State::kEnded;
  return StepKind::kReject;
}

// --- what the owner tells
// -------------------------------------------------------------------------

void ClientLogin::Impl::tls_established(std::string end_point_hash, std::string peer_common_name) {
  tls_ = true;
  end_point_hash_ = std::move(end_point_hash);
  peer_common_name_ = std::move(peer_common_name);
  state_ = State::kStartup;
}

void ClientLogin::Impl::secret_known(const Secret* secret) {
  secret_ = secret;
  state_ = State::kMethod;
}

void ClientLogin::Impl::secret_failed(Error error) {
  error_ = std::move(error);
  secret_failed_ = true;
  state_ = State::kMethod;
}

ClientLogin::ClientLogin(std::shared_ptr<const ClientLoginPolicy> policy, ClientPeer peer)
    : impl_(std::make_unique<Impl>(std::move(policy), peer)) {}
ClientLogin::~ClientLogin() = default;
ClientLogin::ClientLogin(ClientLogin&&) noexcept = default;
ClientLogin& ClientLogin::operator=(ClientLogin&&) noexcept = default;

ClientLoginStep ClientLogin::advance(std::string_view input) { return impl_->advance(input); }

void ClientLogin::tls_established(std::string end_point_hash, std::string peer_common_name) {
  impl_->tls_established(std::move(end_point_hash), std::move(peer_common_name));
}

void ClientLogin::secret_found(std::string_view stored) {
  impl_->looked_up_ = parse_secret(stored);
  impl_->secret_known(&impl_->looked_up_);
}
void ClientLogin::secret_not_found() { impl_->secret_known(nullptr); }
void ClientLogin::secret_failed(Error error) { impl_->secret_failed(std::move(error)); }

std::string_view ClientLogin::user() const { return impl_->client_.user; }
std::string_view ClientLogin::database() const { return impl_->client_.database; }
AuthenticatedClient ClientLogin::take_client() { return std::move(impl_->client_); }
std::uint32_t ClientLogin::cancel_pid() const { return impl_->cancel_pid_; }
std::string_view ClientLogin::cancel_key() const { return impl_->cancel_key_; }
const Error& ClientLogin::error() const { return impl_->error_; }

std::string_view ClientLogin::state_name() const {
  switch (impl_->state_) {
    case Impl::State::kStartup:
      return "startup";
    case Impl::State::kTls:
      return "tls";
    case Impl::State::kSecret:
      return "secret";
    case Impl::State::kMethod:
    case Impl::State::kExchange:
      return "password";
    case Impl::State::kEnded:
      break;
  }
  return "ended";
}

}  // namespace pgshunt
