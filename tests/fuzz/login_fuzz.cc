// Both logins fed with whatever a peer might send, in pieces.
//
// The first byte chooses the machine and its policy, the second the size of the pieces. What must
// hold: a machine comes to its end or asks for more, never consumes what it was not given, never
// sends without end, and lets nobody in who does not know the password.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/scram.h"
#include "proxy/auth/client_login.h"
#include "proxy/auth/server_login.h"
#include "proxy/auth/userlist.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const ClientLoginPolicy> make_policy(std::uint8_t choice) {
  constexpr AuthMethod kMethods[] = {AuthMethod::kPassword, AuthMethod::kMd5,
                                     AuthMethod::kScramSha256, AuthMethod::kCert};
  HbaRule rule;
  rule.databases = {"all"};
  rule.users = {"all"};
  rule.address = "all";
  rule.method = kMethods[choice & 3];
  rule.origin = "fuzz:1";
  auto policy = std::make_shared<ClientLoginPolicy>();
  policy->hba = std::make_shared<const Hba>(std::vector<HbaRule>{rule});
  auto users = std::make_shared<UserTable>();
  // Nothing an input could contain.
  users->add("alice", make_scram_nonce());
  users->add("bob",
             "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
             "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
             "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
  policy->users = users;
  policy->tls = (choice & 4) != 0 ? SslMode::kAllow : SslMode::kDisable;
  policy->lookup_unknown_users = (choice & 8) != 0;
  policy->cleartext_without_tls = true;
  policy->mock_secret = make_mock_secret("fuzz");
  return policy;
}

void feed_client_login(std::uint8_t choice, std::size_t piece, std::string_view input) {
  static const std::shared_ptr<const ClientLoginPolicy> policies[16] = {
      make_policy(0),  make_policy(1),  make_policy(2),  make_policy(3),
      make_policy(4),  make_policy(5),  make_policy(6),  make_policy(7),
      make_policy(8),  make_policy(9),  make_policy(10), make_policy(11),
      make_policy(12), make_policy(13), make_policy(14), make_policy(15)};
  ClientLogin login(policies[choice & 15], ClientPeer{});
  std::string buffer;
  for (;;) {
    const ClientLoginStep step = login.advance(buffer);
    check(step.consumed <= buffer.size());
    check(step.send.size() < 64 * 1024);
    buffer.erase(0, step.consumed);
    switch (step.kind) {
      case ClientLoginStepKind::kNeedMore:
        check(buffer.size() < kMaxClientLoginMessage);
        if (input.empty()) return;
        buffer += input.substr(0, piece);
        input.remove_prefix(std::min(piece, input.size()));
        break;
      case ClientLoginStepKind::kStartTls:
        check(buffer.empty() || step.send.empty());  // a handshake of the client's own
        buffer.clear();
        login.tls_established("hash", "");
        break;
      case ClientLoginStepKind::kLookupSecret:
        login.secret_not_found();
        break;
      case ClientLoginStepKind::kAccepted:
        std::abort();
      case ClientLoginStepKind::kReject:
        check(!login.error().message.empty());
        check(!step.send.empty());
        return;
      case ClientLoginStepKind::kCancel:
        check(login.cancel_key().size() >= 4);
        return;
      case ClientLoginStepKind::kClose:
        return;
    }
  }
}

void feed_server_login(std::uint8_t choice, std::size_t piece, std::string_view input) {
  ServerLoginConfig config;
  config.credentials.user = "alice";
  config.credentials.password = "secret";
  config.database = "shop";
  config.tls = (choice & 1) != 0 ? SslMode::kPrefer : SslMode::kDisable;
  config.protocol_minor = (choice & 2) != 0 ? 2 : 0;
  // Without the password's derivation, which would be all the fuzzer's time.
  config.allowed_methods = kServerAuthAny;
  config.cleartext_without_tls = true;
  if ((choice & 4) != 0) {
    config.credentials.password.reset();
    config.credentials.scram_keys = ScramKeys{4096, "salt", {}, {}};
  }
  ServerLogin login(std::move(config));
  std::string buffer;
  for (;;) {
    const ServerLoginStep step = login.advance(buffer);
    check(step.consumed <= buffer.size());
    check(step.send.size() < 64 * 1024);
    buffer.erase(0, step.consumed);
    switch (step.kind) {
      case ServerLoginStepKind::kNeedMore:
        check(buffer.size() < kMaxServerLoginMessage);
        if (input.empty()) return;
        buffer += input.substr(0, piece);
        input.remove_prefix(std::min(piece, input.size()));
        break;
      case ServerLoginStepKind::kStartTls:
        check(buffer.empty());
        login.tls_established("hash");
        break;
      case ServerLoginStepKind::kReady:
        check(login.take_greeting().parameters.size() <= 1000);
        return;
      case ServerLoginStepKind::kFailed:
        check(!login.error().code.view().empty());
        return;
    }
  }
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t piece = data[1] == 0 ? input.size() + 1 : data[1];
  const auto choice = static_cast<std::uint8_t>(data[0] >> 1);
  if (data[0] % 2 == 0) {
    pgshunt::feed_client_login(choice, piece, input);
  } else {
    pgshunt::feed_server_login(choice, piece, input);
  }
  return 0;
}
