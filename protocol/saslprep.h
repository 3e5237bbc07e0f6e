// SASLprep (RFC 4013) of a password, with PostgreSQL's leniency (pg_saslprep() and its callers in
// common/scram-common.c).
#pragma once

#include <string>
#include <string_view>

namespace pgshunt {

// The form of `password` that goes into SCRAM's key derivation. Pure ASCII stays as it is (control
// characters included: PostgreSQL takes that short cut before any check). What is not UTF-8, or
// holds characters the profile prohibits, is used as its raw bytes, because the password may be in
// another encoding. Cuts nothing: a zero byte cannot occur in a password message.
std::string saslprep(std::string_view password);

}  // namespace pgshunt
