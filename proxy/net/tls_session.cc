#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "proxy/net/tls.h"
#include "proxy/net/tls_internal.h"

namespace pgshunt {

// OpenSSL's end of a session: reads from and writes to what the session's current call was given.
struct SessionBio {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* space, std::size_t size, std::size_t* got) {
    BIO_clear_retry_flags(bio);
    TlsSession& self = session(bio);
    const std::size_t count = std::min(size, self.input_.size());
    if (count == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(space, self.input_.data(), count);
    self.input_.remove_prefix(count);
    self.held_ += count;
    *got = count;
    return 1;
  }

  static int write(BIO* bio, const char* bytes, std::size_t size, std::size_t* taken) {
    BIO_clear_retry_flags(bio);
    session(bio).output_->append(bytes, size);
    *taken = size;
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgshunt");
      BIO_meth_set_read_ex(fresh, read);
      BIO_meth_set_write_ex(fresh, write);
      BIO_meth_set_ctrl(fresh, control);
      return fresh;
    }();
    return made;
  }
};

namespace {

bool is_numeric_address(const std::string& host) {
  unsigned char space[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, host.c_str(), space) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), space) == 1;
}

}  // namespace

std::string take_openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown TLS error";
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  if (const char* reason = ERR_reason_error_string(code); reason != nullptr) return reason;
  return "TLS error code " + std::to_string(code);
}

std::string certificate_end_point_hash(const X509* certificate) {
  if (certificate == nullptr) return {};
  int digest_id = NID_undef;
  if (!X509_get_signature_info(const_cast<X509*>(certificate), &digest_id, nullptr, nullptr,
                               nullptr)) {
    ERR_clear_error();
    return {};
  }
  const EVP_MD* digest =
      digest_id == NID_md5 || digest_id == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest_id);
  if (digest == nullptr) return {};
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!X509_digest(certificate, digest, hash, &size)) {
    ERR_clear_error();
    return {};
  }
  return {reinterpret_cast<const char*>(hash), size};
}

Result<std::unique_ptr<TlsSession>> TlsSession::make(std::shared_ptr<const TlsContext> context) {
  std::unique_ptr<TlsSession> session(new TlsSession);
  session->context_ = std::move(context);
  session->ssl_ = SSL_new(session->context_->native());
  BIO* bio = session->ssl_ == nullptr ? nullptr : BIO_new(SessionBio::method());
  if (bio == nullptr) {
    return Error{sqlstate::kInternalError, "TLS: " + take_openssl_reason(), {}};
  }
  BIO_set_data(bio, session.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(session->ssl_, bio, bio);
  return {std::move(session)};
}

Result<std::unique_ptr<TlsSession>> TlsSession::server(std::shared_ptr<const TlsContext> context,
                                                       Negotiation negotiation) {
  Result<std::unique_ptr<TlsSession>> made = make(std::move(context));
  if (!made) return made;
  TlsSession& session = **made;
  session.is_server_ = true;
  session.direct_ = negotiation == Negotiation::kDirect;
  SSL_set_accept_state(session.ssl_);
  return made;
}

Result<std::unique_ptr<TlsSession>> TlsSession::client(std::shared_ptr<const TlsContext> context,
                                                       const std::string& host_name) {
  Result<std::unique_ptr<TlsSession>> made = make(std::move(context));
  if (!made) return made;
  TlsSession& session = **made;
  session.host_name_ = host_name;
  SSL_set_connect_state(session.ssl_);
  const bool numeric = is_numeric_address(host_name);
  bool named = true;
  // RFC 6066, section 3: no addresses in SNI.
  if (!numeric && !host_name.empty()) {
    named = SSL_set_tlsext_host_name(session.ssl_, host_name.c_str()) == 1;
  }
  if (named && session.context_->verifies_host()) {
    X509_VERIFY_PARAM* wanted = SSL_get0_param(session.ssl_);
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    named = !host_name.empty() &&
            (numeric ? X509_VERIFY_PARAM_set1_ip_asc(wanted, host_name.c_str())
                     : X509_VERIFY_PARAM_set1_host(wanted, host_name.c_str(), 0)) == 1;
  }
  if (!named) {
    ERR_clear_error();
    return Error{sqlstate::kCannotConnect,
                 "\"" + host_name + "\" is not a host name a certificate could carry",
                 {}};
  }
  return made;
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

TlsSession::Status TlsSession::handshake(std::string& out) {
  if (handshake_done_ || status_ != Status::kOpen) return status_;
  output_ = &out;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  output_ = nullptr;
  if (result != 1) {
    if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) return Status::kOpen;
    return fail("TLS handshake failed");
  }
  held_ = 0;
  handshake_done_ = true;
  if (direct_) {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    if (size == 0) return fail("TLS handshake failed: the client named no protocol by ALPN");
  }
  return Status::kOpen;
}

TlsSession::Status TlsSession::receive(std::string_view cipher, char* space, std::size_t capacity,
                                       std::size_t& got, std::string& out) {
  got = 0;
  std::string earlier;
  if (!kept_.empty()) {
    kept_.append(cipher);
    earlier = std::exchange(kept_, {});
    cipher = earlier;
  }
  input_ = cipher;
  if (!handshake_done_) handshake(out);
  if (handshake_done_ && status_ == Status::kOpen) {
    output_ = &out;
    decrypt(space, capacity, got);
    output_ = nullptr;
  }
  if (status_ == Status::kOpen && !input_.empty()) kept_.assign(input_);
  input_ = {};
  if (got > 0) return Status::kOpen;
  status_reported_ = status_ != Status::kOpen;
  return status_;
}

TlsSession::Status TlsSession::decrypt(char* space, std::size_t capacity, std::size_t& got) {
  // Asking OpenSSL when there is nothing left to take would only make it say so.
  while (got < capacity && (!input_.empty() || SSL_pending(ssl_) > 0)) {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_, space + got, capacity - got, &count);
    if (result == 1) {
      got += count;
      held_ = 0;
      continue;
    }
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_WANT_READ:
        continue;  // everything was taken: the loop's condition ends it
      case SSL_ERROR_ZERO_RETURN:
        return status_ = Status::kClosed;
      default:
        return fail("TLS failed");
    }
  }
  return Status::kOpen;
}

