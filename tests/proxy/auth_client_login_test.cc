// The client's way in, step by step: first packets, rules, limits, refusals.
#include "protocol/frontend.h"
#include "protocol/startup.h"
#include "tests/proxy/auth_login_support.h"

namespace pgshunt::test {
namespace {

using namespace std::string_view_literals;
using Parameters = std::vector<StartupParameter>;

std::string startup(const Parameters& parameters = {{"user", "alice"}, {"database", "shop"}},
                    std::uint32_t version = kProtocolVersion30) {
  std::string out;
  append_startup(out, parameters, version);
  return out;
}
std::string ssl_request() {
  std::string out;
  append_ssl_request(out);
  return out;
}
std::string gss_request() {
  std::string out;
  append_gssenc_request(out);
  return out;
}

// A login whose input is kept until it is consumed.
struct Client {
  explicit Client(std::shared_ptr<const ClientLoginPolicy> policy, ClientPeer peer = {})
      : login(std::move(policy), peer) {}

  ClientLoginStepKind feed(std::string_view bytes) {
    input += bytes;
    const ClientLoginStep step = login.advance(input);
    input.erase(0, step.consumed);
    sent = step.send;
    return step.kind;
  }
  // The ErrorResponse at the end of what was sent.
  std::string told() const {
    const std::size_t at = sent.rfind("SFATAL");
    if (at == std::string::npos || at < 5) return {};
    const auto view = decode_error_response(std::string_view(sent).substr(at));
    return view ? std::string(view->message()) : std::string();
  }
  std::string told_code() const {
    const std::size_t at = sent.rfind("SFATAL");
    if (at == std::string::npos) return {};
    const auto view = decode_error_response(std::string_view(sent).substr(at));
    return view ? std::string(view->sqlstate().view()) : std::string();
  }

  ClientLogin login;
  std::string input;
  std::string sent;
};

using Kind = ClientLoginStepKind;

TEST(ClientLogin, TrustLetsInAtOnce) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(startup()), Kind::kAccepted);
  EXPECT_EQ(client.sent, "R\0\0\0\x08\0\0\0\0"sv);
}

TEST(ClientLogin, TheDatabaseIsTheUsersNameIfNoneIsNamed) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(startup({{"user", "alice"}})), Kind::kAccepted);
  EXPECT_EQ(client.login.take_client().database, "alice");
}

TEST(ClientLogin, SettingsAreThoseOfOptionsThenTheParameters) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(startup({{"user", "alice"},
                                 {"application_name", "psql"},
                                 {"options", "-c geqo=off --search_path=a\\ b"},
                                 {"replication", "false"},
                                 {"DateStyle", "ISO"}})),
            Kind::kAccepted);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"geqo", "off"}, {"search_path", "a b"}, {"application_name", "psql"}, {"DateStyle", "ISO"}};
  EXPECT_EQ(client.login.take_client().settings, expected);
}

TEST(ClientLogin, BadOptionsAreRefusedInTheServersWords) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(startup({{"user", "alice"}, {"options", "-c geqo"}})), Kind::kReject);
  EXPECT_EQ(client.told_code(), "42601");
}

TEST(ClientLogin, ANewerProtocolIsNegotiatedDown) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  const Parameters parameters = {{"user", "alice"}, {"_pq_.magic", "on"}};
  EXPECT_EQ(client.feed(startup(parameters, 3u << 16 | 2)), Kind::kAccepted);
  EXPECT_EQ(client.sent[0], 'v');
  EXPECT_NE(client.sent.find("_pq_.magic"), std::string::npos);
  EXPECT_TRUE(client.login.take_client().settings.empty());
}

TEST(ClientLogin, AnOlderProtocolIsRefused) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(startup({{"user", "alice"}}, 2u << 16)), Kind::kReject);
  EXPECT_EQ(client.told_code(), "0A000");
}

