#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "proxy/net/connector.h"
#include "proxy/net/socket.h"
#include "tests/proxy/net_test_support.h"

namespace pgshunt {
namespace {

using namespace testing;

const Pki& pki() {
  static const Pki made;
  return made;
}

constexpr std::string_view kSslRequest("\0\0\0\x08\x04\xd2\x16\x2f", 8);

// A PostgreSQL server as far as a connector sees it. Runs on the test's loop.
class Server : IoHandler {
 public:
  explicit Server(EventLoop& loop, const char* ip = "127.0.0.1", std::uint16_t port = 0)
      : loop_(loop),
        listener_(std::move(*listen_tcp(*SocketAddress::numeric(ip, port), {}))),
        port_(local_address(listener_.get()).port()) {
    token_ = loop_.add(listener_.get(), *this, kIoRead);
  }
  Server(EventLoop& loop, const std::string& directory)
      : loop_(loop), listener_(std::move(*listen_unix(directory + "/.s.PGSQL.5432", 0700, {}))) {
    token_ = loop_.add(listener_.get(), *this, kIoRead);
  }
  ~Server() { loop_.remove(token_); }

  std::uint16_t port() const { return port_; }
  std::size_t accepted() const { return clients_.size(); }
  std::size_t ssl_requests() const {
    std::size_t count = 0;
    for (const auto& client : clients_) count += client->asked;
    return count;
  }
  std::string received() const { return clients_.empty() ? "" : clients_.back()->received; }

  std::string answer = "S";  // to SSLRequest; nothing: silence; "close": hangs up
  std::string greeting;      // sent with the end of the handshake, as no PostgreSQL would
  std::shared_ptr<const TlsContext> tls = server_context(pki().server_config());

 private:
  struct Client : IoHandler {
    Client(Server& of, int fd) : server(of), stream(of.loop_, fd, *this) {}
    void on_io(std::uint32_t events) override {
      if (events & kIoWrite) stream.flush();
      char space[16 * 1024];
      do {
        std::size_t got = 0;
        const IoResult result = stream.read(space, sizeof space, got);
        received.append(space, got);
        if (result == IoResult::kClosed || result == IoResult::kFailed) {
          return stream.want_read(false);
        }
      } while (stream.has_pending());
      if (received != kSslRequest || asked) return;
      asked = true;
      received.clear();
      if (server.answer == "close") {
        stream.shutdown_write();
        return;
      }
      stream.write(server.answer);
      if (server.answer[0] == 'S') {
        EXPECT_TRUE(stream.start_tls_server(server.tls).ok());
        stream.write(server.greeting);
      }
    }
    Server& server;
    Stream stream;
    std::string received;
    bool asked = false;
  };

  void on_io(std::uint32_t) override {
    accept_some(listener_.get(), 10, [this](Accepted accepted) {
      clients_.push_back(std::make_unique<Client>(*this, accepted.fd.release()));
    });
  }

  EventLoop& loop_;
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  EventLoop::Token token_;
  std::vector<std::unique_ptr<Client>> clients_;
};

struct ConnectorTest : ::testing::Test {
  EventLoop loop;
  SocketAddresses db_addresses{*SocketAddress::numeric("127.0.0.1", 0)};
  Resolver resolver{{}, [this](const std::string& host) -> Result<SocketAddresses> {
                      if (host.ends_with(".example")) return db_addresses;
                      return Error{sqlstate::kCannotConnect, "Name or service not known", {}};
                    }};
  std::optional<Server> server{std::in_place, loop};

  std::unique_ptr<Connector> connector;
  std::unique_ptr<Endpoint> connection;
  std::string error;
  int finished = 0;

