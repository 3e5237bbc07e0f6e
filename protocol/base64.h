// Base64 (RFC 4648, section 4) as SCRAM uses it: one text per value and no other. A decoder that
// let padding bits or white space vary would let a proof be altered and still pass.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgshunt {

void append_base64(std::string& out, std::string_view bytes);
// False, `out` unspecified, if `text` is not the canonical encoding of anything.
bool decode_base64(std::string_view text, std::string& out);

}  // namespace pgshunt
