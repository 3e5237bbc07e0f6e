// What the tests of both logins share: policies, and a wire between a client login and a server
// login, which are each other's peers.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/backend.h"
#include "proxy/auth/client_login.h"
#include "proxy/auth/server_login.h"
#include "proxy/auth/userlist.h"

namespace pgshunt::test {

inline HbaRule rule_for_all(AuthMethod method) {
  HbaRule rule;
  rule.databases = {"all"};
  rule.users = {"all"};
  rule.address = "all";
  rule.method = method;
  rule.origin = "pgshunt.toml:7";
  return rule;
}

// One rule for everybody and one user; a null secret leaves the user unknown.
inline std::shared_ptr<ClientLoginPolicy> make_policy(AuthMethod method, const char* secret,
                                                      const std::string& user = "alice") {
  auto policy = std::make_shared<ClientLoginPolicy>();
  policy->hba = std::make_shared<const Hba>(std::vector<HbaRule>{rule_for_all(method)});
  auto users = std::make_shared<UserTable>();
  if (secret != nullptr) users->add(user, secret);
  policy->users = users;
  policy->mock_secret = make_mock_secret("test");
  policy->cleartext_without_tls = true;
  return policy;
}

inline ServerLoginConfig make_server_config(const std::string& password) {
  ServerLoginConfig config;
  config.credentials.user = "alice";
  config.credentials.password = password;
  config.database = "shop";
  config.tls = SslMode::kDisable;
  config.cleartext_without_tls = true;
  return config;
}

// Lets a ServerLogin (the proxy as a client) log in to a ClientLogin (the proxy as a server).
struct LoginPair {
  std::shared_ptr<const ClientLoginPolicy> policy;
  ServerLoginConfig config;
  std::string certificate_hash = "hash of the certificate";
  std::string certificate_hash_seen = certificate_hash;
  // May change bytes under way, to the proxy's front (true) or from it.
  std::function<void(bool to_client_login, std::string& bytes)> tamper = [](bool, std::string&) {};
  std::size_t piece = 0;  // most bytes handed over at once; 0: all there are
  const char* looked_up = nullptr;

  struct Outcome {
    bool accepted = false;  // by the front
    bool ready = false;     // by the one who logs in
    AuthenticatedClient client;
    ServerGreeting greeting;
    Error front_error;
    Error error;
    std::string transcript;  // of all bytes of both directions
  };

  Outcome run() const {
    Outcome out;
    ClientLogin front(policy, ClientPeer{});
    ServerLogin back(config);
    std::string to_front, to_back;        // under way
    std::string front_input, back_input;  // arrived
    bool front_open = true;
    bool back_open = true;
    const auto arrive = [&](std::string& from, std::string& to) {
      const std::size_t take = piece == 0 ? from.size() : std::min(piece, from.size());
      to += from.substr(0, take);
      from.erase(0, take);
    };
    const auto send = [&](std::string_view bytes, bool to_front_side, std::string& to) {
      std::string copy(bytes);
      out.transcript += copy;
      if (!copy.empty()) tamper(to_front_side, copy);
      to += copy;
    };
    for (int turn = 0; turn < 5000 && (back_open || front_open); ++turn) {
      if (back_open) {
        arrive(to_back, back_input);
        const ServerLoginStep step = back.advance(back_input);
        EXPECT_LE(step.consumed, back_input.size());
        back_input.erase(0, step.consumed);
        send(step.send, true, to_front);
        if (step.kind == ServerLoginStepKind::kStartTls) {
          back.tls_established(certificate_hash_seen);
        } else if (step.kind == ServerLoginStepKind::kReady) {
          out.ready = true;
          out.greeting = back.take_greeting();
          back_open = false;
        } else if (step.kind == ServerLoginStepKind::kFailed) {
          out.error = back.error();
          back_open = false;
        }
      }
      if (front_open) {
        arrive(to_front, front_input);
        const ClientLoginStep step = front.advance(front_input);
        EXPECT_LE(step.consumed, front_input.size());
        front_input.erase(0, step.consumed);
        send(step.send, false, to_back);
        switch (step.kind) {
          case ClientLoginStepKind::kNeedMore:
            break;
          case ClientLoginStepKind::kStartTls:
            front.tls_established(certificate_hash, {});
            break;
          case ClientLoginStepKind::kLookupSecret:
            if (looked_up != nullptr) {
              front.secret_found(looked_up);
            } else {
              front.secret_not_found();
            }
            break;
          case ClientLoginStepKind::kAccepted: {
            out.accepted = true;
            out.client = front.take_client();
            front_open = false;
            std::string rest;
            append_parameter_status(rest, "server_version", "15.0");
            append_parameter_status(rest, "TimeZone", "UTC");
            append_parameter_status(rest, "TimeZone", "Europe/Riga");
            append_backend_key_data(rest, 4711, "k3y!");
            append_ready_for_query(rest, TransactionStatus::kIdle);
            to_back += rest;
            break;
          }
          case ClientLoginStepKind::kReject:
            out.front_error = front.error();
            [[fallthrough]];
          case ClientLoginStepKind::kCancel:
          case ClientLoginStepKind::kClose:
            front_open = false;
            break;
        }
      }
    }
    return out;
  }
};

}  // namespace pgshunt::test
