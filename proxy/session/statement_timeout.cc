#include "proxy/session/statement_timeout.h"

#include <cmath>
#include <cstdlib>
#include <string>

#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Milliseconds in a unit; 0: it is none.
double unit_of(std::string_view name) {
  if (name.empty() || name == "ms") return 1;
  if (name == "us") return 0.001;
  if (name == "s") return 1000;
  if (name == "min") return 60'000;
  if (name == "h") return 3'600'000;
  if (name == "d") return 86'400'000;
  return 0;
}

}  // namespace

std::chrono::milliseconds timeout_of(std::string_view statement) {
  // The value is the last token.
  SqlLexer lexer(statement);
  SqlToken last;
  for (SqlToken token; lexer.next(token);) {
    if (!lexer.is_symbol(token, ';')) last = token;
  }
  std::string text;
  if (last.kind == TokenKind::kInteger || last.kind == TokenKind::kDecimal) {
    text = lexer.text(last);
  } else if (!append_string(last.kind, lexer.text(last), text)) {
    return {};
  }
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const double milliseconds = number * unit_of(trim_sql_space(end));
  constexpr double kMost = 2147483647;  // INT_MAX, as PostgreSQL's
  if (!(milliseconds > 0) || milliseconds > kMost) return {};
  return std::chrono::milliseconds(std::llround(std::ceil(milliseconds)));
}

}  // namespace pgshunt