TEST(ClientLogin, ReplicationIsRefused) {
  for (const char* value : {"true", "on", "1", "yes", "database"}) {
    Client client(make_policy(AuthMethod::kTrust, ""));
    EXPECT_EQ(client.feed(startup({{"user", "alice"}, {"replication", value}})), Kind::kReject);
    EXPECT_EQ(client.told_code(), "0A000");
  }
}

TEST(ClientLogin, AUserMustBeNamed) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(startup({{"database", "shop"}})), Kind::kReject);
  EXPECT_EQ(client.told(), "no PostgreSQL user name specified in startup packet");
  EXPECT_EQ(client.told_code(), "28000");
}

TEST(ClientLogin, CancelRequestsAreHandedOn) {
  Client client(make_policy(AuthMethod::kReject, ""));
  std::string request;
  append_cancel_request(request, 4711, "k3y!");
  EXPECT_EQ(client.feed(request), Kind::kCancel);
  EXPECT_EQ(client.login.cancel_pid(), 4711u);
  EXPECT_EQ(client.login.cancel_key(), "k3y!");
  EXPECT_EQ(client.sent, "");
}

TEST(ClientLogin, EncryptionThatIsNotOfferedIsDeclined) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(gss_request()), Kind::kNeedMore);
  EXPECT_EQ(client.sent, "N");
  EXPECT_EQ(client.feed(ssl_request()), Kind::kNeedMore);
  EXPECT_EQ(client.sent, "N");
  EXPECT_EQ(client.feed(startup()), Kind::kAccepted);
}

