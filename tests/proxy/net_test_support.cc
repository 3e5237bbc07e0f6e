#include "tests/proxy/net_test_support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>

namespace pgshunt::testing {
namespace {

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

void add_extension(X509* certificate, X509V3_CTX* context, int id, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, context, id, value);
  ASSERT_NE(nullptr, extension) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = std::filesystem::temp_directory_path().string() + "/pgshunt-net-XXXXXX";
  EXPECT_NE(nullptr, ::mkdtemp(pattern.data()));
  root_ = pattern;
}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(root_); }

std::string TemporaryFolder::write(const std::string& name, const std::string& content) const {
  std::ofstream(path(name)) << content;
  return path(name);
}

Certificate::Certificate(const CertificateRequest& request, const Certificate* issuer)
    : x509_(X509_new(), X509_free), key_(EVP_EC_gen("P-256"), EVP_PKEY_free) {
  static std::atomic<long> serial{1};
  X509* x509 = x509_.get();
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x509), request.valid_from_seconds);
  X509_gmtime_adj(X509_getm_notAfter(x509), request.valid_for_seconds);
  X509_set_pubkey(x509, key_.get());
  X509_NAME* subject = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(request.common_name.data()),
                             static_cast<int>(request.common_name.size()), -1, 0);
  const Certificate& signer = issuer == nullptr ? *this : *issuer;
  X509_set_issuer_name(x509, X509_get_subject_name(signer.x509()));
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, signer.x509(), x509, nullptr, nullptr, 0);
  add_extension(x509, &context, NID_basic_constraints,
                request.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!request.alternative_names.empty()) {
    add_extension(x509, &context, NID_subject_alt_name, request.alternative_names.c_str());
  }
  EXPECT_NE(0, X509_sign(x509, signer.key_.get(), EVP_get_digestbyname(request.digest)));
}

std::string Certificate::pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, x509_.get());
  return bio_text(bio);
}

std::string Certificate::key_pem(const char* passphrase) const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key_.get(), passphrase == nullptr ? nullptr : EVP_aes_128_cbc(),
                           nullptr, 0, nullptr, const_cast<char*>(passphrase));
  return bio_text(bio);
}

TlsConfig Pki::server_config(SslMode mode) const {
  TlsConfig config;
  config.mode = mode;
  config.cert_file = server_file;
  config.key_file = server_key_file;
  config.ca_file = ca_file;
  return config;
}

TlsConfig Pki::client_config(SslMode mode) const {
  TlsConfig config;
  config.mode = mode;
  config.ca_file = ca_file;
  return config;
}

std::shared_ptr<const TlsContext> server_context(const TlsConfig& config) {
  auto made = TlsContext::server(config);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(*made);
}

std::shared_ptr<const TlsContext> client_context(const TlsConfig& config) {
  auto made = TlsContext::client(config);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(*made);
}

namespace {
DescriptorPair socket_pair(int type) {
  int fds[2];
  EXPECT_EQ(0, ::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
  return {fds[0], fds[1]};
}
}  // namespace

DescriptorPair unix_pair() { return socket_pair(SOCK_STREAM); }

DescriptorPair seqpacket_pair() { return socket_pair(SOCK_SEQPACKET); }

DescriptorPair tcp_pair() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(0, ::bind(listener, reinterpret_cast<sockaddr*>(&address), size));
  EXPECT_EQ(0, ::listen(listener, 1));
  EXPECT_EQ(0, ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size));
  DescriptorPair pair;
  pair.first = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(0, ::connect(pair.first, reinterpret_cast<sockaddr*>(&address), size));
  pair.second = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  EXPECT_LE(0, pair.second);
  ::fcntl(pair.first, F_SETFL, O_NONBLOCK);
  ::close(listener);
  return pair;
}

void Endpoint::on_io(std::uint32_t events) {
  ++calls;
  if (events & kIoWrite) stream.flush();
  if (events & kIoRead) drain();
}

void Endpoint::drain() {
  std::string space(read_size, '\0');
  do {
    std::size_t got = 0;
    switch (stream.read(space.data(), space.size(), got)) {
      case IoResult::kOk:
        received.append(space, 0, got);
        break;
      case IoResult::kWouldBlock:
        break;
      case IoResult::kClosed:
        closed = true;
        stream.want_read(false);
        return;
      case IoResult::kFailed:
        failed = true;
        stream.want_read(false);
        return;
    }
  } while (stream.has_pending());
}

}  // namespace pgshunt::testing
