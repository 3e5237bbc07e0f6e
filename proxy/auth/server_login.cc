#include "proxy/auth/server_login.h"

#include <algorithm>
#include <optional>

#include "protocol/backend.h"
#include "protocol/frontend.h"
#include "protocol/md5_auth.h"
#include "protocol/scram_key_cache.h"
#include "protocol/startup.h"

namespace pgshunt {
namespace {

using StepKind = ServerLoginStepKind;

constexpr std::uint32_t kMaxBody = kMaxServerLoginMessage - kFrameHeaderSize;
// An Authentication message holds a challenge or a list of mechanisms (libpq's limit).
constexpr std::uint32_t kMaxAuthenticationRequest = 2000;
// ParameterStatus values are settings: a server has some twenty of them.
constexpr std::size_t kMaxParameters = 1000;

Error refusal(std::string message, std::string hint = {}) {
  return {sqlstate::kInvalidAuthorization, std::move(message), std::move(hint)};
}

Error violation(std::string message) {
  return {sqlstate::kProtocolViolation, std::move(message), {}};
}

Error no_password(const std::string& user) {
  return refusal(
      "the server asks for a password of user \"" + user + "\", and pgshunt does not know one",
      "Give the user a password in the configuration or the auth_file, or let it log in "
      "to pgshunt with SCRAM against the same secret that the server has.");
}

}  // namespace

class ServerLogin::Impl {
 public:
  explicit Impl(ServerLoginConfig config) : config_(std::move(config)) {
    if (config_.tls == SslMode::kDisable || config_.tls == SslMode::kAllow) {
      state_ = State::kStartup;
    }
  }

  ServerLoginStep advance(std::string_view input);
  void tls_established(std::string end_point_hash);

  ServerGreeting greeting_;
  Error error_;
  bool refused_ = false;

 private:
  enum class State : std::uint8_t {
    kTlsQuestion,  // SSLRequest not sent yet
    kTlsAnswer,    // waiting for 'S' or 'N'
    kTls,          // the owner's handshake
    kStartup,      // StartupMessage not sent yet
    kAuthentication,
    kGreeting,  // AuthenticationOk came, ReadyForQuery not yet
    kEnded,
  };

  std::optional<StepKind> work(std::string_view input, std::size_t& consumed);
  std::optional<StepKind> on_tls_answer(std::string_view input, std::size_t& consumed);
  void send_startup();
  std::optional<StepKind> on_message(char type, std::string_view body);
  std::optional<StepKind> on_error_response(std::string_view body);
  std::optional<StepKind> on_authentication(std::string_view body);
  std::optional<StepKind> on_greeting(char type, std::string_view body);
  std::optional<StepKind> on_negotiation(std::string_view body);
  Status answer(const AuthenticationView& request);
  Status answer_ok();
  Status answer_cleartext();
  Status answer_md5(std::string_view salt);
  Status answer_sasl(const AuthenticationView& offer);
  Status answer_sasl_continue(std::string_view message);
  Result<ScramBinding> choose_binding(const AuthenticationView& offer) const;
  // Notes that the server asked for `method`; an error if we may not use it.
  Status use(ServerAuthMethod method, std::string_view name);
  StepKind fail(Error error, bool refused);

