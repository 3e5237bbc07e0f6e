// Both logins against each other: every method, split at every byte, altered at every byte.
#include "protocol/digest.h"
#include "protocol/md5_auth.h"
#include "protocol/scram_key_cache.h"
#include "tests/proxy/auth_login_support.h"

namespace pgshunt::test {
namespace {

constexpr const char* kPassword = "correct horse";

std::string scram_secret() {
  static const std::string secret = format_scram_verifier(
      make_scram_verifier(derive_scram_keys(kPassword, "sixteen bytes..!", 64)));
  return secret;
}
std::string md5_secret() { return *md5_stored_hash(kPassword, "alice"); }

LoginPair make_pair(AuthMethod method, const std::string& secret, const char* password,
                    bool tls = false) {
  LoginPair pair;
  auto policy = make_policy(method, secret.c_str());
  policy->tls = tls ? SslMode::kRequire : SslMode::kDisable;
  pair.policy = policy;
  pair.config = make_server_config(password);
  pair.config.tls = policy->tls;
  return pair;
}

struct Combination {
  AuthMethod method;
  std::string secret;
};

std::vector<Combination> combinations_that_work() {
  return {{AuthMethod::kTrust, ""},
          {AuthMethod::kTrust, kPassword},
          {AuthMethod::kPassword, kPassword},
          {AuthMethod::kPassword, md5_secret()},
          {AuthMethod::kPassword, scram_secret()},
          {AuthMethod::kMd5, kPassword},
          {AuthMethod::kMd5, md5_secret()},
          {AuthMethod::kMd5, scram_secret()},  // becomes SCRAM
          {AuthMethod::kScramSha256, kPassword},
          {AuthMethod::kScramSha256, scram_secret()}};
}

TEST(LoginPair, EveryMethodTakesEverySecretItCan) {
  for (const bool tls : {false, true}) {
    for (const Combination& c : combinations_that_work()) {
      const auto out = make_pair(c.method, c.secret, kPassword, tls).run();
      EXPECT_TRUE(out.accepted && out.ready) << c.secret << ": " << out.error.message;
      EXPECT_EQ(out.client.user, "alice");
      EXPECT_EQ(out.client.database, "shop");
      EXPECT_EQ(out.client.method, c.method);
    }
  }
}

TEST(LoginPair, TheGreetingIsCollected) {
  const auto out = make_pair(AuthMethod::kScramSha256, kPassword, kPassword).run();
  ASSERT_TRUE(out.ready);
  using Parameters = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(out.greeting.parameters,
            (Parameters{{"server_version", "15.0"}, {"TimeZone", "Europe/Riga"}}));
  EXPECT_EQ(out.greeting.backend_pid, 4711u);
  EXPECT_EQ(out.greeting.cancel_key, "k3y!");
  EXPECT_EQ(out.greeting.method, kServerAuthScram);
}

TEST(LoginPair, AWrongPasswordFailsWithPostgresqlsWords) {
  for (const Combination& c : combinations_that_work()) {
    if (c.method == AuthMethod::kTrust) continue;
    const auto out = make_pair(c.method, c.secret, "wrong").run();
    EXPECT_FALSE(out.accepted);
    EXPECT_FALSE(out.ready);
    EXPECT_EQ(out.error.code, sqlstate::kInvalidPassword);
    EXPECT_EQ(out.error.message, "password authentication failed for user \"alice\"");
  }
}

TEST(LoginPair, AUserNobodyKnowsFailsAsAWrongPasswordDoes) {
  for (const AuthMethod method :
       {AuthMethod::kPassword, AuthMethod::kMd5, AuthMethod::kScramSha256}) {
    LoginPair pair = make_pair(method, kPassword, "wrong");
    const auto wrong = pair.run();
    pair.policy = make_policy(method, nullptr);
    const auto unknown = pair.run();
    EXPECT_FALSE(unknown.accepted);
    EXPECT_EQ(unknown.error.message, wrong.error.message);
    EXPECT_EQ(unknown.error.code, wrong.error.code);
    EXPECT_EQ(unknown.transcript.size(), wrong.transcript.size());
    EXPECT_NE(unknown.front_error.message, wrong.front_error.message);  // the log knows
  }
}

TEST(LoginPair, ASecretThatFitsNoMethodFailsAsAWrongPasswordDoes) {
  for (const Combination& c :
       {Combination{AuthMethod::kScramSha256, md5_secret()},
        Combination{AuthMethod::kScramSha256, ""}, Combination{AuthMethod::kMd5, ""},
        Combination{AuthMethod::kPassword, ""}}) {
    const auto out = make_pair(c.method, c.secret, kPassword).run();
    EXPECT_FALSE(out.accepted);
    EXPECT_EQ(out.error.message, "password authentication failed for user \"alice\"");
  }
}

TEST(LoginPair, NoSecretIsEverInAMessage) {
  for (const Combination& c : combinations_that_work()) {
    if (c.method == AuthMethod::kTrust) continue;
    const auto out = make_pair(c.method, c.secret, "a wrong guess").run();
    for (const std::string& text :
         {out.error.message, out.error.hint, out.front_error.message, out.front_error.hint}) {
      EXPECT_EQ(text.find("guess"), std::string::npos);
      EXPECT_EQ(text.find(kPassword), std::string::npos);
      EXPECT_EQ(text.find(c.secret), std::string::npos);
    }
  }
}

TEST(LoginPair, ComesThroughInPiecesOfAnySize) {
  for (const bool tls : {false, true}) {
    for (const Combination& c : combinations_that_work()) {
      for (const std::size_t piece : {1u, 2u, 3u, 7u, 64u}) {
        LoginPair pair = make_pair(c.method, c.secret, kPassword, tls);
        pair.piece = piece;
        const auto out = pair.run();
        EXPECT_TRUE(out.accepted && out.ready) << c.secret << ": " << out.error.message;
      }
    }
  }
}

// The messages that carry the proof: everything from the client after its startup packet.
TEST(LoginPair, AProofAlteredAnywhereIsNotAccepted) {
  for (const bool tls : {false, true}) {
    for (const Combination& c : combinations_that_work()) {
      if (c.method == AuthMethod::kTrust) continue;
      std::size_t size = 1;
      for (std::size_t at = 0; at < size; ++at) {
        LoginPair pair = make_pair(c.method, c.secret, kPassword, tls);
        std::size_t seen = 0;
        bool altered = false;
        pair.tamper = [&](bool to_front, std::string& bytes) {
          if (!to_front || (bytes[0] != 'p')) return;
          if (at >= seen && at < seen + bytes.size()) {
            bytes[at - seen] = static_cast<char>(bytes[at - seen] ^ 0x04);
            altered = true;
          }
          seen += bytes.size();
          size = std::max(size, seen);
        };
        const auto out = pair.run();
        if (altered) {
          EXPECT_FALSE(out.accepted) << c.secret << " at " << at;
        }
      }
    }
  }
}

// A man in the middle who changes what the server says: whoever logs in with SCRAM never comes to
// believe it is served. (With md5 and cleartext nothing protects it but TLS.)
TEST(LoginPair, AScramChallengeAlteredAnywhereIsNotBelieved) {
  std::size_t size = 1;
  for (std::size_t at = 0; at < size; ++at) {
    LoginPair pair = make_pair(AuthMethod::kScramSha256, scram_secret(), kPassword, true);
    std::size_t seen = 0;
    bool altered = false;
    pair.tamper = [&](bool to_front, std::string& bytes) {
      // SASLContinue, SASLFinal and the AuthenticationOk behind it.
      if (to_front || bytes[0] != 'R' || bytes[8] < 11) return;
      if (at >= seen && at < seen + bytes.size()) {
        bytes[at - seen] = static_cast<char>(bytes[at - seen] ^ 0x04);
        altered = true;
      }
      seen += bytes.size();
      size = std::max(size, seen);
    };
    const auto out = pair.run();
    if (altered) {
      EXPECT_FALSE(out.ready) << "at " << at;
    }
  }
}

TEST(LoginPair, BindsToTheCertificateUnderTls) {
  LoginPair pair = make_pair(AuthMethod::kScramSha256, scram_secret(), kPassword, true);
  const auto bound = pair.run();
  EXPECT_TRUE(bound.ready);
  EXPECT_NE(bound.transcript.find("p=tls-server-end-point,,"), std::string::npos);

  pair.certificate_hash_seen = "of the man in the middle";
  const auto other = pair.run();
  EXPECT_FALSE(other.accepted);
  EXPECT_EQ(other.error.code, sqlstate::kInvalidAuthorization);

  pair.config.channel_binding = ChannelBindingMode::kDisable;
  const auto unbound = pair.run();
  EXPECT_TRUE(unbound.ready);
  EXPECT_NE(unbound.transcript.find("n,,n=,r="), std::string::npos);
}

TEST(LoginPair, AStrippedOfferOfBindingIsNoticed) {
  LoginPair pair = make_pair(AuthMethod::kScramSha256, scram_secret(), kPassword, true);
  pair.tamper = [](bool to_front, std::string& bytes) {
    const std::size_t at = bytes.find("SCRAM-SHA-256-PLUS");
    if (to_front || at == std::string::npos) return;
    bytes.replace(at, 18, "XCRAM-SHA-256-PLUS");
  };
  const auto out = pair.run();
  EXPECT_FALSE(out.accepted);
  pair.config.channel_binding = ChannelBindingMode::kRequire;
  EXPECT_EQ(pair.run().error.message,
            "channel binding is required, but the server did not offer it");
}

TEST(LoginPair, WhatAClientGaveAwayLogsInElsewhere) {
  // SCRAM against a stored secret: its keys.
  LoginPair pair = make_pair(AuthMethod::kScramSha256, scram_secret(), kPassword);
  auto out = pair.run();
  ASSERT_TRUE(out.accepted);
  EXPECT_FALSE(out.client.credentials.password);
  ASSERT_TRUE(out.client.credentials.scram_keys);
  pair.config.credentials = out.client.credentials;
  EXPECT_TRUE(pair.run().ready);

  // A password that was sent.
  pair = make_pair(AuthMethod::kPassword, scram_secret(), kPassword);
  out = pair.run();
  EXPECT_EQ(out.client.credentials.password, kPassword);

  // A password that is configured.
  pair = make_pair(AuthMethod::kScramSha256, kPassword, kPassword);
  EXPECT_EQ(pair.run().client.credentials.password, kPassword);

  // An md5 hash.
  pair = make_pair(AuthMethod::kMd5, md5_secret(), kPassword);
  out = pair.run();
  EXPECT_EQ(out.client.credentials.md5_hash, md5_secret());
  pair.config.credentials = out.client.credentials;
  EXPECT_TRUE(pair.run().ready);
}

TEST(LoginPair, LooksUpTheSecretsOfUsersItDoesNotKnow) {
  LoginPair pair = make_pair(AuthMethod::kScramSha256, "", kPassword);
  auto policy = make_policy(AuthMethod::kScramSha256, nullptr);
  policy->lookup_unknown_users = true;
  pair.policy = policy;
  const std::string secret = scram_secret();
  pair.looked_up = secret.c_str();
  EXPECT_TRUE(pair.run().ready);
  pair.looked_up = nullptr;
  const auto out = pair.run();
  EXPECT_EQ(out.error.message, "password authentication failed for user \"alice\"");
}

TEST(LoginPair, AStrangersSaltIsThatOfAUserWithAPlainPassword) {
  // Otherwise the salt's behaviour would tell whether a user exists.
  const auto salt_shown = [](const char* secret, const std::string& mock) {
    LoginPair pair = make_pair(AuthMethod::kScramSha256, "", "wrong");
    auto policy = make_policy(AuthMethod::kScramSha256, secret);
    policy->mock_secret = make_mock_secret(mock);
    pair.policy = policy;
    const std::string transcript = pair.run().transcript;
    const std::size_t at = transcript.find(",s=");
    return transcript.substr(at, transcript.find(",i=4096", at) - at);
  };
  EXPECT_EQ(salt_shown(nullptr, "a"), salt_shown(nullptr, "a"));
  EXPECT_EQ(salt_shown(nullptr, "a"), salt_shown("plain", "a"));
  EXPECT_NE(salt_shown(nullptr, "a"), salt_shown(nullptr, "b"));
}

}  // namespace
}  // namespace pgshunt::test
