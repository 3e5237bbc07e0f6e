// What authentication costs: one step of a login at a time, in nanoseconds of CPU. Sockets are not
// part of it.
//   auth_bench [rounds]
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "protocol/digest.h"
#include "protocol/md5_auth.h"
#include "protocol/scram.h"
#include "protocol/scram_key_cache.h"
#include "proxy/auth/client_login.h"
#include "proxy/auth/server_login.h"
#include "proxy/auth/userlist.h"

namespace pgshunt {
namespace {

double cpu_nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

template <class Work>
void measure(const char* name, int rounds, const Work& work) {
  work();  // first use fetches algorithms and fills caches
  const double begin = cpu_nanoseconds();
  for (int i = 0; i < rounds; ++i) work();
  std::printf("%-44s %12.0f ns\n", name, (cpu_nanoseconds() - begin) / rounds);
}

std::shared_ptr<const ClientLoginPolicy> make_policy(AuthMethod method, const std::string& secret) {
  HbaRule rule;
  rule.databases = {"all"};
  rule.users = {"all"};
  rule.address = "all";
  rule.method = method;
  auto policy = std::make_shared<ClientLoginPolicy>();
  policy->hba = std::make_shared<const Hba>(std::vector<HbaRule>{rule});
  auto users = std::make_shared<UserTable>();
  users->add("alice", secret);
  policy->users = users;
  policy->mock_secret = make_mock_secret("bench");
  policy->cleartext_without_tls = true;
  return policy;
}

// Both ends of one login; the front's share is measured apart by the caller through `front`.
void log_in(const std::shared_ptr<const ClientLoginPolicy>& policy, const ServerLoginConfig& config,
            double* front_nanoseconds) {
  ClientLogin front(policy, ClientPeer{});
  ServerLogin back(config);
  std::string to_front, to_back;
  for (;;) {
    const ServerLoginStep asked = back.advance(to_back);
    to_back.clear();
    to_front = asked.send;
    if (asked.kind == ServerLoginStepKind::kFailed) std::abort();
    const double begin = cpu_nanoseconds();
    const ClientLoginStep step = front.advance(to_front);
    *front_nanoseconds += cpu_nanoseconds() - begin;
    to_back = step.send;
    if (step.kind == ClientLoginStepKind::kAccepted) return;
    if (step.kind != ClientLoginStepKind::kNeedMore) std::abort();
  }
}

void measure_login(const char* name, int rounds, AuthMethod method, const std::string& secret,
                   const ServerLoginConfig& config) {
  const auto policy = make_policy(method, secret);
  double front = 0;
  log_in(policy, config, &front);
  front = 0;
  const double begin = cpu_nanoseconds();
  for (int i = 0; i < rounds; ++i) log_in(policy, config, &front);
  const double both = cpu_nanoseconds() - begin;
  std::printf("%-44s %12.0f ns, client's way in %.0f ns (with three clock readings)\n", name,
              both / rounds, front / rounds);
}

void run(int rounds) {
  ScramKey key{};
  const std::string text(180, 'x');
  std::string digits;
  measure("SHA-256 of 32 bytes", rounds, [&] { key = sha256({as_view(key)}); });
  measure("HMAC-SHA-256 of 180 bytes", rounds, [&] { key = hmac_sha256(key, {text}); });
  measure("MD5 of 180 bytes", rounds, [&] { md5_hex({text}, digits); });
  measure("a fresh nonce", rounds, [&] { (void)make_scram_nonce(); });
  measure("keys derived, 4096 iterations", rounds / 1000 + 1,
          [&] { key = derive_scram_keys("password", text.substr(0, 16), 4096).client_key; });
  ScramKeyCache cache;
  measure("keys remembered", rounds,
          [&] { key = cache.get("password", "0123456789abcdef", 4096).client_key; });

  const ScramKeys keys = derive_scram_keys("password", "0123456789abcdef", 4096);
  const ScramVerifier verifier = make_scram_verifier(keys);
  const ScramClient client(ScramBinding::kNone, {});
  const std::string first = client.first_message();
  measure("SCRAM server: challenge", rounds, [&] {
    ScramServer server(verifier, true, {});
    if (!server.on_client_first(kScramMechanism, first)) std::abort();
  });
  measure("SCRAM both ends, keys known", rounds, [&] {
    ScramServer server(verifier, true, {});
    ScramClient other(ScramBinding::kNone, {});
    const auto challenge = server.on_client_first(kScramMechanism, other.first_message());
    const auto proof = other.on_server_first(*challenge, keys);
    if (!other.on_server_final(*server.on_client_final(*proof)).ok()) std::abort();
  });

  ServerLoginConfig config;
  config.credentials.user = "alice";
  config.credentials.password = "password";
  config.database = "shop";
  config.tls = SslMode::kDisable;
  config.cleartext_without_tls = true;
  measure_login("login, both ends: trust", rounds, AuthMethod::kTrust, "password", config);
  measure_login("login, both ends: md5", rounds, AuthMethod::kMd5,
                *md5_stored_hash("password", "alice"), config);
  measure_login("login, both ends: SCRAM, plain password", rounds, AuthMethod::kScramSha256,
                "password", config);
  measure_login("login, both ends: SCRAM, stored secret", rounds, AuthMethod::kScramSha256,
                format_scram_verifier(verifier), config);
}

}  // namespace
}  // namespace pgshunt

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20'000;
  pgshunt::run(rounds < 1 ? 1 : rounds);
  return 0;
}