std::size_t TlsSession::receive_limit(std::size_t capacity) const {
  // A floor, or a record larger than the reader's space could never be completed.
  constexpr std::size_t kLeast = 4096;
  constexpr std::size_t kLongestFlight = 16 * 1024;  // certificates rarely need as much
  if (!handshake_done_) return kLongestFlight;
  return std::max(capacity - std::min(capacity, held_), kLeast);
}

bool TlsSession::has_pending() const {
  if (status_ != Status::kOpen) return !status_reported_;
  return !kept_.empty() || (handshake_done_ && SSL_pending(ssl_) > 0);
}

TlsSession::Status TlsSession::encrypt(std::string_view plain, std::string& out) {
  assert(handshake_done_);
  if (status_ == Status::kFailed) return status_;
  if (plain.empty()) return Status::kOpen;
  output_ = &out;
  std::size_t taken = 0;
  const int result = SSL_write_ex(ssl_, plain.data(), plain.size(), &taken);
  output_ = nullptr;
  // Our end of the pipe takes everything, so there is nothing to wait for: this is final.
  return result == 1 ? Status::kOpen : fail("TLS failed");
}

void TlsSession::close_notify(std::string& out) {
  if (!handshake_done_ || status_ == Status::kFailed) return;
  output_ = &out;
  SSL_shutdown(ssl_);
  output_ = nullptr;
  ERR_clear_error();
}

TlsSession::Status TlsSession::fail(std::string_view what) {
  status_ = Status::kFailed;
  error_.code = sqlstate::kConnectionFailure;
  error_.message = what;
  // The result is set even where nobody asked for verification.
  const long verified =
      SSL_get_verify_mode(ssl_) == SSL_VERIFY_NONE ? X509_V_OK : SSL_get_verify_result(ssl_);
  if (!handshake_done_ && verified != X509_V_OK) {
    error_.message.append(": the certificate is not accepted: ");
    error_.message.append(X509_verify_cert_error_string(verified));
    if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH) {
      error_.message.append(" (asked for \"").append(host_name_).append("\")");
    }
    ERR_clear_error();
  } else if (ERR_peek_error() != 0) {
    error_.message.append(": ").append(take_openssl_reason());
  }
  return status_;
}

std::string TlsSession::server_end_point_hash() const {
  if (!handshake_done_) return {};
  if (is_server_) return context_->server_end_point_hash();
  return certificate_end_point_hash(SSL_get0_peer_certificate(ssl_));
}

std::string TlsSession::peer_common_name() const {
  if (!handshake_done_ || SSL_get_verify_mode(ssl_) == SSL_VERIFY_NONE) return {};
  X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr || SSL_get_verify_result(ssl_) != X509_V_OK) return {};
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) {
    ERR_clear_error();
    return {};
  }
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  // A NUL inside could make two names look alike to those who stop at it (CVE-2009-4034).
  if (name.find('\0') != std::string::npos) return {};
  return name;
}

std::string TlsSession::description() const {
  if (!handshake_done_) return {};
  return std::string(SSL_get_version(ssl_)) + " " + SSL_get_cipher_name(ssl_);
}

}  // namespace pgshunt
