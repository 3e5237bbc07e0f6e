#include "protocol/scram.h"

#include <charconv>
#include <utility>

#include "protocol/base64.h"
#include "protocol/saslprep.h"
#include "protocol/scram_attributes.h"
#include "protocol/scram_key_cache.h"

namespace pgshunt {
namespace {

constexpr std::string_view kVerifierPrefix = "SCRAM-SHA-256$";
constexpr std::string_view kBindingHeader = "p=tls-server-end-point,,";
constexpr std::size_t kRawNonceSize = 18;  // PostgreSQL's SCRAM_RAW_NONCE_LEN

Error violation(std::string message) {
  return {sqlstate::kProtocolViolation, std::move(message), {}};
}

// One wording for every way a proof can be wrong, so that none can be told from another; the owner
// puts the user's name to it.
Error wrong_proof() { return {sqlstate::kInvalidPassword, "password authentication failed", {}}; }

bool decode_key(std::string_view text, ScramKey& out) {
  std::string raw;
  if (!decode_base64(text, raw) || raw.size() != out.size()) return false;
  raw.copy(reinterpret_cast<char*>(out.data()), raw.size());
  return true;
}

// Digits only, 1 to kScramMaxIterations.
bool read_iterations(std::string_view text, std::uint32_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && out >= 1 &&
         out <= kScramMaxIterations;
}

ScramKey exclusive_or(const ScramKey& a, const ScramKey& b) {
  ScramKey out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = a[i] ^ b[i];
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

}  // namespace

Result<ScramVerifier> parse_scram_verifier(std::string_view text) {
  const Error malformed{sqlstate::kInvalidTextRepresentation, "malformed SCRAM-SHA-256 secret", {}};
  if (!text.starts_with(kVerifierPrefix)) return malformed;
  text.remove_prefix(kVerifierPrefix.size());
  const std::size_t dollar = text.find('$');
  if (dollar == std::string_view::npos) return malformed;
  const std::string_view cost = text.substr(0, dollar);
  const std::string_view keys = text.substr(dollar + 1);
  const std::size_t cost_colon = cost.find(':');
  const std::size_t keys_colon = keys.find(':');
  if (cost_colon == std::string_view::npos || keys_colon == std::string_view::npos) {
    return malformed;
  }

  ScramVerifier verifier;
  if (!read_iterations(cost.substr(0, cost_colon), verifier.iterations) ||
      !decode_base64(cost.substr(cost_colon + 1), verifier.salt) || verifier.salt.empty() ||
      !decode_key(keys.substr(0, keys_colon), verifier.stored_key) ||
      !decode_key(keys.substr(keys_colon + 1), verifier.server_key)) {
    return malformed;
  }
  return verifier;
}

std::string format_scram_verifier(const ScramVerifier& verifier) {
  std::string out(kVerifierPrefix);
  out += std::to_string(verifier.iterations);
  out += ':';
  append_base64(out, verifier.salt);
  out += '$';
  append_base64(out, as_view(verifier.stored_key));
  out += ':';
  append_base64(out, as_view(verifier.server_key));
  return out;
}

ScramKeys derive_scram_keys(std::string_view password, std::string_view salt,
                            std::uint32_t iterations) {
  const Sha256Digest salted = pbkdf2_sha256(saslprep(password), salt, iterations);
  return {iterations, std::string(salt), hmac_sha256(salted, {"Client Key"}),
          hmac_sha256(salted, {"Server Key"})};
}

ScramVerifier make_scram_verifier(const ScramKeys& keys) {
  return {keys.iterations, keys.salt, sha256({as_view(keys.client_key)}), keys.server_key};
}

std::string scram_mock_salt(std::string_view secret, std::string_view user) {
  const Sha256Digest digest = sha256({user, secret});
  return std::string(as_view(digest).substr(0, kScramSaltSize));
}

ScramVerifier scram_mock_verifier(std::string_view secret, std::string_view user) {
  return {kScramDefaultIterations, scram_mock_salt(secret, user), {}, {}};
}

std::string make_scram_nonce() {
  std::array<std::uint8_t, kRawNonceSize> raw;
  fill_random(raw);
  return base64(as_view(raw));
}

// --- server -----------------------------------------------------------------------------------

ScramServer::ScramServer(ScramVerifier verifier, bool genuine, std::string end_point_hash,
                         std::string nonce)
    : genuine_(genuine),
      verifier_(std::move(verifier)),
      end_point_hash_(std::move(end_point_hash)),
      nonce_(std::move(nonce)) {}

// Checks "<flag>,<authzid>," and notes what the client must repeat, with the binding's data, in
// c=. Returns what follows.
Result<std::string_view> ScramServer::read_gs2_header(std::string_view mechanism,
                                                      std::string_view message) {
  bound_ = mechanism == kScramPlusMechanism;
  const char flag = message.empty() ? '\0' : message[0];
  std::string_view rest;
  switch (flag) {
    case 'n':
    case 'y':
      if (bound_) {
        return violation(
            "malformed SCRAM message: the client selected SCRAM-SHA-256-PLUS, but its message does "
            "not include channel binding data");
      }
      if (flag == 'y' && !end_point_hash_.empty()) {
        // Somebody took the offer of SCRAM-SHA-256-PLUS out of our list.
        return Error{sqlstate::kInvalidAuthorization,
                     "SCRAM channel binding negotiation error: the client supports SCRAM channel "
                     "binding but thinks the server does not; however, this server does",
                     {}};
      }
      rest = message.substr(1);
      break;
    case 'p': {
      if (!bound_) {
        return violation(
            "malformed SCRAM message: the client selected SCRAM-SHA-256 without channel binding, "
            "but its message includes channel binding data");
      }
      const std::string_view name = kBindingHeader.substr(0, kBindingHeader.size() - 2);
      if (!message.starts_with(name) || message.substr(name.size(), 1) != ",") {
        return violation("unsupported SCRAM channel-binding type");
      }
      rest = message.substr(name.size());
      break;
    }
    default:
      return violation("malformed SCRAM message: unexpected channel-binding flag");
  }
  if (rest.starts_with(",a")) {
    return Error{sqlstate::kFeatureNotSupported,
                 "client uses authorization identity, but it is not supported",
                 {}};
  }
  if (!rest.starts_with(",,")) {
    return violation("malformed SCRAM message: two commas expected after channel-binding flag");
  }
  rest.remove_prefix(2);

  std::string binding(message.substr(0, message.size() - rest.size()));
  if (bound_) binding += end_point_hash_;
  expected_binding_ = base64(binding);
  return rest;
}

Result<std::string_view> ScramServer::on_client_first(std::string_view mechanism,
                                                      std::string_view message) {
  if (state_ != State::kFirst) return violation("unexpected SCRAM message");
  state_ = State::kFailed;
  if (mechanism != kScramMechanism &&
      !(mechanism == kScramPlusMechanism && !end_point_hash_.empty())) {
    return violation("client selected an invalid SASL authentication mechanism");
  }
  if (message.size() > kScramMaxMessage) return violation("SCRAM message is too long");
  if (!scram_message_is_text(message)) {
    return violation("malformed SCRAM message: length mismatch");
  }

  const Result<std::string_view> bare = read_gs2_header(mechanism, message);
  if (!bare) return bare.error();
  if (bare->starts_with("m=")) {
    return Error{
        sqlstate::kFeatureNotSupported, "client requires an unsupported SCRAM extension", {}};
  }
  ScramAttributes attributes(*bare);
  std::string_view user;
  std::string_view client_nonce;
  if (!attributes.read('n', user) || !attributes.read('r', client_nonce) ||
      !attributes.skip_rest()) {
    return violation("malformed SCRAM message in client-first-message");
  }
  if (client_nonce.empty() || !scram_nonce_is_printable(client_nonce)) {
    return violation("non-printable characters in SCRAM nonce");
  }

  client_first_bare_ = *bare;
  nonce_.insert(0, client_nonce);
  server_first_ =
      "r=" + nonce_ + ",s=" + base64(verifier_.salt) + ",i=" + std::to_string(verifier_.iterations);
  state_ = State::kFinal;
  return std::string_view(server_first_);
}

Result<std::string> ScramServer::on_client_final(std::string_view message) {
  if (state_ != State::kFinal) return violation("unexpected SCRAM message");
  state_ = State::kFailed;
  if (message.size() > kScramMaxMessage) return violation("SCRAM message is too long");
  if (!scram_message_is_text(message)) {
    return violation("malformed SCRAM message: length mismatch");
  }

  ScramAttributes attributes(message);
  std::string_view binding;
  std::string_view nonce;
  if (!attributes.read('c', binding) || !attributes.read('r', nonce)) {
    return violation("malformed SCRAM message in client-final-message");
  }
  std::string_view proof_text;
  std::string_view without_proof;
  if (!attributes.read_last('p', proof_text, without_proof)) {
    return violation("malformed SCRAM message: proof expected at end of client-final-message");
  }
  ScramKey proof;
  if (!decode_key(proof_text, proof)) {
    return violation("malformed SCRAM message: malformed proof in client-final-message");
  }
  if (!equal_constant_time(binding, expected_binding_)) {
    if (bound_) {
      return Error{sqlstate::kInvalidAuthorization, "SCRAM channel binding check failed", {}};
    }
    return violation("unexpected SCRAM channel-binding attribute in client-final-message");
  }
  if (!equal_constant_time(nonce, nonce_)) {
    return violation("invalid SCRAM response: nonce does not match");
  }

  const DigestParts auth_message = {client_first_bare_, ",", server_first_, ",", without_proof};
  client_key_ = exclusive_or(proof, hmac_sha256(verifier_.stored_key, auth_message));
  const Sha256Digest stored = sha256({as_view(client_key_)});
  // A mock takes the same steps and fails here, at the same time as a wrong password.
  const bool fits = equal_constant_time(as_view(stored), as_view(verifier_.stored_key));
  if (!fits || !genuine_) return wrong_proof();

  state_ = State::kDone;
  return "v=" + base64(as_view(hmac_sha256(verifier_.server_key, auth_message)));
}

ScramKeys ScramServer::captured_keys() const {
  assert(state_ == State::kDone);
  return {verifier_.iterations, verifier_.salt, client_key_, verifier_.server_key};
}

// --- client -----------------------------------------------------------------------------------

ScramClient::ScramClient(ScramBinding binding, std::string end_point_hash, std::string nonce,
                         std::string_view user)
    : binding_(binding), end_point_hash_(std::move(end_point_hash)), nonce_(std::move(nonce)) {
  first_bare_ = "n=";
  for (const char c : user) {  // saslname, RFC 5802 section 5.1
    if (c == '=') {
      first_bare_ += "=3D";
    } else if (c == ',') {
      first_bare_ += "=2C";
    } else {
      first_bare_ += c;
    }
  }
  first_bare_ += ",r=" + nonce_;
}

std::string_view ScramClient::mechanism() const {
  return binding_ == ScramBinding::kUsed ? kScramPlusMechanism : kScramMechanism;
}

namespace {
std::string_view gs2_header(ScramBinding binding) {
  switch (binding) {
    case ScramBinding::kNone:
      return "n,,";
    case ScramBinding::kServerLacks:
      return "y,,";
    case ScramBinding::kUsed:
      break;
  }
  return kBindingHeader;
}
}  // namespace

std::string ScramClient::first_message() const {
  return std::string(gs2_header(binding_)) + first_bare_;
}

Result<ScramClient::ServerFirst> ScramClient::read_server_first(std::string_view message) const {
  if (state_ != State::kFirst) return violation("unexpected SCRAM message from the server");
  // A server's salt may be long, but not this long.
  if (message.size() > kScramMaxMessage || !scram_message_is_text(message)) {
    return violation("malformed SCRAM message from the server");
  }
  ServerFirst first;
  ScramAttributes attributes(message);
  std::string_view salt;
  std::string_view iterations;
  if (!attributes.read('r', first.nonce) || !attributes.read('s', salt) ||
      !attributes.read('i', iterations) || !attributes.skip_rest()) {
    return violation("malformed SCRAM message from the server");
  }
  // The server must add to our nonce, or it could replay an old exchange.
  if (!first.nonce.starts_with(nonce_) || first.nonce.size() == nonce_.size() ||
      !scram_nonce_is_printable(first.nonce)) {
    return violation("invalid SCRAM response from the server: nonce mismatch");
  }
  if (!decode_base64(salt, first.salt) || first.salt.empty()) {
    return violation("malformed SCRAM message from the server: invalid salt");
  }
  if (!read_iterations(iterations, first.iterations)) {
    return violation("malformed SCRAM message from the server: invalid iteration count");
  }
  return first;
}

Result<std::string> ScramClient::on_server_first(std::string_view message,
                                                 std::string_view password, ScramKeyCache& cache) {
  const Result<ServerFirst> first = read_server_first(message);
  if (!first) {
    state_ = State::kFailed;
    return first.error();
  }
  return prove(message, *first, cache.get(password, first->salt, first->iterations));
}

Result<std::string> ScramClient::on_server_first(std::string_view message, const ScramKeys& keys) {
  const Result<ServerFirst> first = read_server_first(message);
  if (!first) {
    state_ = State::kFailed;
    return first.error();
  }
  if (first->salt != keys.salt || first->iterations != keys.iterations) {
    state_ = State::kFailed;
    return Error{sqlstate::kInvalidPassword,
                 "the server's SCRAM secret is not the one the client proved to know",
                 "The server and the source of the proxy's secrets must store the same SCRAM "
                 "secret, salt included, or the proxy must know the password."};
  }
  return prove(message, *first, keys);
}

std::string ScramClient::prove(std::string_view message, const ServerFirst& first,
                               const ScramKeys& keys) {
  std::string out = "c=";
  if (binding_ == ScramBinding::kUsed) {
    append_base64(out, std::string(kBindingHeader) + end_point_hash_);
  } else {
    append_base64(out, gs2_header(binding_));
  }
  out += ",r=";
  out += first.nonce;

  const DigestParts auth_message = {first_bare_, ",", message, ",", out};
  const Sha256Digest stored_key = sha256({as_view(keys.client_key)});
  const ScramKey proof = exclusive_or(keys.client_key, hmac_sha256(stored_key, auth_message));
  server_signature_ = hmac_sha256(keys.server_key, auth_message);

  out += ",p=";
  append_base64(out, as_view(proof));
  state_ = State::kFinal;
  return out;
}

Status ScramClient::on_server_final(std::string_view message) {
  if (state_ != State::kFinal) return violation("unexpected SCRAM message from the server");
  state_ = State::kFailed;
  ScramAttributes attributes(message);
  std::string_view value;
  if (message.starts_with("e=")) {
    return Error{sqlstate::kInvalidPassword, "the server reports a SCRAM error", {}};
  }
  ScramKey signature;
  if (message.size() > kScramMaxMessage || !attributes.read('v', value) ||
      !attributes.skip_rest() || !decode_key(value, signature)) {
    return violation("malformed SCRAM message from the server: invalid server signature");
  }
  if (!equal_constant_time(as_view(signature), as_view(server_signature_))) {
    return Error{sqlstate::kInvalidPassword,
                 "the server does not know the user's secret: its SCRAM signature is wrong",
                 {}};
  }
  state_ = State::kDone;
  return Ok{};
}

}  // namespace pgshunt
