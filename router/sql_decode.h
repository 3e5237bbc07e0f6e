// From how a name or a string is written in SQL to what it says.
#pragma once

#include <string>
#include <string_view>

#include "router/sql_lexer.h"

namespace pgshunt {

// Appends the name an identifier token stands for: unquoted words in lower case (ASCII only: what
// the server does beyond it depends on its encoding), quotes and U& escapes resolved (with the
// default escape character), cut to 63 bytes at a UTF-8 boundary as PostgreSQL cuts it. False for
// a bad U& escape.
bool append_identifier(std::string_view sql, const SqlToken& token, std::string& out);

// Appends the value of a string token of kind kString, kEscapeString, kUnicodeString (with the
// default escape character) or kDollarString, continuation lines included. `raw` is the whole
// token. False where PostgreSQL would refuse it: a bad \u escape, a zero byte.
bool append_string(TokenKind kind, std::string_view raw, std::string& out);

// Appends the value of an integer or decimal token: integers in decimal, no underscores, no leading
// zeros before an integer. False for a hexadecimal, octal or binary integer beyond 64 bits.
bool append_number(std::string_view raw, std::string& out);

}  // namespace pgshunt
