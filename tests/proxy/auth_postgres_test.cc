// Both logins against the real thing: our server login into a PostgreSQL server, libpq into our
// client login, plain and over TLS.
#include <arpa/inet.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/proxy/auth_login_support.h"
#include "tests/proxy/net_test_support.h"
#include "tests/support/pg_client.h"
#include "tests/support/pg_server.h"

namespace pgshunt::test {
namespace {

using testing::Endpoint;
using testing::run_until;

// Not ASCII, and SASLprep changes it.
constexpr const char* kPassword = "p\xc3\xa4ss \xe2\x85\xa8";

const testing::Pki& pki() {
  static const testing::Pki made;
  return made;
}

int tcp_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_GE(fd, 0);
  return fd;
}
sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
void make_non_blocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

// --- our way into PostgreSQL
// ----------------------------------------------------------------------

class IntoPostgres : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    PgServer::Options options;
    options.tcp = true;
    server_ = PgServer::start(options);
    if (!server_) return;
    const std::string data = server_->socket_dir() + "/data";
    // In place, so that the files stay the server's own.
    std::ofstream(data + "/pg_hba.conf") << "local all postgres trust\n"
                                            "host all u_trust 127.0.0.1/32 trust\n"
                                            "host all u_password 127.0.0.1/32 password\n"
                                            "host all u_md5 127.0.0.1/32 md5\n"
                                            "hostssl all u_cert 127.0.0.1/32 cert\n"
                                            "host all all 127.0.0.1/32 scram-sha-256\n";
    install(data + "/server.crt", pki().server.pem());
    install(data + "/server.key", pki().server.key_pem());
    install(data + "/ca.crt", pki().ca.pem());
    const auto admin = PgClient::connect(server_->socket_dir(), server_->port(), "postgres");
    ASSERT_NE(admin, nullptr);
    const std::string password = "PASSWORD '" + std::string(kPassword) + "'";
    for (const std::string& sql : std::vector<std::string>{
             "CREATE ROLE u_trust LOGIN", "CREATE ROLE u_cert LOGIN",
             "CREATE ROLE u_password LOGIN " + password, "CREATE ROLE u_scram LOGIN " + password,
             "SET password_encryption = 'md5'", "CREATE ROLE u_md5 LOGIN " + password,
             "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'", "ALTER SYSTEM SET ssl = on",
             "SELECT pg_reload_conf()"}) {
      const PgResult result = admin->query(sql);
      ASSERT_TRUE(result.ok()) << sql << ": " << result.error;
    }
    for (int tries = 0; tries < 10'000; ++tries) {
      const auto fresh = PgClient::connect(server_->socket_dir(), server_->port(), "postgres");
      if (fresh && fresh->query("SHOW ssl").value(0, 0) == "on") return;
    }
    FAIL() << "the server did not take its new configuration";
  }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    if (!server_) GTEST_SKIP() << "PostgreSQL's programs are not installed";
  }

  // A file of the server's: it insists on owning its key.
  static void install(const std::string& path, const std::string& content) {
    std::ofstream(path) << content;
    struct stat owner {};
    ASSERT_EQ(::stat(std::filesystem::path(path).parent_path().c_str(), &owner), 0);
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    ASSERT_EQ(::chown(path.c_str(), owner.st_uid, owner.st_gid), 0);
  }

  struct Outcome {
    bool ready = false;
    ServerGreeting greeting;
    Error error;
  };

  static ServerLoginConfig config_of(const std::string& user, const std::string& password) {
    ServerLoginConfig config = make_server_config(password);
    config.credentials.user = user;
    config.database = "postgres";
    config.parameters = {{"application_name", "pgshunt"}};
    return config;
  }

  static Outcome log_in(ServerLoginConfig config,
                        const std::shared_ptr<const TlsContext>& tls = nullptr) {
    config.tls = tls ? SslMode::kRequire : SslMode::kDisable;
    Outcome out;
    EventLoop loop;
    const int fd = tcp_socket();
    const sockaddr_in address = loopback(server_->port());
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    make_non_blocking(fd);
    Endpoint wire(loop, fd);
    ServerLogin login(std::move(config));
    bool ended = false;
    bool handshake = false;
    run_until(loop, [&] {
      if (handshake && wire.stream.handshake_done()) {
        handshake = false;
        login.tls_established(wire.stream.server_end_point_hash());
      }
      while (!ended && !handshake) {
        const ServerLoginStep step = login.advance(wire.received);
        wire.received.erase(0, step.consumed);
        if (!step.send.empty()) wire.stream.write(step.send);
        if (step.kind == ServerLoginStepKind::kNeedMore) break;
        if (step.kind == ServerLoginStepKind::kStartTls) {
          EXPECT_TRUE(wire.stream.start_tls_client(tls, "localhost").ok());
          handshake = true;
          continue;
        }
        ended = true;
        out.ready = step.kind == ServerLoginStepKind::kReady;
        if (out.ready) {
          out.greeting = login.take_greeting();
        } else {
          out.error = login.error();
        }
      }
      return ended || wire.closed || wire.failed;
    });
    return out;
  }

  static std::unique_ptr<PgServer> server_;
};