  ServerLoginConfig config_;
  State state_ = State::kTlsQuestion;
  std::string out_;
  bool tls_ = false;
  std::string end_point_hash_;
  bool asked_ = false;  // the server has asked for a proof
  std::optional<ScramClient> scram_;
};

ServerLoginStep ServerLogin::Impl::advance(std::string_view input) {
  ServerLoginStep step;
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

std::optional<StepKind> ServerLogin::Impl::work(std::string_view input, std::size_t& consumed) {
  switch (state_) {
    case State::kTlsQuestion:
      append_ssl_request(out_);
      state_ = State::kTlsAnswer;
      return std::nullopt;
    case State::kTlsAnswer:
      return on_tls_answer(input, consumed);
    case State::kTls:
      return StepKind::kStartTls;
    case State::kStartup:
      send_startup();
      return std::nullopt;
    case State::kAuthentication:
    case State::kGreeting:
      break;
    case State::kEnded:
      return StepKind::kFailed;
  }

  if (!input.empty() && !is_backend_type(input[0])) {
    return fail(violation("the server does not speak PostgreSQL's protocol"), false);
  }
  FrameHeader header;
  const bool authentication = !input.empty() && input[0] == backend::kAuthentication;
  switch (read_frame_header(input, authentication ? kMaxAuthenticationRequest : kMaxBody, header)) {
    case FrameStatus::kNeedMore:
      return StepKind::kNeedMore;
    case FrameStatus::kMalformed:
      return fail(violation("the server sent a message of invalid length during login"), false);
    case FrameStatus::kComplete:
      break;
  }
  if (input.size() < header.frame_size()) return StepKind::kNeedMore;
  consumed = header.frame_size();
  return on_message(header.type, input.substr(kFrameHeaderSize, header.body_size));
}

std::optional<StepKind> ServerLogin::Impl::on_tls_answer(std::string_view input,
                                                         std::size_t& consumed) {
  if (input.empty()) return StepKind::kNeedMore;
  consumed = 1;
  switch (input[0]) {
    case 'S':
      // What came with the answer in plain text was not the server's (CVE-2021-23222).
      if (input.size() > 1) {
        return fail(violation("the server sent unencrypted data after its answer to SSLRequest"),
                    false);
      }
      state_ = State::kTls;
      return std::nullopt;
    case 'N':
      if (config_.tls >= SslMode::kRequire) {
        return fail(refusal("the server does not support SSL, but server_tls_sslmode requires it"),
                    true);
      }
      state_ = State::kStartup;
      return std::nullopt;
    default:
      // An 'E' here may be anybody's words: it is not shown (CVE-2024-10977).
      return fail(violation("the server gave an invalid answer to SSLRequest"), false);
  }
}

void ServerLogin::Impl::send_startup() {
  std::vector<StartupParameter> parameters;
  parameters.reserve(config_.parameters.size() + 2);
  parameters.emplace_back("user", config_.credentials.user);
  parameters.emplace_back("database", config_.database);
  for (const auto& [name, value] : config_.parameters) parameters.emplace_back(name, value);
  append_startup(out_, parameters, kProtocolVersion30 + config_.protocol_minor);
  greeting_.protocol_minor = config_.protocol_minor;
  state_ = State::kAuthentication;
}

std::optional<StepKind> ServerLogin::Impl::on_message(char type, std::string_view body) {
  switch (type) {
    case backend::kErrorResponse:
      return on_error_response(body);
    case backend::kNoticeResponse:
      return std::nullopt;
    case backend::kNegotiateProtocolVersion:
      return on_negotiation(body);
    case backend::kAuthentication:
      return on_authentication(body);
    default:
      break;
  }
  if (state_ == State::kGreeting) return on_greeting(type, body);
  return fail(violation("the server sent an unexpected message during authentication"), false);
}

std::optional<StepKind> ServerLogin::Impl::on_error_response(std::string_view body) {
  const Result<ErrorResponseView> view = decode_error_response(body);
  if (!view) return fail(view.error(), false);
  const Error error = view->to_error();
  return fail(error, error.code.view().starts_with("28"));
}

std::optional<StepKind> ServerLogin::Impl::on_negotiation(std::string_view body) {
  const Result<NegotiateProtocolVersionView> view = decode_negotiate_protocol_version(body);
  if (!view) return fail(view.error(), false);
  const std::uint32_t minor = view->version & 0xffff;
  if (state_ != State::kAuthentication || view->version >> 16 > 3 ||
      minor > config_.protocol_minor) {
    return fail(violation("the server negotiated a protocol version that was not asked for"),
                false);
  }
  greeting_.protocol_minor = minor;
  return std::nullopt;
}

std::optional<StepKind> ServerLogin::Impl::on_greeting(char type, std::string_view body) {
  if (type == backend::kParameterStatus) {
    const Result<ParameterStatusView> status = decode_parameter_status(body);
    if (!status) return fail(status.error(), false);
    auto& known = greeting_.parameters;
    const auto same = std::find_if(known.begin(), known.end(), [&](const auto& parameter) {
      return parameter.first == status->name;
    });
    if (same != known.end()) {
      same->second = status->value;
    } else if (known.size() < kMaxParameters) {
      known.emplace_back(status->name, status->value);
    } else {
      return fail(violation("the server reports too many parameters"), false);
    }
    return std::nullopt;
  }
  if (type == backend::kBackendKeyData) {
    const Result<BackendKeyDataView> data = decode_backend_key_data(body);
    if (!data) return fail(data.error(), false);
    greeting_.backend_pid = data->pid;
    greeting_.cancel_key = data->key;
    return std::nullopt;
  }
  if (type == backend::kReadyForQuery) {
    const Result<TransactionStatus> status = decode_ready_for_query(body);
    if (!status) return fail(status.error(), false);
    if (*status != TransactionStatus::kIdle) {
      return fail(violation("the server begins inside a transaction"), false);
    }
    state_ = State::kEnded;
    return StepKind::kReady;
  }
  return fail(violation("the server sent an unexpected message after authentication"), false);
}

// --- proof --------------------------------------------------------------------------------------

std::optional<StepKind> ServerLogin::Impl::on_authentication(std::string_view body) {
  const Result<AuthenticationView> request = decode_authentication(body);
  if (!request) return fail(request.error(), false);
  if (state_ != State::kAuthentication) {
    return fail(violation("the server sent an unexpected message after authentication"), false);
  }
  if (const Status answered = answer(*request); !answered) {
    return fail(answered.error(), answered.error().code.view().starts_with("28"));
  }
  return std::nullopt;
}

Status ServerLogin::Impl::answer(const AuthenticationView& request) {
  switch (request.code) {
    case AuthenticationCode::kOk:
      return answer_ok();
    case AuthenticationCode::kCleartextPassword:
      return answer_cleartext();
    case AuthenticationCode::kMd5Password:
      return answer_md5(request.data);
    case AuthenticationCode::kSasl:
      return answer_sasl(request);
    case AuthenticationCode::kSaslContinue:
      return answer_sasl_continue(request.data);
    case AuthenticationCode::kSaslFinal:
      if (!scram_) return violation("the server sent an unexpected SASL message");
      return scram_->on_server_final(request.data);
    default:
      return refusal("the server asks for authentication method " +
                     std::string(authentication_name(request.code)) +
                     ", which pgshunt does not support");
  }
}

Status ServerLogin::Impl::use(ServerAuthMethod method, std::string_view name) {
  if (asked_) return violation("the server asked for a second authentication");
  asked_ = true;
  greeting_.method = method;
  if ((config_.allowed_methods & method) == 0) {
    return refusal("the server asks for authentication method " + std::string(name) +
                   ", which the configuration does not allow");
  }
  // Only SCRAM can bind the proof to this TLS connection.
  if (config_.channel_binding == ChannelBindingMode::kRequire && method != kServerAuthScram) {
    return refusal("channel binding is required, but the server asks for " + std::string(name));
  }
  return Ok{};
}

Status ServerLogin::Impl::answer_ok() {
  if (scram_ && !scram_->server_verified()) {
    return refusal("the server ended the SCRAM exchange before it proved who it is");
  }
  if (!asked_) {
    if (const Status allowed = use(kServerAuthNone, "trust"); !allowed) return allowed;
  }
  state_ = State::kGreeting;
  return Ok{};
}

Status ServerLogin::Impl::answer_cleartext() {
  if (const Status allowed = use(kServerAuthCleartext, "password"); !allowed) return allowed;
  if (!tls_ && !config_.cleartext_without_tls) {
    return refusal("the server asks for the password in plain text over an unencrypted connection");
  }
  if (!config_.credentials.password) return no_password(config_.credentials.user);
  append_password(out_, *config_.credentials.password);
  return Ok{};
}

Status ServerLogin::Impl::answer_md5(std::string_view salt) {
  if (const Status allowed = use(kServerAuthMd5, "md5"); !allowed) return allowed;
  std::string hash = config_.credentials.md5_hash;
  if (config_.credentials.password) {
    Result<std::string> derived =
        md5_stored_hash(*config_.credentials.password, config_.credentials.user);
    if (!derived) return derived.error();
    hash = std::move(*derived);
  }
  if (hash.empty()) return no_password(config_.credentials.user);
  const Result<std::string> response = md5_response(hash, salt);
  if (!response) return response.error();
  append_password(out_, *response);
  return Ok{};
}

// As libpq chooses: the bound mechanism whenever both sides can; 'y' when we could and the server
// did not offer it, which lets a server notice that its offer was stripped.
Result<ScramBinding> ServerLogin::Impl::choose_binding(const AuthenticationView& offer) const {
  const bool able =
      tls_ && !end_point_hash_.empty() && config_.channel_binding != ChannelBindingMode::kDisable;
  if (able && offer.offers(kScramPlusMechanism)) return ScramBinding::kUsed;
  if (config_.channel_binding == ChannelBindingMode::kRequire) {
    return refusal(tls_ ? "channel binding is required, but the server did not offer it"
                        : "channel binding is required, but SSL is not in use");
  }
  if (!offer.offers(kScramMechanism)) {
    return refusal("the server offers no SASL mechanism that pgshunt supports");
  }
  return able ? ScramBinding::kServerLacks : ScramBinding::kNone;
}

Status ServerLogin::Impl::answer_sasl(const AuthenticationView& offer) {
  if (const Status allowed = use(kServerAuthScram, "scram-sha-256"); !allowed) return allowed;
  const Result<ScramBinding> binding = choose_binding(offer);
  if (!binding) return binding.error();
  if (!config_.credentials.password && !config_.credentials.scram_keys) {
    return no_password(config_.credentials.user);
  }
  scram_.emplace(*binding, end_point_hash_);
  append_sasl_initial_response(out_, scram_->mechanism(), scram_->first_message());
  return Ok{};
}

Status ServerLogin::Impl::answer_sasl_continue(std::string_view message) {
  if (!scram_) return violation("the server sent an unexpected SASL message");
  const ServerCredentials& known = config_.credentials;
  const Result<std::string> reply =
      known.password
          ? scram_->on_server_first(message, *known.password, ScramKeyCache::process_wide())
          : scram_->on_server_first(message, *known.scram_keys);
  if (!reply) return reply.error();
  append_sasl_response(out_, *reply);
  return Ok{};
}

StepKind ServerLogin::Impl::fail(Error error, bool refused) {
  error_ = std::move(error);
  refused_ = refused;
  state_ = State::kEnded;
  return StepKind::kFailed;
}

void ServerLogin::Impl::tls_established(std::string end_point_hash) {
  tls_ = true;
  end_point_hash_ = std::move(end_point_hash);
  state_ = State::kStartup;
}

ServerLogin::ServerLogin(ServerLoginConfig config)
    : impl_(std::make_unique<Impl>(std::move(config))) {}
ServerLogin::~ServerLogin() = default;
ServerLogin::ServerLogin(ServerLogin&&) noexcept = default;
ServerLogin& ServerLogin::operator=(ServerLogin&&) noexcept = default;

ServerLoginStep ServerLogin::advance(std::string_view input) { return impl_->advance(input); }
void ServerLogin::tls_established(std::string end_point_hash) {
  impl_->tls_established(std::move(end_point_hash));
}
ServerGreeting ServerLogin::take_greeting() { return std::move(impl_->greeting_); }
const Error& ServerLogin::error() const { return impl_->error_; }
bool ServerLogin::refused() const { return impl_->refused_; }

}  // namespace pgshunt