TEST(ClientLogin, EncryptionIsAskedForOnce) {
  Client twice_ssl(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(twice_ssl.feed(ssl_request()), Kind::kNeedMore);
  EXPECT_EQ(twice_ssl.feed(ssl_request()), Kind::kReject);
  Client twice_gss(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(twice_gss.feed(gss_request()), Kind::kNeedMore);
  EXPECT_EQ(twice_gss.feed(gss_request()), Kind::kReject);
}

std::shared_ptr<ClientLoginPolicy> with_tls(AuthMethod method, SslMode mode) {
  auto policy = make_policy(method, "");
  policy->tls = mode;
  return policy;
}

TEST(ClientLogin, TlsIsStartedWhereItIsOffered) {
  Client client(with_tls(AuthMethod::kTrust, SslMode::kRequire));
  EXPECT_EQ(client.feed(ssl_request()), Kind::kStartTls);
  EXPECT_EQ(client.sent, "S");
  EXPECT_EQ(client.login.state_name(), "tls");
  client.login.tls_established("hash", "");
  EXPECT_EQ(client.feed(startup()), Kind::kAccepted);
}

TEST(ClientLogin, TlsWithinTlsIsRefused) {
  Client client(with_tls(AuthMethod::kTrust, SslMode::kRequire));
  EXPECT_EQ(client.feed(ssl_request()), Kind::kStartTls);
  client.login.tls_established("hash", "");
  EXPECT_EQ(client.feed(ssl_request()), Kind::kReject);
}

TEST(ClientLogin, PlainConnectionsAreRefusedWhereTlsIsRequired) {
  Client client(with_tls(AuthMethod::kTrust, SslMode::kRequire));
  EXPECT_EQ(client.feed(startup()), Kind::kReject);
  EXPECT_EQ(client.told_code(), "28000");
  Client welcome(with_tls(AuthMethod::kTrust, SslMode::kPrefer));
  EXPECT_EQ(welcome.feed(startup()), Kind::kAccepted);
  Client local(with_tls(AuthMethod::kTrust, SslMode::kRequire),
               {.unix_socket = true, .address = {}});
  EXPECT_EQ(local.feed(ssl_request()), Kind::kNeedMore);
  EXPECT_EQ(local.sent, "N");
  EXPECT_EQ(local.feed(startup()), Kind::kAccepted);
}

TEST(ClientLogin, BytesSentAheadOfTheHandshakeAreAnAttack) {
  Client client(with_tls(AuthMethod::kTrust, SslMode::kRequire));
  EXPECT_EQ(client.feed(ssl_request() + startup()), Kind::kReject);
  EXPECT_EQ(client.told(), "received unencrypted data after SSL request");
  EXPECT_EQ(client.sent[0], 'E');  // never 'S'
}

TEST(ClientLogin, GarbageIsRefusedBeforeItsLengthIsBelieved) {
  for (const std::string_view bytes :
       {"GET / HTTP/1.1\r\n"sv, "\xff\xff\xff\xff"sv, "\0\0\0\0"sv, "\0\0\0\7"sv, "\0\0\x27\x15"sv,
        "\0\0\0\x09\x04\xd2\x16\x2fx"sv}) {
    Client client(make_policy(AuthMethod::kTrust, ""));
    EXPECT_EQ(client.feed(bytes), Kind::kReject) << bytes;
    EXPECT_EQ(client.told_code(), "08P01");
  }
}

TEST(ClientLogin, ATlsHandshakeWhereNoneWasAgreedIsClosed) {
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed("\x16\x03\x01\x02"), Kind::kClose);
  EXPECT_EQ(client.sent, "");
}

TEST(ClientLogin, TlsMayComeWithoutBeingAskedFor) {
  Client client(with_tls(AuthMethod::kTrust, SslMode::kRequire));
  EXPECT_EQ(client.feed("\x16\x03\x01\x02"), Kind::kStartTls);
  EXPECT_EQ(client.sent, "");
  EXPECT_EQ(client.input, "\x16\x03\x01\x02");  // for the handshake
  client.input.clear();
  client.login.tls_established("hash", "");
  EXPECT_EQ(client.feed(startup()), Kind::kAccepted);

  Client declined(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(declined.feed(ssl_request()), Kind::kNeedMore);
  EXPECT_EQ(declined.feed("\x16\x03\x01\x02"), Kind::kClose);
  Client late(with_tls(AuthMethod::kTrust, SslMode::kRequire));
  EXPECT_EQ(late.feed(gss_request() + "\x16\x03\x01\x02"), Kind::kClose);
}

TEST(ClientLogin, ANameWithoutItsZeroIsRefused) {
  std::string packet = startup();
  packet[3] = static_cast<char>(packet.size() - 1);
  packet.pop_back();
  Client client(make_policy(AuthMethod::kTrust, ""));
  EXPECT_EQ(client.feed(packet), Kind::kReject);
  EXPECT_EQ(client.told_code(), "08P01");
}

TEST(ClientLogin, OnlyPasswordsMayFollow) {
  const auto try_message = [](std::string_view bytes) {
    Client client(make_policy(AuthMethod::kScramSha256, "secret"));
    EXPECT_EQ(client.feed(startup()), Kind::kNeedMore);
    return client.feed(bytes);
  };
  EXPECT_EQ(try_message("Q"), Kind::kReject);  // from the first byte on
  EXPECT_EQ(try_message("p\x7f\xff\xff\xff"), Kind::kReject);
  EXPECT_EQ(try_message("p\0\0\x27\x15"sv), Kind::kReject);
  EXPECT_EQ(try_message("p\0\0\0\3"sv), Kind::kReject);
  EXPECT_EQ(try_message("p\0\0\0\4"sv), Kind::kReject);
  EXPECT_EQ(try_message("X\0\0\0\4"sv), Kind::kClose);
  EXPECT_EQ(try_message("p\0\0\0\x40"sv), Kind::kNeedMore);
}

TEST(ClientLogin, NeverAsksToBufferMoreThanItSays) {
  // The largest message of each kind that is still waited for.
  Client first(make_policy(AuthMethod::kPassword, "secret"));
  std::string longest(kMaxClientLoginMessage, 'x');
  longest.replace(0, 8, "\0\0\x27\x14\0\3\0\0"sv);  // 10,004
  EXPECT_EQ(first.feed(longest.substr(0, 10'003)), Kind::kNeedMore);
  Client second(make_policy(AuthMethod::kPassword, "secret"));
  EXPECT_EQ(second.feed(startup()), Kind::kNeedMore);
  longest.replace(0, 5, "p\0\0\x27\x14"sv);
  EXPECT_EQ(second.feed(longest.substr(0, kMaxClientLoginMessage - 1)), Kind::kNeedMore);
  EXPECT_EQ(second.feed("x"), Kind::kReject);
}

TEST(ClientLogin, AnEmptyPasswordIsAWrongOne) {
  Client client(make_policy(AuthMethod::kPassword, "secret"));
  EXPECT_EQ(client.feed(startup()), Kind::kNeedMore);
  EXPECT_EQ(client.feed("p\0\0\0\5\0"sv), Kind::kReject);
  EXPECT_EQ(client.told(), "empty password returned by client");
  EXPECT_EQ(client.told_code(), "28P01");
}

TEST(ClientLogin, PasswordsInPlainTextWantTlsOrAUnixSocket) {
  auto policy = make_policy(AuthMethod::kPassword, "secret");
  policy->cleartext_without_tls = false;
  policy->tls = SslMode::kAllow;
  Client plain(policy);
  EXPECT_EQ(plain.feed(startup()), Kind::kReject);
  EXPECT_EQ(plain.told_code(), "28000");
  Client local(policy, {.unix_socket = true, .address = {}});
  EXPECT_EQ(local.feed(startup()), Kind::kNeedMore);
  Client tls(policy);
  EXPECT_EQ(tls.feed(ssl_request()), Kind::kStartTls);
  tls.login.tls_established("hash", "");
  EXPECT_EQ(tls.feed(startup()), Kind::kNeedMore);
}

TEST(ClientLogin, AMechanismThatWasNotOfferedIsRefused) {
  Client client(make_policy(AuthMethod::kScramSha256, "secret"));
  EXPECT_EQ(client.feed(startup()), Kind::kNeedMore);
  EXPECT_EQ(client.sent.find("PLUS"), std::string::npos);
  std::string message;
  append_sasl_initial_response(message, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc");
  EXPECT_EQ(client.feed(message), Kind::kReject);
  EXPECT_EQ(client.told(), "client selected an invalid SASL authentication mechanism");
}

TEST(ClientLogin, AClientMayWaitForAnEmptyChallenge) {
  Client client(make_policy(AuthMethod::kScramSha256, "secret"));
  EXPECT_EQ(client.feed(startup()), Kind::kNeedMore);
  EXPECT_EQ(client.feed("p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff"sv), Kind::kNeedMore);
  EXPECT_EQ(client.sent, "R\0\0\0\x08\0\0\0\x0b"sv);
  std::string message;
  append_sasl_response(message, "n,,n=,r=abc");
  EXPECT_EQ(client.feed(message), Kind::kNeedMore);
  EXPECT_NE(client.sent.find("r=abc"), std::string::npos);
}

TEST(ClientLogin, TheRuleDecidesAndTheRefusalNamesTheConnection) {
  auto policy = make_policy(AuthMethod::kTrust, "");
  HbaRule rule = rule_for_all(AuthMethod::kTrust);
  rule.users = {"bob"};
  policy->hba = std::make_shared<const Hba>(std::vector<HbaRule>{rule});
  ClientPeer peer;
  ASSERT_TRUE(IpAddress::parse("10.1.2.3", peer.address));
  Client nobody(policy, peer);
  EXPECT_EQ(nobody.feed(startup()), Kind::kReject);
  EXPECT_EQ(nobody.told(),
            "no pg_hba.conf entry for host \"10.1.2.3\", user \"alice\", database \"shop\", no "
            "encryption");
  EXPECT_EQ(nobody.told_code(), "28000");

  Client rejected(make_policy(AuthMethod::kReject, ""), {.unix_socket = true, .address = {}});
  EXPECT_EQ(rejected.feed(startup()), Kind::kReject);
  EXPECT_EQ(rejected.told(),
            "pg_hba.conf rejects connection for host \"[local]\", user \"alice\", database "
            "\"shop\", no encryption");
}

// How a client with this certificate fares under a rule with these options.
Kind with_certificate(AuthMethod method, const std::map<std::string, std::string>& options,
                      const std::string& common_name) {
  auto policy = with_tls(method, SslMode::kVerifyFull);
  HbaRule rule = rule_for_all(method);
  rule.options = options;
  policy->hba = std::make_shared<const Hba>(std::vector<HbaRule>{rule});
  Client client(policy);
  EXPECT_EQ(client.feed(ssl_request()), Kind::kStartTls);
  client.login.tls_established("hash", common_name);
  return client.feed(startup());
}

TEST(ClientLogin, ACertificateMustCarryTheName) {
  EXPECT_EQ(with_certificate(AuthMethod::kCert, {}, "alice"), Kind::kAccepted);
  EXPECT_EQ(with_certificate(AuthMethod::kCert, {{"map", "cn"}}, "alice"), Kind::kAccepted);
  EXPECT_EQ(with_certificate(AuthMethod::kCert, {}, "bob"), Kind::kReject);
  EXPECT_EQ(with_certificate(AuthMethod::kCert, {}, ""), Kind::kReject);
  EXPECT_EQ(with_certificate(AuthMethod::kCert, {{"map", "batch"}}, "batch"), Kind::kAccepted);
  EXPECT_EQ(with_certificate(AuthMethod::kCert, {{"map", "batch"}}, "alice"), Kind::kReject);
}

TEST(ClientLogin, ACertificateMayBeAskedForBesideAMethod) {
  const std::map<std::string, std::string> any = {{"clientcert", "verify-ca"}};
  const std::map<std::string, std::string> full = {{"clientcert", "verify-full"}};
  EXPECT_EQ(with_certificate(AuthMethod::kScramSha256, any, "bob"), Kind::kNeedMore);
  EXPECT_EQ(with_certificate(AuthMethod::kScramSha256, any, ""), Kind::kReject);
  EXPECT_EQ(with_certificate(AuthMethod::kScramSha256, full, "alice"), Kind::kNeedMore);
  EXPECT_EQ(with_certificate(AuthMethod::kScramSha256, full, "bob"), Kind::kReject);
}

TEST(ClientLogin, MethodCertWithoutTlsIsRefused) {
  Client client(make_policy(AuthMethod::kCert, ""));
  EXPECT_EQ(client.feed(startup()), Kind::kReject);
  EXPECT_EQ(client.told(), "connection requires a valid client certificate");
}

TEST(ClientLogin, WaitsForALookupAndTellsOfItsFailure) {
  auto policy = make_policy(AuthMethod::kScramSha256, nullptr);
  policy->lookup_unknown_users = true;
  Client client(policy);
  EXPECT_EQ(client.feed(startup()), Kind::kLookupSecret);
  EXPECT_EQ(client.login.user(), "alice");
  EXPECT_EQ(client.login.database(), "shop");
  EXPECT_EQ(client.login.state_name(), "secret");
  EXPECT_EQ(client.feed(""), Kind::kLookupSecret);  // asked again, it still waits
  client.login.secret_failed({sqlstate::kCannotConnect, "auth_query failed", {}});
  EXPECT_EQ(client.feed(""), Kind::kReject);
  EXPECT_EQ(client.told(), "auth_query failed");
}

TEST(ClientLogin, UsersOfTheTableAreNotLookedUp) {
  auto policy = make_policy(AuthMethod::kScramSha256, "secret");
  policy->lookup_unknown_users = true;
  Client client(policy);
  EXPECT_EQ(client.feed(startup()), Kind::kNeedMore);
}

TEST(ClientLogin, AnUnknownDatabaseIsToldInPostgresqlsWords) {
  const Error error = unknown_database_error("nowhere");
  EXPECT_EQ(error.code, sqlstate::kInvalidCatalogName);
  EXPECT_EQ(error.message, "database \"nowhere\" does not exist");
}

}  // namespace
}  // namespace pgshunt::test