std::unique_ptr<PgServer> IntoPostgres::server_;

TEST_F(IntoPostgres, EveryMethodLetsUsIn) {
  const std::vector<std::pair<std::string, ServerAuthMethod>> users = {
      {"u_trust", kServerAuthNone},
      {"u_password", kServerAuthCleartext},
      {"u_md5", kServerAuthMd5},
      {"u_scram", kServerAuthScram}};
  for (const auto& [user, method] : users) {
    const Outcome plain = log_in(config_of(user, kPassword));
    EXPECT_TRUE(plain.ready) << user << ": " << plain.error.message;
    EXPECT_EQ(plain.greeting.method, method);
    EXPECT_NE(plain.greeting.backend_pid, 0u);
    EXPECT_EQ(plain.greeting.cancel_key.size(), 4u);
    const auto& parameters = plain.greeting.parameters;
    const auto reported = [&](std::string_view name) {
      for (const auto& [key, value] : parameters) {
        if (key == name) return value;
      }
      return std::string();
    };
    EXPECT_EQ(reported("application_name"), "pgshunt");
    EXPECT_FALSE(reported("server_version").empty());
    const Outcome tls =
        log_in(config_of(user, kPassword), testing::client_context(pki().client_config()));
    EXPECT_TRUE(tls.ready) << user << ": " << tls.error.message;
  }
}

TEST_F(IntoPostgres, ScramBindsToTheServersCertificate) {
  ServerLoginConfig config = config_of("u_scram", kPassword);
  config.channel_binding = ChannelBindingMode::kRequire;
  const Outcome bound = log_in(config, testing::client_context(pki().client_config()));
  EXPECT_TRUE(bound.ready) << bound.error.message;
  EXPECT_FALSE(log_in(config).ready);
}

TEST_F(IntoPostgres, ACertificateLetsUsIn) {
  TlsConfig tls = pki().client_config();
  const testing::Certificate mine({.common_name = "u_cert"}, &pki().ca);
  tls.cert_file = pki().folder.write("u_cert.crt", mine.pem());
  tls.key_file = pki().folder.write("u_cert.key", mine.key_pem());
  std::filesystem::permissions(
      tls.key_file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const Outcome out = log_in(config_of("u_cert", ""), testing::client_context(tls));
  EXPECT_TRUE(out.ready) << out.error.message;
  EXPECT_EQ(out.greeting.method, kServerAuthNone);
}

TEST_F(IntoPostgres, TheServersRefusalIsToldAsItIs) {
  for (const char* user : {"u_password", "u_md5", "u_scram", "u_nobody"}) {
    const Outcome out = log_in(config_of(user, "wrong"));
    EXPECT_EQ(out.error.code, sqlstate::kInvalidPassword);
    EXPECT_EQ(out.error.message,
              "password authentication failed for user \"" + std::string(user) + "\"");
  }
  ServerLoginConfig config = config_of("u_scram", kPassword);
  config.database = "nowhere";
  EXPECT_EQ(log_in(config).error.code, sqlstate::kInvalidCatalogName);
}

TEST_F(IntoPostgres, AClientsScramLoginLetsUsInAsThatClient) {
  const auto admin = PgClient::connect(server_->socket_dir(), server_->port(), "postgres");
  const auto secret =
      admin->query("SELECT rolpassword FROM pg_authid WHERE rolname = 'u_scram'").value(0, 0);
  ASSERT_TRUE(secret);
  // The client proves itself to us against the server's own stored secret ...
  LoginPair pair;
  pair.policy = make_policy(AuthMethod::kScramSha256, secret->c_str(), "u_scram");
  pair.config = config_of("u_scram", kPassword);
  const auto client = pair.run();
  ASSERT_TRUE(client.accepted) << client.error.message;
  ASSERT_FALSE(client.client.credentials.password);
  // ... and what that taught us is enough for the server.
  ServerLoginConfig config = config_of("u_scram", "");
  config.credentials = client.client.credentials;
  const Outcome out = log_in(config);
  EXPECT_TRUE(out.ready) << out.error.message;
}

TEST_F(IntoPostgres, AStoredMd5HashLetsUsIn) {
  const auto admin = PgClient::connect(server_->socket_dir(), server_->port(), "postgres");
  const auto hash =
      admin->query("SELECT rolpassword FROM pg_authid WHERE rolname = 'u_md5'").value(0, 0);
  ASSERT_TRUE(hash);
  ServerLoginConfig config = config_of("u_md5", "");
  config.credentials.password.reset();
  config.credentials.md5_hash = *hash;
  const Outcome out = log_in(config);
  EXPECT_TRUE(out.ready) << out.error.message;
}

// --- libpq's way into ours
// ------------------------------------------------------------------------

struct LibpqOutcome {
  bool accepted = false;   // by us
  bool connected = false;  // in libpq's view
  std::string message;     // libpq's
};

// libpq connects in a thread of its own to a listener that serves this one login.
LibpqOutcome connect_libpq(std::shared_ptr<const ClientLoginPolicy> policy,
                           const std::string& parameters,
                           const std::shared_ptr<const TlsContext>& tls = nullptr) {
  LibpqOutcome out;
  const int listener = tcp_socket();
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(listener, 1), 0);
  EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string conninfo =
      "hostaddr=127.0.0.1 port=" + std::to_string(ntohs(address.sin_port)) +
      " user=alice dbname=shop gssencmode=disable connect_timeout=20 " + parameters;
  std::thread client([&] {
    PGconn* const connection = PQconnectdb(conninfo.c_str());
    out.connected = PQstatus(connection) == CONNECTION_OK;
    out.message = PQerrorMessage(connection);
    PQfinish(connection);
  });

  EventLoop loop;
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  EXPECT_GE(fd, 0);
  ::close(listener);
  {
    Endpoint wire(loop, fd);
    ClientLogin login(std::move(policy), ClientPeer{});
    bool ended = false;
    bool handshake = false;
    run_until(loop, [&] {
      if (handshake && wire.stream.handshake_done()) {
        handshake = false;
        login.tls_established(wire.stream.server_end_point_hash(), wire.stream.peer_common_name());
      }
      while (!ended && !handshake) {
        const ClientLoginStep step = login.advance(wire.received);
        wire.received.erase(0, step.consumed);
        wire.stream.write(step.send);
        if (step.kind == ClientLoginStepKind::kNeedMore) break;
        if (step.kind == ClientLoginStepKind::kStartTls) {
          EXPECT_TRUE(wire.stream.start_tls_server(tls).ok());
          handshake = true;
          continue;
        }
        ended = true;
        if (step.kind != ClientLoginStepKind::kAccepted) break;
        out.accepted = true;
        std::string greeting;
        append_parameter_status(greeting, "server_version", "15.0");
        append_backend_key_data(greeting, 1, "k3y!");
        append_ready_for_query(greeting, TransactionStatus::kIdle);
        wire.stream.write(greeting);
      }
      return (ended && wire.stream.queued() == 0) || wire.closed || wire.failed;
    });
  }
  client.join();
  return out;
}

