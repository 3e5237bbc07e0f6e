// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; PostgreSQL manual, "SASL
// Authentication"), both ends, as machines over message bodies. What stands around the bodies (the
// Authentication* and SASL*Response messages) is the caller's.
//
// PostgreSQL's reading of the RFCs is followed: the user name inside the exchange is ignored (the
// startup packet's counts), authorization identities and mandatory extensions are refused, optional
// extensions are skipped, and the one channel binding is tls-server-end-point.
//
// A machine belongs to one login and one thread. The free functions may be called from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/digest.h"
#include "protocol/result.h"

namespace pgshunt {

inline constexpr std::string_view kScramMechanism = "SCRAM-SHA-256";
inline constexpr std::string_view kScramPlusMechanism = "SCRAM-SHA-256-PLUS";

// PostgreSQL's default (scram_iterations).
inline constexpr std::uint32_t kScramDefaultIterations = 4096;
// Key derivation runs on the caller's thread, 0.2 microseconds an iteration: a server that asks for
// more than this is refused rather than given the time.
inline constexpr std::uint32_t kScramMaxIterations = 1'000'000;
// PostgreSQL's limit for a SASL message (PG_MAX_SASL_MESSAGE_LENGTH).
inline constexpr std::size_t kScramMaxMessage = 1024;
// Bytes of the salts we make (SCRAM_DEFAULT_SALT_LEN).
inline constexpr std::size_t kScramSaltSize = 16;

using ScramKey = Sha256Digest;

// What a server stores of a password: enough to check a proof, not enough to make one.
struct ScramVerifier {
  std::uint32_t iterations = 0;
  std::string salt;  // raw bytes
  ScramKey stored_key{};
  ScramKey server_key{};
};

// What a client needs to make proofs without the password. Good for the servers whose stored secret
// has this salt and iteration count.
struct ScramKeys {
  std::uint32_t iterations = 0;
  std::string salt;  // raw bytes
  ScramKey client_key{};
  ScramKey server_key{};
};

// "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", the form of pg_authid.rolpassword.
// Errors do not repeat the text.
Result<ScramVerifier> parse_scram_verifier(std::string_view text);
std::string format_scram_verifier(const ScramVerifier& verifier);

// Runs SASLprep and PBKDF2: about a millisecond at the default iterations. ScramKeyCache remembers.
ScramKeys derive_scram_keys(std::string_view password, std::string_view salt,
                            std::uint32_t iterations);
ScramVerifier make_scram_verifier(const ScramKeys& keys);

// The salt shown for a user that does not exist, or whose secret is no SCRAM secret: always the
// same for one name, not to be told from a real one without `secret` (PostgreSQL's scram_MockSalt).
std::string scram_mock_salt(std::string_view secret, std::string_view user);
// A verifier no proof fits, with that salt.
ScramVerifier scram_mock_verifier(std::string_view secret, std::string_view user);

// A fresh nonce: printable, without commas.
std::string make_scram_nonce();

// The end that knows a verifier: the proxy towards a client.
class ScramServer {
 public:
  // `genuine` false: a mock; the exchange takes its course and fails at its end.
  // `end_point_hash`: tls-server-end-point data of our certificate; empty when there is no TLS or
  // SCRAM-SHA-256-PLUS was not offered. `nonce` is ours; tests pass their own.
  ScramServer(ScramVerifier verifier, bool genuine, std::string end_point_hash,
              std::string nonce = make_scram_nonce());

  // `mechanism` is the client's choice. Returns server-first-message, valid as long as the machine.
  Result<std::string_view> on_client_first(std::string_view mechanism, std::string_view message);

  // Returns server-final-message: the client is who it claims to be. 28P01 without further words
  // for a proof that does not fit; other errors are protocol violations in PostgreSQL's wording.
  Result<std::string> on_client_final(std::string_view message);

  // After on_client_final() succeeded: what the proof gave away, to log in elsewhere as this user.
  ScramKeys captured_keys() const;

 private:
  Result<std::string_view> read_gs2_header(std::string_view mechanism, std::string_view message);

  enum class State : std::uint8_t { kFirst, kFinal, kDone, kFailed };
  State state_ = State::kFirst;
  bool genuine_;
  bool bound_ = false;  // SCRAM-SHA-256-PLUS was selected
  ScramVerifier verifier_;
  std::string end_point_hash_;
  std::string nonce_;             // ours; from kFinal on the client's and ours
  std::string expected_binding_;  // what c= must be, in base64
  std::string client_first_bare_;
  std::string server_first_;
  ScramKey client_key_{};
};

// What the client's end says about channel binding (RFC 5802, section 6).
enum class ScramBinding : std::uint8_t {
  kNone,         // 'n': not supported or not wanted
  kServerLacks,  // 'y': we could, the server did not offer it; catches a stripped offer
  kUsed,         // 'p=tls-server-end-point', goes with SCRAM-SHA-256-PLUS
};

class ScramKeyCache;

// The end that proves itself: the proxy towards a server.
class ScramClient {
 public:
  // `end_point_hash` is used with kUsed only. `nonce` is ours; tests pass their own. `user` goes
  // into the exchange; PostgreSQL ignores it and its clients send none.
  ScramClient(ScramBinding binding, std::string end_point_hash,
              std::string nonce = make_scram_nonce(), std::string_view user = {});

  // SCRAM-SHA-256 or SCRAM-SHA-256-PLUS.
  std::string_view mechanism() const;
  // client-first-message.
  std::string first_message() const;

  // server-first-message with what we know: the password (key derivation goes through `cache`) ...
  Result<std::string> on_server_first(std::string_view message, std::string_view password,
                                      ScramKeyCache& cache);
  // ... or keys. They are refused if the server's salt or iteration count is not theirs.
  Result<std::string> on_server_first(std::string_view message, const ScramKeys& keys);

  // server-final-message: the server knows the verifier too.
  Status on_server_final(std::string_view message);
  // True once on_server_final() succeeded: until then an AuthenticationOk proves nothing.
  bool server_verified() const { return state_ == State::kDone; }

 private:
  struct ServerFirst {
    std::string_view nonce;
    std::string salt;
    std::uint32_t iterations = 0;
  };
  Result<ServerFirst> read_server_first(std::string_view message) const;
  std::string prove(std::string_view message, const ServerFirst& first, const ScramKeys& keys);

  enum class State : std::uint8_t { kFirst, kFinal, kDone, kFailed };
  State state_ = State::kFirst;
  ScramBinding binding_;
  std::string end_point_hash_;
  std::string nonce_;
  std::string first_bare_;
  Sha256Digest server_signature_{};  // expected
};

}  // namespace pgshunt
