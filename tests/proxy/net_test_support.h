// What the tests of proxy/net share: certificates made on the spot, and a loop that waits for
// conditions instead of sleeping.
#pragma once

#include <gtest/gtest.h>
#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls.h"

namespace pgshunt::testing {

using namespace std::chrono_literals;

// `turn`: the longest wait of one turn; zero where the condition itself drives what happens.
template <class Condition>
void run_until(EventLoop& loop, Condition condition, Clock::duration turn = 100ms) {
  const TimePoint limit = Clock::now() + 30s;
  while (!condition()) {
    ASSERT_LT(Clock::now(), limit) << "what was waited for did not happen";
    loop.run_once(turn);
  }
}

// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name) const { return root_ + "/" + name; }
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::string root_;
};

struct CertificateRequest {
  std::string common_name;
  // As in a configuration of OpenSSL: "DNS:db.example,IP:127.0.0.1". Empty: none.
  std::string alternative_names = "";
  const char* digest = "SHA256";  // of the signature
  long valid_from_seconds = -3600;
  long valid_for_seconds = 3600;  // from now
  bool ca = false;
};

// A certificate and its key, signed by `issuer` or, without one, by itself.
class Certificate {
 public:
  explicit Certificate(const CertificateRequest& request, const Certificate* issuer = nullptr);
  std::string pem() const;
  std::string key_pem(const char* passphrase = nullptr) const;
  X509* x509() const { return x509_.get(); }

 private:
  std::shared_ptr<X509> x509_;
  std::shared_ptr<EVP_PKEY> key_;
};

// A CA with a server's and a client's certificate, as files.
struct Pki {
  TemporaryFolder folder;
  Certificate ca{{.common_name = "test CA", .ca = true}};
  Certificate server{{.common_name = "db.example",
                      .alternative_names = "DNS:db.example,DNS:localhost,IP:127.0.0.1"},
                     &ca};
  Certificate client{{.common_name = "alice"}, &ca};

  std::string ca_file = folder.write("ca.crt", ca.pem());
  std::string server_file = folder.write("server.crt", server.pem());
  std::string server_key_file = folder.write("server.key", server.key_pem());
  std::string client_file = folder.write("client.crt", client.pem());
  std::string client_key_file = folder.write("client.key", client.key_pem());

  // Trusts the CA and shows the server's certificate.
  TlsConfig server_config(SslMode mode = SslMode::kRequire) const;
  // Trusts the CA and shows no certificate.
  TlsConfig client_config(SslMode mode = SslMode::kVerifyFull) const;
};

// Contexts of configurations that must be good.
std::shared_ptr<const TlsContext> server_context(const TlsConfig& config);
std::shared_ptr<const TlsContext> client_context(const TlsConfig& config);

// Two connected non-blocking descriptors.
struct DescriptorPair {
  int first = -1;
  int second = -1;
};
DescriptorPair unix_pair();
DescriptorPair tcp_pair();
DescriptorPair seqpacket_pair();

// A stream that keeps what it receives and how it ended.
class Endpoint : public IoHandler {
 public:
  Endpoint(EventLoop& loop, int fd) : stream(loop, fd, *this) {}
  Endpoint(EventLoop& loop, Stream::Detached detached) : stream(loop, std::move(detached), *this) {}

  void on_io(std::uint32_t events) override;
  // Reads until there is nothing inside the stream any more.
  void drain();

  Stream stream;
  std::string received;
  std::size_t read_size = 64 * 1024;
  int calls = 0;
  bool closed = false;
  bool failed = false;
};

}  // namespace pgshunt::testing