std::string with_password(const std::string& password) { return "password='" + password + "'"; }

TEST(LibpqIntoOurs, EveryMethodLetsItIn) {
  for (const AuthMethod method :
       {AuthMethod::kTrust, AuthMethod::kPassword, AuthMethod::kMd5, AuthMethod::kScramSha256}) {
    const LibpqOutcome right =
        connect_libpq(make_policy(method, kPassword), with_password(kPassword));
    EXPECT_TRUE(right.accepted && right.connected) << right.message;
    if (method == AuthMethod::kTrust) continue;
    const LibpqOutcome wrong = connect_libpq(make_policy(method, kPassword), with_password("no"));
    EXPECT_FALSE(wrong.accepted || wrong.connected);
    EXPECT_NE(wrong.message.find("password authentication failed for user \"alice\""),
              std::string::npos)
        << wrong.message;
  }
}

TEST(LibpqIntoOurs, ItBindsToOurCertificate) {
  auto policy = make_policy(AuthMethod::kScramSha256, kPassword);
  policy->tls = SslMode::kRequire;
  const auto tls = testing::server_context(pki().server_config());
  const std::string bound = with_password(kPassword) + " sslmode=require channel_binding=require";
  const LibpqOutcome out = connect_libpq(policy, bound, tls);
  EXPECT_TRUE(out.accepted && out.connected) << out.message;
  const LibpqOutcome unbound = connect_libpq(
      policy, with_password(kPassword) + " sslmode=require channel_binding=disable", tls);
  EXPECT_TRUE(unbound.accepted && unbound.connected) << unbound.message;
}

TEST(LibpqIntoOurs, ItsCertificateLetsItIn) {
  auto policy = make_policy(AuthMethod::kCert, "");
  policy->tls = SslMode::kVerifyFull;
  const auto tls = testing::server_context(pki().server_config(SslMode::kVerifyFull));
  std::filesystem::permissions(pki().client_key_file, std::filesystem::perms::owner_read |
                                                          std::filesystem::perms::owner_write);
  const LibpqOutcome out = connect_libpq(
      policy, "sslmode=require sslcert=" + pki().client_file + " sslkey=" + pki().client_key_file,
      tls);
  EXPECT_TRUE(out.accepted && out.connected) << out.message;
}

TEST(LibpqIntoOurs, PlainConnectionsAreToldThatTlsIsRequired) {
  auto policy = make_policy(AuthMethod::kTrust, "");
  policy->tls = SslMode::kRequire;
  const LibpqOutcome out = connect_libpq(policy, "sslmode=disable");
  EXPECT_FALSE(out.accepted || out.connected);
  EXPECT_NE(out.message.find("SSL connection is required"), std::string::npos);
}

}  // namespace
}  // namespace pgshunt::test
