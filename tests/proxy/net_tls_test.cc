#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <random>

#include "proxy/net/tls.h"
#include "proxy/net/tls_internal.h"
#include "tests/proxy/net_test_support.h"

namespace pgshunt {
namespace {

using namespace testing;
using Negotiation = TlsSession::Negotiation;
using SessionStatus = TlsSession::Status;

const Pki& pki() {
  static const Pki made;
  return made;
}

std::shared_ptr<const TlsContext> default_server() { return server_context(pki().server_config()); }
std::shared_ptr<const TlsContext> default_client() { return client_context(pki().client_config()); }

std::string digest(const X509* certificate, const EVP_MD* function) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(certificate, function, hash, &size);
  return {reinterpret_cast<const char*>(hash), size};
}

// Two sessions without sockets: what one sends is carried to the other in pieces.
struct Wire {
  std::unique_ptr<TlsSession> client;
  std::unique_ptr<TlsSession> server;
  std::string to_server, to_client;  // ciphertext under way
  std::string server_got, client_got;
  bool client_failed = false, server_failed = false;
  std::size_t piece = std::string::npos;  // carried at once
  std::size_t space = 16 * 1024;          // of a reader

  Wire(std::shared_ptr<const TlsContext> client_side, std::shared_ptr<const TlsContext> server_side,
       const std::string& host = "db.example")
      : client(std::move(*TlsSession::client(std::move(client_side), host))),
        server(std::move(*TlsSession::server(std::move(server_side), Negotiation::kSslRequest))) {
    client->handshake(to_server);
  }

