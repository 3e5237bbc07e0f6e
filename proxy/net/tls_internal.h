// What tls_context.cc and tls_session.cc share. Not for others.
#pragma once

#include <openssl/types.h>

#include <string>

namespace pgshunt {

// The reason of the first error in OpenSSL's queue, which is emptied.
std::string take_openssl_reason();

// RFC 5929, section 4.1; see TlsSession::server_end_point_hash().
std::string certificate_end_point_hash(const X509* certificate);

}  // namespace pgshunt
