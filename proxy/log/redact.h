// Takes secrets out of text that may be shown or logged.
#pragma once

#include <string>
#include <string_view>

namespace pgshunt {

// Does a parameter of this name hold a secret? (password, sslpassword, PGPASSWORD, ...)
bool is_secret_parameter(std::string_view name);

// A connection string, URI or "key=value ..." as libpq takes them, with every secret replaced by
// ***. What cannot be understood is replaced as a whole from there on: rather too much than too
// little.
std::string redact_connection_string(std::string_view text);

}  // namespace pgshunt