  bool carry(std::string& bytes, TlsSession& to, std::string& answer, std::string& got_there) {
    const std::string now = bytes.substr(0, piece);
    bytes.erase(0, now.size());
    std::string room(space, '\0');
    std::string_view in = now;
    do {
      std::size_t got = 0;
      if (to.receive(in, room.data(), room.size(), got, answer) != SessionStatus::kOpen) {
        return false;
      }
      got_there.append(room, 0, got);
      in = {};
    } while (to.has_pending());
    return true;
  }
  void run() {
    while ((!to_server.empty() && !server_failed) || (!to_client.empty() && !client_failed)) {
      if (!to_server.empty() && !server_failed) {
        server_failed = !carry(to_server, *server, to_client, server_got);
      }
      if (!to_client.empty() && !client_failed) {
        client_failed = !carry(to_client, *client, to_server, client_got);
      }
    }
  }
  bool established() const { return client->handshake_done() && server->handshake_done(); }
};

TEST(TlsSession, ShakesHandsAndTalksOneByteAtATime) {
  Wire wire(default_client(), default_server());
  wire.piece = 1;
  wire.run();
  ASSERT_TRUE(wire.established());
  wire.client->encrypt("question", wire.to_server);
  wire.server->encrypt("answer", wire.to_client);
  wire.run();
  EXPECT_EQ("question", wire.server_got);
  EXPECT_EQ("answer", wire.client_got);
  EXPECT_EQ("TLSv1.3 TLS_AES_256_GCM_SHA384", wire.client->description());
}

TEST(TlsSession, DeliversEverythingWhateverTheSpaceAndThePieces) {
  std::mt19937 random(11);
  Wire wire(default_client(), default_server());
  wire.run();
  ASSERT_TRUE(wire.established());
  std::string sent;
  for (int i = 0; i < 60; ++i) {
    std::string message(random() % 60'000, '\0');
    for (char& byte : message) byte = static_cast<char>(random());
    wire.client->encrypt(message, wire.to_server);
    sent += message;
    wire.piece = 1 + random() % 50'000;
    wire.space = 1 + random() % 20'000;
    wire.run();
  }
  EXPECT_TRUE(sent == wire.server_got);
}

// The limit exists so that nothing has to be set aside in a bulk transfer.
TEST(TlsSession, KeepsNothingAsideWhenTheLimitIsObserved) {
  Wire wire(default_client(), default_server());
  wire.run();
  wire.client->encrypt(std::string(1 << 20, 'x'), wire.to_server);
  std::string room(64 * 1024, '\0');
  std::size_t total = 0;
  while (!wire.to_server.empty()) {
    const std::string piece = wire.to_server.substr(0, wire.server->receive_limit(room.size()));
    wire.to_server.erase(0, piece.size());
    std::size_t got = 0;
    ASSERT_EQ(SessionStatus::kOpen,
              wire.server->receive(piece, room.data(), room.size(), got, wire.to_client));
    ASSERT_FALSE(wire.server->has_pending());
    total += got;
  }
  EXPECT_EQ(1u << 20, total);
}

TEST(TlsSession, NeverDeliversADamagedRecord) {
  for (std::size_t at = 0; at < 60; ++at) {
    Wire wire(default_client(), default_server());
    wire.run();
    ASSERT_TRUE(wire.established());
    wire.client->encrypt("a record of some forty bytes, to be broken", wire.to_server);
    if (at >= wire.to_server.size()) break;
    wire.to_server[at] = static_cast<char>(wire.to_server[at] ^ 0x20);
    wire.run();
    EXPECT_EQ("", wire.server_got) << "byte " << at;
    // A damaged length can also leave it waiting for more.
    if (at != 3 && at != 4) {
      EXPECT_TRUE(wire.server_failed) << "byte " << at;
    }
  }
}

TEST(TlsSession, ReportsTheEndAfterTheLastBytes) {
  Wire wire(default_client(), default_server());
  wire.run();
  wire.client->encrypt("last words", wire.to_server);
  wire.client->close_notify(wire.to_server);
  char room[100];
  std::size_t got = 0;
  EXPECT_EQ(SessionStatus::kOpen,
            wire.server->receive(wire.to_server, room, sizeof room, got, wire.to_client));
  EXPECT_EQ("last words", std::string(room, got));
  EXPECT_TRUE(wire.server->has_pending());
  EXPECT_EQ(SessionStatus::kClosed,
            wire.server->receive({}, room, sizeof room, got, wire.to_client));
  EXPECT_FALSE(wire.server->has_pending());
}

TEST(TlsSession, RefusesGarbageAndSaysWhatItWas) {
  auto server = std::move(*TlsSession::server(default_server(), Negotiation::kSslRequest));
  char room[100];
  std::size_t got = 0;
  std::string out;
  EXPECT_EQ(SessionStatus::kFailed,
            server->receive("GET / HTTP/1.1\r\n\r\n", room, sizeof room, got, out));
  EXPECT_EQ("TLS handshake failed: http request", server->error().message);
  EXPECT_FALSE(server->has_pending());

  // What looks like a record is answered by an alert.
  auto second = std::move(*TlsSession::server(default_server(), Negotiation::kSslRequest));
  EXPECT_EQ(SessionStatus::kFailed, second->receive(std::string_view("\x16\x03\x01\x00\x04junk", 9),
                                                    room, sizeof room, got, out));
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(21, out[0]);
}

// --- who is accepted ---

std::string client_refuses(SslMode mode, const TlsConfig& server, const std::string& host) {
  Wire wire(client_context(pki().client_config(mode)), server_context(server), host);
  wire.run();
  EXPECT_EQ(wire.client_failed, !wire.client->handshake_done());
  return wire.client_failed ? wire.client->error().message : "";
}

TlsConfig shown_by(const Certificate& certificate, const std::string& name) {
  TlsConfig config = pki().server_config();
  config.cert_file = pki().folder.write(name + ".crt", certificate.pem());
  config.key_file = pki().folder.write(name + ".key", certificate.key_pem());
  return config;
}

constexpr const char* kRefused = "TLS handshake failed: the certificate is not accepted: ";

TEST(TlsVerification, ComparesTheHostOnlyForVerifyFull) {
  const TlsConfig server = pki().server_config();
  EXPECT_EQ("", client_refuses(SslMode::kVerifyFull, server, "db.example"));
  EXPECT_EQ("", client_refuses(SslMode::kVerifyFull, server, "127.0.0.1"));
  EXPECT_EQ(kRefused + std::string("hostname mismatch (asked for \"evil.example\")"),
            client_refuses(SslMode::kVerifyFull, server, "evil.example"));
  EXPECT_EQ(kRefused + std::string("IP address mismatch (asked for \"127.0.0.2\")"),
            client_refuses(SslMode::kVerifyFull, server, "127.0.0.2"));
  EXPECT_EQ("", client_refuses(SslMode::kVerifyCa, server, "evil.example"));
  EXPECT_EQ("", client_refuses(SslMode::kRequire, server, "evil.example"));
}

TEST(TlsVerification, RefusesAnUnknownAuthority) {
  const Certificate other_ca({.common_name = "other CA", .ca = true});
  const Certificate server({.common_name = "db.example", .alternative_names = "DNS:db.example"},
                           &other_ca);
  const TlsConfig config = shown_by(server, "foreign");
  const std::string why = kRefused + std::string("unable to get local issuer certificate");
  EXPECT_EQ(why, client_refuses(SslMode::kVerifyFull, config, "db.example"));
  EXPECT_EQ(why, client_refuses(SslMode::kVerifyCa, config, "db.example"));
  // As libpq: a CA file makes "require" verify, too.
  EXPECT_EQ(why, client_refuses(SslMode::kRequire, config, "db.example"));
  EXPECT_EQ("", client_refuses(SslMode::kPrefer, config, "db.example"));

  TlsConfig without_ca = pki().client_config(SslMode::kRequire);
  without_ca.ca_file.clear();
  Wire wire(client_context(without_ca), server_context(config));
  wire.run();
  EXPECT_TRUE(wire.established());
}

TEST(TlsVerification, RefusesACertificateOutOfItsTime) {
  CertificateRequest request{.common_name = "db.example", .alternative_names = "DNS:db.example"};
  request.valid_from_seconds = -7200;
  request.valid_for_seconds = -3600;
  const Certificate expired(request, &pki().ca);
  EXPECT_EQ(kRefused + std::string("certificate has expired"),
            client_refuses(SslMode::kVerifyCa, shown_by(expired, "expired"), "db.example"));
  request.valid_from_seconds = 3600;
  request.valid_for_seconds = 7200;
  const Certificate early(request, &pki().ca);
  EXPECT_EQ(kRefused + std::string("certificate is not yet valid"),
            client_refuses(SslMode::kVerifyCa, shown_by(early, "early"), "db.example"));
}

TEST(TlsVerification, IntermediatesAreSentFromTheCertificateFileOrTheCaFile) {
  const Certificate middle({.common_name = "intermediate CA", .ca = true}, &pki().ca);
  const Certificate leaf({.common_name = "db.example", .alternative_names = "DNS:db.example"},
                         &middle);
  TlsConfig config = shown_by(leaf, "leaf");
  EXPECT_NE("", client_refuses(SslMode::kVerifyFull, config, "db.example"));
  config.ca_file = pki().folder.write("both.crt", pki().ca.pem() + middle.pem());
  EXPECT_EQ("", client_refuses(SslMode::kVerifyFull, config, "db.example"));
  config.ca_file.clear();
  config.cert_file = pki().folder.write("chain.crt", leaf.pem() + middle.pem());
  EXPECT_EQ("", client_refuses(SslMode::kVerifyFull, config, "db.example"));
}

TEST(TlsVerification, ClientCertificatesAreDemandedOptionalOrForeign) {
  const TlsConfig optional = pki().server_config(SslMode::kRequire);
  const TlsConfig demanded = pki().server_config(SslMode::kVerifyCa);
  TlsConfig showing = pki().client_config();
  showing.cert_file = pki().client_file;
  showing.key_file = pki().client_key_file;

  for (const TlsConfig& server : {optional, demanded}) {
    Wire wire(client_context(showing), server_context(server));
    wire.run();
    ASSERT_TRUE(wire.established());
    EXPECT_EQ("alice", wire.server->peer_common_name());
  }
  Wire none(default_client(), server_context(optional));
  none.run();
  EXPECT_TRUE(none.established());
  EXPECT_EQ("", none.server->peer_common_name());

  Wire missing(default_client(), server_context(demanded));
  missing.run();
  EXPECT_TRUE(missing.server_failed);
  EXPECT_EQ("TLS handshake failed: peer did not return a certificate",
            missing.server->error().message);

  const Certificate stranger({.common_name = "alice"});
  showing.cert_file = pki().folder.write("stranger.crt", stranger.pem());
  showing.key_file = pki().folder.write("stranger.key", stranger.key_pem());
  for (const TlsConfig& server : {optional, demanded}) {
    Wire wire(client_context(showing), server_context(server));
    wire.run();
    EXPECT_TRUE(wire.server_failed);
    EXPECT_FALSE(wire.server->handshake_done());
    EXPECT_EQ("", wire.server->peer_common_name());
  }
}

TEST(TlsVerification, ACommonNameWithANulIsNoName) {
  const Certificate tricky({.common_name = std::string("alice\0.evil", 11)}, &pki().ca);
  TlsConfig showing = pki().client_config();
  showing.cert_file = pki().folder.write("nul.crt", tricky.pem());
  showing.key_file = pki().folder.write("nul.key", tricky.key_pem());
  Wire wire(client_context(showing), server_context(pki().server_config(SslMode::kVerifyCa)));
  wire.run();
  ASSERT_TRUE(wire.established());
  EXPECT_EQ("", wire.server->peer_common_name());
}

TEST(TlsVerification, VerifyFullNeedsAName) {
  EXPECT_FALSE(TlsSession::client(default_client(), "").ok());
}

TEST(TlsSession, RefusesAProtocolBelowTheLeast) {
  TlsConfig strict = pki().server_config();
  strict.protocols_min = "TLSv1.3";
  const auto old = default_client();
  SSL_CTX_set_max_proto_version(old->native(), TLS1_2_VERSION);
  Wire wire(old, server_context(strict));
  wire.run();
  EXPECT_TRUE(wire.server_failed && wire.client_failed);
  EXPECT_EQ("TLS handshake failed: unsupported protocol", wire.server->error().message);
  EXPECT_EQ("TLS handshake failed: tlsv1 alert protocol version", wire.client->error().message);
}

// --- channel binding ---

TEST(TlsChannelBinding, BothSidesHashTheServersCertificate) {
  Wire wire(default_client(), default_server());
  EXPECT_EQ("", wire.client->server_end_point_hash());
  wire.run();
  const std::string expected = digest(pki().server.x509(), EVP_sha256());
  EXPECT_EQ(expected, wire.client->server_end_point_hash());
  EXPECT_EQ(expected, wire.server->server_end_point_hash());
}

TEST(TlsChannelBinding, UsesTheSignaturesHashButNoWeakOne) {
  const auto hash_of = [](const char* signed_by, const EVP_MD* expected) {
    const Certificate certificate({.common_name = "x", .digest = signed_by});
    EXPECT_EQ(digest(certificate.x509(), expected), certificate_end_point_hash(certificate.x509()))
        << signed_by;
  };
  hash_of("SHA1", EVP_sha256());
  hash_of("SHA256", EVP_sha256());
  hash_of("SHA384", EVP_sha384());
  hash_of("SHA512", EVP_sha512());
  EXPECT_EQ("", certificate_end_point_hash(nullptr));
}

// --- negotiation on the socket ---

struct Sockets {
  EventLoop loop;
  DescriptorPair fds = unix_pair();
  Endpoint client{loop, fds.first};
  Endpoint server{loop, fds.second};
};

TEST(TlsNegotiation, CarriesBytesWrittenBeforeTheHandshakeIsDone) {
  Sockets s;
  ASSERT_TRUE(s.server.stream.start_tls_server(default_server()).ok());
  ASSERT_TRUE(s.client.stream.start_tls_client(default_client(), "db.example").ok());
  EXPECT_FALSE(s.client.stream.handshake_done());
  s.client.stream.write("hello");
  s.server.stream.enqueue("wel");
  s.server.stream.write("come");
  EXPECT_EQ(7u, s.server.stream.queued());
  run_until(s.loop, [&] { return s.server.received == "hello" && s.client.received == "welcome"; });
  EXPECT_EQ(0u, s.client.stream.queued());
}

TEST(TlsNegotiation, ShakesHandsEvenWhileReadingIsPaused) {
  Sockets s;
  ASSERT_TRUE(s.server.stream.start_tls_server(default_server()).ok());
  ASSERT_TRUE(s.client.stream.start_tls_client(default_client(), "db.example").ok());
  s.server.stream.want_read(false);
  s.client.stream.want_read(false);
  run_until(s.loop,
            [&] { return s.server.stream.handshake_done() && s.client.stream.handshake_done(); });
}

TEST(TlsNegotiation, RefusesBytesSentBeforeTheAnswerToTheSslRequest) {
  Sockets s;
  const Status refused = s.server.stream.start_tls_server(default_server(), "stuffed");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(sqlstate::kProtocolViolation, refused.error().code);
  EXPECT_FALSE(s.server.stream.tls());
}

// sslnegotiation=direct: the first bytes were read in search of a startup packet.
TEST(TlsNegotiation, TakesADirectClientWhoseFirstBytesWereReadAlready) {
  for (const std::size_t already : {1u, 5u, 8u, 100u, 10'000u}) {
    Sockets s;
    ASSERT_TRUE(s.client.stream.start_tls_client(default_client(), "db.example").ok());
    std::string first(already, '\0');
    const ssize_t count = ::recv(s.server.stream.fd(), first.data(), first.size(), 0);
    ASSERT_LT(0, count);
    first.resize(static_cast<std::size_t>(count));
    ASSERT_TRUE(s.server.stream.start_direct_tls_server(default_server(), first).ok());
    ASSERT_TRUE(s.server.stream.has_pending());
    s.server.drain();
    s.client.stream.write("direct");
    run_until(s.loop, [&] { return s.server.received == "direct"; });
  }
}

TEST(TlsNegotiation, RefusesADirectClientThatDoesNotNameTheProtocol) {
  const auto silent = default_client();
  SSL_CTX_set_alpn_protos(silent->native(), nullptr, 0);
  Sockets s;
  ASSERT_TRUE(s.client.stream.start_tls_client(silent, "db.example").ok());
  ASSERT_TRUE(s.server.stream.start_direct_tls_server(default_server(), {}).ok());
  run_until(s.loop, [&] { return s.server.failed; });
  EXPECT_EQ("TLS handshake failed: the client named no protocol by ALPN",
            s.server.stream.error().message);
}

TEST(TlsNegotiation, RefusesAClientOfAnotherProtocol) {
  const auto web = default_client();
  const unsigned char http[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(web->native(), http, sizeof http);
  Sockets s;
  ASSERT_TRUE(s.server.stream.start_tls_server(default_server()).ok());
  ASSERT_TRUE(s.client.stream.start_tls_client(web, "db.example").ok());
  run_until(s.loop, [&] { return s.server.failed && s.client.failed; });
  EXPECT_EQ("TLS handshake failed: tlsv1 alert no application protocol",
            s.client.stream.error().message);
}

// The peer goes away at every point of its handshake.
TEST(TlsNegotiation, SurvivesAClientThatLeavesInMidHandshake) {
  std::string hello;
  std::move(*TlsSession::client(default_client(), "db.example"))->handshake(hello);
  for (std::size_t size = 0; size <= hello.size(); size += 7) {
    Sockets s;
    ASSERT_TRUE(s.server.stream.start_tls_server(default_server()).ok());
    s.client.stream.write(std::string_view(hello).substr(0, size));
    s.client.stream.shutdown_write();
    run_until(s.loop, [&] { return s.server.closed || s.server.failed; });
    EXPECT_FALSE(s.server.stream.handshake_done());
  }
}

// --- configuration ---

std::string server_error(const TlsConfig& config) {
  const auto made = TlsContext::server(config);
  EXPECT_FALSE(made.ok());
  if (!made.ok()) {
    EXPECT_EQ(sqlstate::kConfigFileError, made.error().code);
  }
  return made.ok() ? "" : made.error().message;
}

TEST(TlsContext, NamesTheFileAndTheReason) {
  const TlsConfig good = pki().server_config();
  TlsConfig config = good;
  config.cert_file = "/nonexistent/server.crt";
  EXPECT_EQ("could not load TLS certificate \"/nonexistent/server.crt\": No such file or directory",
            server_error(config));
  config = good;
  config.cert_file = pki().folder.write("garbage.crt", "no certificate");
  EXPECT_EQ("could not load TLS certificate \"" + config.cert_file + "\": no start line",
            server_error(config));
  config = good;
  config.key_file = pki().client_key_file;
  EXPECT_EQ("could not load TLS key \"" + config.key_file + "\": key values mismatch",
            server_error(config));
  config = good;
  config.ca_file = "/nonexistent/ca.crt";
  EXPECT_EQ("could not load TLS CA certificates \"/nonexistent/ca.crt\": No such file or directory",
            server_error(config));
  config = good;
  config.ciphers = "NO-SUCH-CIPHER";
  EXPECT_EQ("TLS ciphers \"NO-SUCH-CIPHER\": no cipher match", server_error(config));
  config = good;
  config.protocols_min = "SSLv3";
  EXPECT_EQ("unknown TLS version \"SSLv3\", expected TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3",
            server_error(config));
  config = pki().server_config(SslMode::kVerifyCa);
  config.ca_file.clear();
  EXPECT_EQ("TLS client certificates need a CA file to be verified by", server_error(config));
}

TEST(TlsContext, RefusesAKeyBehindAPassphraseWithoutAskingTheTerminal) {
  TlsConfig config = pki().server_config();
  config.key_file = pki().folder.write("locked.key", pki().server.key_pem("secret"));
  const std::string message = server_error(config);
  EXPECT_NE(std::string::npos, message.find(config.key_file));
  EXPECT_EQ(std::string::npos, message.find("secret"));
}

TEST(TlsContext, OfAClientNeedsACaToVerifyBy) {
  TlsConfig config = pki().client_config(SslMode::kVerifyFull);
  config.ca_file.clear();
  const auto made = TlsContext::client(config);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ("sslmode verify-full needs a CA file to verify servers by", made.error().message);
}

}  // namespace
}  // namespace pgshunt
