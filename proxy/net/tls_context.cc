#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstring>
#include <utility>

#include "proxy/config/names.h"
#include "proxy/net/tls.h"
#include "proxy/net/tls_internal.h"

namespace pgshunt {
namespace {

Error config_error(std::string message) {
  return {sqlstate::kConfigFileError, std::move(message), {}};
}

Error file_error(std::string_view what, const std::string& file) {
  std::string message = "could not load ";
  message.append(what).append(" \"").append(file).append("\": ").append(take_openssl_reason());
  return config_error(std::move(message));
}

// A key behind a passphrase is refused: there is nobody to ask, and OpenSSL would ask the terminal.
int refuse_passphrase(char*, int, int, void*) { return -1; }

Result<int> protocol_version(const std::string& name) {
  if (name == "TLSv1") return TLS1_VERSION;
  if (name == "TLSv1.1") return TLS1_1_VERSION;
  if (name == "TLSv1.2") return TLS1_2_VERSION;
  if (name == "TLSv1.3") return TLS1_3_VERSION;
  return config_error("unknown TLS version \"" + name +
                      "\", expected TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3");
}

// PostgreSQL as ALPN writes it: one length byte before each name.
constexpr unsigned char kAlpn[] = {10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l'};

// A client that names protocols without ours did not mean to come here (PostgreSQL 17 does so too).
int select_alpn(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* name = nullptr;
  const int result =
      SSL_select_next_proto(&name, chosen_size, kAlpn, sizeof kAlpn, offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = name;
  return SSL_TLSEXT_ERR_OK;
}

Status set_protocols(SSL_CTX* context, const TlsConfig& config) {
  if (!config.protocols_min.empty()) {
    const Result<int> version = protocol_version(config.protocols_min);
    if (!version) return version.error();
    SSL_CTX_set_min_proto_version(context, *version);
  }
  if (!config.ciphers.empty() && !SSL_CTX_set_cipher_list(context, config.ciphers.c_str())) {
    return config_error("TLS ciphers \"" + config.ciphers + "\": " + take_openssl_reason());
  }
  return Ok{};
}

Status load_certificate(SSL_CTX* context, const TlsConfig& config) {
  if (config.cert_file.empty() && config.key_file.empty()) return Ok{};
  if (config.cert_file.empty()) {
    return config_error("TLS key \"" + config.key_file + "\" has no certificate to go with it");
  }
  if (config.key_file.empty()) {
    return config_error("TLS certificate \"" + config.cert_file + "\" has no key");
  }
  if (!SSL_CTX_use_certificate_chain_file(context, config.cert_file.c_str())) {
    return file_error("TLS certificate", config.cert_file);
  }
  // Also compares the key with the certificate.
  if (!SSL_CTX_use_PrivateKey_file(context, config.key_file.c_str(), SSL_FILETYPE_PEM)) {
    return file_error("TLS key", config.key_file);
  }
  // Intermediates missing from the file are looked for among the CA certificates, once: left to
  // itself, OpenSSL builds and verifies the chain anew in every handshake.
  SSL_CTX_build_cert_chain(context, SSL_BUILD_CHAIN_FLAG_UNTRUSTED | SSL_BUILD_CHAIN_FLAG_NO_ROOT |
                                        SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR |
                                        SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
  ERR_clear_error();
  return Ok{};
}

Status load_roots(SSL_CTX* context, const std::string& file) {
  if (file.empty()) return Ok{};
  if (SSL_CTX_load_verify_file(context, file.c_str())) return Ok{};
  return file_error("TLS CA certificates", file);
}

Status configure(SSL_CTX* context, const TlsConfig& config) {
  ERR_clear_error();
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  // Sessions are not resumed: libpq never asks for it, and tickets cost every login two messages
  // and the keys their copy of the session. PostgreSQL turns both off too.
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
  if (Status done = set_protocols(context, config); !done) return done;
  if (Status done = load_roots(context, config.ca_file); !done) return done;
  return load_certificate(context, config);
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::server(const TlsConfig& config) {
  std::shared_ptr<TlsContext> made(new TlsContext);
  made->context_ = SSL_CTX_new(TLS_server_method());
  if (made->context_ == nullptr) return config_error("TLS: " + take_openssl_reason());
  if (config.cert_file.empty()) {
    return config_error("TLS for clients needs a certificate and a key");
  }
  if (Status done = configure(made->context_, config); !done) return done.error();
  SSL_CTX_set_alpn_select_cb(made->context_, select_alpn, nullptr);
  made->server_end_point_hash_ =
      certificate_end_point_hash(SSL_CTX_get0_certificate(made->context_));

  const bool demanded = config.mode == SslMode::kVerifyCa || config.mode == SslMode::kVerifyFull;
  if (demanded && config.ca_file.empty()) {
    return config_error("TLS client certificates need a CA file to be verified by");
  }
  if (config.ca_file.empty()) return {std::move(made)};
  int verify = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
  if (demanded) verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(made->context_, verify, nullptr);
  // Tells clients which of their certificates to show.
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(config.ca_file.c_str());
  if (names == nullptr) return file_error("TLS CA certificates", config.ca_file);
  SSL_CTX_set_client_CA_list(made->context_, names);
  return {std::move(made)};
}

Result<std::shared_ptr<const TlsContext>> TlsContext::client(const TlsConfig& config) {
  std::shared_ptr<TlsContext> made(new TlsContext);
  made->context_ = SSL_CTX_new(TLS_client_method());
  if (made->context_ == nullptr) return config_error("TLS: " + take_openssl_reason());
  if (Status done = configure(made->context_, config); !done) return done.error();
  // Servers before 17 ignore it.
  SSL_CTX_set_alpn_protos(made->context_, kAlpn, sizeof kAlpn);

  const bool must_verify = config.mode == SslMode::kVerifyCa || config.mode == SslMode::kVerifyFull;
  if (must_verify && config.ca_file.empty()) {
    return config_error("sslmode " + std::string(name_of(config.mode)) +
                        " needs a CA file to verify servers by");
  }
  if (must_verify || (config.mode == SslMode::kRequire && !config.ca_file.empty())) {
    SSL_CTX_set_verify(made->context_, SSL_VERIFY_PEER, nullptr);
  }
  made->verifies_host_ = config.mode == SslMode::kVerifyFull;
  return {std::move(made)};
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

}  // namespace pgshunt
