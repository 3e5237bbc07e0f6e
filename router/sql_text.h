// Names and values written into SQL.
#pragma once

#include <string>
#include <string_view>

namespace pgshunt {

inline std::string quoted_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out += '"';
}

// As E'...', which reads alike under either standard_conforming_strings. The encoding must have no
// letters with bytes that look like a quote or backslash (encoding_embeds_ascii()).
inline void append_string_literal(std::string& out, std::string_view value) {
  out += "E'";
  for (const char c : value) out.append(c == '\'' || c == '\\' ? 2 : 1, c);
  out += '\'';
}

}  // namespace pgshunt