  ConnectTarget target(SslMode mode, const std::string& host = "db.example") {
    ConnectTarget made;
    made.host = host;
    made.port = server ? server->port() : 1;
    made.ssl_mode = mode;
    if (mode != SslMode::kDisable) made.tls = client_context(pki().client_config(mode));
    return made;
  }
  void start(ConnectTarget to, Clock::duration patience = 20s) {
    connector = std::make_unique<Connector>(
        loop, resolver, std::move(to), Clock::now() + patience,
        [this](Result<Stream::Detached> result) {
          ++finished;
          if (result) {
            connection = std::make_unique<Endpoint>(loop, std::move(*result));
          } else {
            error = result.error().message;
            EXPECT_EQ(sqlstate::kCannotConnect, result.error().code);
          }
          connector.reset();  // allowed from here
        });
    EXPECT_EQ(0, finished) << "called from inside the constructor";
  }
  void connect(ConnectTarget to, Clock::duration patience = 20s) {
    start(std::move(to), patience);
    run_until(loop, [&] { return finished > 0; });
    EXPECT_EQ(1, finished);
  }
  // The connection works from end to end.
  void expect_connected(bool with_tls) {
    ASSERT_TRUE(connection) << error;
    EXPECT_EQ(with_tls, connection->stream.tls());
    connection->stream.write("startup");
    run_until(loop, [&] { return server->received() == "startup"; });
  }
  std::string where() const {
    return "db.example:" + std::to_string(server->port()) + " (127.0.0.1)";
  }
};

TEST_F(ConnectorTest, ConnectsInPlainTextWithoutAsking) {
  for (const SslMode mode : {SslMode::kDisable, SslMode::kAllow}) {
    finished = 0;
    connect(target(mode));
    expect_connected(false);
  }
  EXPECT_EQ(0u, server->ssl_requests());
}

TEST_F(ConnectorTest, ShakesHandsInEveryModeThatAsksForTls) {
  for (const SslMode mode :
       {SslMode::kPrefer, SslMode::kRequire, SslMode::kVerifyCa, SslMode::kVerifyFull}) {
    finished = 0;
    connect(target(mode));
    expect_connected(true);
    EXPECT_NE("", connection->stream.server_end_point_hash());
  }
  EXPECT_EQ(4u, server->ssl_requests());
}

TEST_F(ConnectorTest, PrefersButDoesWithoutTls) {
  server->answer = "N";
  connect(target(SslMode::kPrefer));
  expect_connected(false);
  EXPECT_EQ(1u, server->accepted());
}

TEST_F(ConnectorTest, ConnectsAnewWithoutTlsWherePreferredTlsFails) {
  TlsConfig strict = pki().server_config();
  strict.protocols_min = "TLSv1.3";
  server->tls = server_context(strict);
  ConnectTarget old = target(SslMode::kPrefer);
  SSL_CTX_set_max_proto_version(old.tls->native(), TLS1_2_VERSION);
  connect(old);
  expect_connected(false);
  EXPECT_EQ(2u, server->accepted());
  EXPECT_EQ(1u, server->ssl_requests());

  // Where it is demanded the failure stands.
  finished = 0;
  old.ssl_mode = SslMode::kRequire;
  connect(old);
  EXPECT_EQ(
      "could not connect to " + where() + ": TLS handshake failed: tlsv1 alert protocol version",
      error);
}

TEST_F(ConnectorTest, ConnectsAnewWithoutTlsWhereTheAnswerIsAnErrorOrTheEnd) {
  for (const char* answer : {"EFATAL", "close"}) {
    server.emplace(loop);
    server->answer = answer;
    finished = 0;
    connect(target(SslMode::kPrefer));
    expect_connected(false);
    EXPECT_EQ(2u, server->accepted());
    finished = 0;
    connect(target(SslMode::kRequire));
    EXPECT_NE("", std::exchange(error, ""));
  }
}

TEST_F(ConnectorTest, SaysThatTheServerHasNoTls) {
  server->answer = "N";
  connect(target(SslMode::kVerifyFull));
  EXPECT_EQ("could not connect to " + where() +
                ": the server does not support TLS, which sslmode verify-full demands",
            error);
}

TEST_F(ConnectorTest, RefusesAServerThatIsNotTheOneAskedFor) {
  connect(target(SslMode::kVerifyFull, "evil.example"));
  EXPECT_EQ("could not connect to evil.example:" + std::to_string(server->port()) +
                " (127.0.0.1): TLS handshake failed: the certificate is not accepted: hostname "
                "mismatch (asked for \"evil.example\")",
            error);
  finished = 0;
  connect(target(SslMode::kVerifyCa, "evil.example"));
  expect_connected(true);
}

// CVE-2021-23222: bytes in plain text behind the 'S'.
TEST_F(ConnectorTest, RefusesBytesStuffedBehindTheAnswer) {
  server->answer = std::string("SR\0\0\0\x08\0\0\0\0", 10);
  connect(target(SslMode::kRequire));
  EXPECT_FALSE(connection);
  EXPECT_NE(std::string::npos, error.find("TLS handshake failed")) << error;
}

TEST_F(ConnectorTest, RefusesAnAnswerOfAnotherProtocol) {
  server->answer = "HTTP/1.1 400 Bad Request\r\n";
  connect(target(SslMode::kPrefer));
  EXPECT_EQ(
      "could not connect to " + where() + ": the answer to the request for TLS is not PostgreSQL's",
      error);
}

// Its bytes could not be handed over with the connection.
TEST_F(ConnectorTest, RefusesAServerThatSpeaksFirst) {
  server->greeting = "220 mail.example";
  const ConnectTarget to = target(SslMode::kRequire);
  // Here the server's is the last message of the handshake, and its words come with it.
  SSL_CTX_set_max_proto_version(to.tls->native(), TLS1_2_VERSION);
  connect(to);
  EXPECT_EQ("could not connect to " + where() + ": the server spoke before it was spoken to",
            error);
}

TEST_F(ConnectorTest, GivesUpAtTheDeadlineOnASilentServer) {
  server->answer = "";
  connect(target(SslMode::kRequire), 100ms);
  EXPECT_EQ("could not connect to " + where() + ": timed out", error);
}

TEST_F(ConnectorTest, SaysWhoRefused) {
  const ConnectTarget to = target(SslMode::kDisable, "127.0.0.1");
  server.reset();
  connect(to);
  EXPECT_EQ("could not connect to 127.0.0.1:" + std::to_string(to.port) + ": Connection refused",
            error);
}

TEST_F(ConnectorTest, SaysThatANameIsUnknown) {
  connect(target(SslMode::kDisable, "nowhere"));
  EXPECT_EQ("could not connect to nowhere:" + std::to_string(server->port()) +
                ": Name or service not known",
            error);
}

TEST_F(ConnectorTest, TriesEveryAddress) {
  // Nobody listens on the first two.
  db_addresses = {*SocketAddress::numeric("::1", 0), *SocketAddress::numeric("127.0.0.2", 0),
                  *SocketAddress::numeric("127.0.0.1", 0)};
  connect(target(SslMode::kVerifyFull));
  expect_connected(true);
  finished = 0;
  ConnectTarget to = target(SslMode::kDisable);
  server.reset();
  connect(to);
  EXPECT_NE(std::string::npos, error.find("(127.0.0.1): Connection refused")) << error;
}

TEST_F(ConnectorTest, LeavesTimeForTheAddressBehindASilentOne) {
  Server silent(loop, "127.0.0.2", server->port());
  silent.answer = "";
  db_addresses = {*SocketAddress::numeric("127.0.0.2", 0), *SocketAddress::numeric("127.0.0.1", 0)};
  connect(target(SslMode::kRequire), 2s);
  expect_connected(true);
  EXPECT_EQ(1u, silent.ssl_requests());
}

TEST_F(ConnectorTest, ConnectsToUnixSocketsWithoutTls) {
  const TemporaryFolder folder;
  server.emplace(loop, folder.path(""));
  ConnectTarget to = target(SslMode::kRequire, folder.path(""));
  to.port = 5432;
  connect(to);
  expect_connected(false);

  finished = 0;
  to.port = 5433;
  connect(to);
  EXPECT_EQ(
      "could not connect to unix:" + folder.path("") + "/.s.PGSQL.5433: No such file or directory",
      error);
}

TEST_F(ConnectorTest, WaitsForRoomInTheQueueOfAUnixSocket) {
  const TemporaryFolder folder;
  ListenOptions options;
  options.backlog = 0;
  const std::string path = folder.path(".s.PGSQL.5432");
  Result<UniqueFd> listener = listen_unix(path, 0700, options);
  std::vector<Connecting> crowd;
  do {
    crowd.push_back(std::move(*connect_start(*SocketAddress::unix_path(path), {})));
  } while (!crowd.back().busy);
  ConnectTarget to = target(SslMode::kDisable, folder.path(""));
  to.port = 5432;
  start(to);
  for (int i = 0; i < 3; ++i) loop.run_once(20ms);
  EXPECT_EQ(0, finished);
  Accepted accepted;
  ASSERT_EQ(AcceptStatus::kAccepted, accept_one(listener->get(), accepted));
  run_until(loop, [&] { return finished > 0; });
  EXPECT_TRUE(connection) << error;
}

// Destroyed after every number of turns: no callback, nothing left behind for the sanitizers.
TEST_F(ConnectorTest, CanBeDestroyedAtEveryPoint) {
  bool completed = false;
  for (int turns = 0; !completed; ++turns) {
    ASSERT_LT(turns, 100);
    finished = 0;
    start(target(SslMode::kVerifyFull));
    for (int i = 0; i < turns && finished == 0; ++i) loop.run_once(100ms);
    completed = finished > 0;
    connector.reset();
    for (int i = 0; i < 3; ++i) loop.run_once(0ms);
    EXPECT_EQ(completed ? 1 : 0, finished);
  }
}

TEST(SecondAttempt, IsMadeAsLibpqDoes) {
  EXPECT_EQ(SslMode::kRequire, ssl_mode_of_second_attempt(SslMode::kAllow, false));
  EXPECT_EQ(SslMode::kDisable, ssl_mode_of_second_attempt(SslMode::kPrefer, true));
  EXPECT_EQ(std::nullopt, ssl_mode_of_second_attempt(SslMode::kPrefer, false));
  EXPECT_EQ(std::nullopt, ssl_mode_of_second_attempt(SslMode::kAllow, true));
  EXPECT_EQ(std::nullopt, ssl_mode_of_second_attempt(SslMode::kRequire, true));
  EXPECT_EQ(std::nullopt, ssl_mode_of_second_attempt(SslMode::kDisable, false));
}

}  // namespace
}  // namespace pgshunt
