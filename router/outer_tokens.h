// The tokens of a statement outside of all parentheses, for who looks for its clauses in the text.
#pragma once

#include <cstddef>
#include <string_view>

#include "router/sql_lexer.h"

namespace pgshunt {

class OuterTokens {
 public:
  explicit OuterTokens(std::string_view sql) : lexer_(sql) {}

  // False at the end, and at a token without one.
  bool next() {
    before_ = token_;
    while (lexer_.next(token_)) {
      if (token_.kind == TokenKind::kUnterminated) return false;
      const bool opens = lexer_.is_symbol(token_, '(') || lexer_.is_symbol(token_, '[');
      if (opens && depth_++ == 0) opened_ = token_;
      if (lexer_.is_symbol(token_, ')') || lexer_.is_symbol(token_, ']')) --depth_;
      if (depth_ == 0) return true;
    }
    return false;
  }

  // Reserved words (LIMIT, FROM, RETURNING, ...) can outside of parentheses only be clauses or,
  // after a dot or AS, names.
  bool is_keyword(std::string_view lower) const {
    return token_.kind == TokenKind::kIdentifier && word_is(lexer_.text(token_), lower) &&
           !lexer_.is_symbol(before_, '.') &&
           !(before_.kind == TokenKind::kIdentifier && word_is(lexer_.text(before_), "as"));
  }
  bool is_symbol(char symbol) const { return lexer_.is_symbol(token_, symbol); }
  // Of parentheses, the closing one.
  const SqlToken& token() const { return token_; }
  // The opening one, if token() is a closing one.
  const SqlToken& opening() const { return opened_; }
  // Just past the outer token before this one.
  std::size_t end_before() const { return before_.end; }

 private:
  SqlLexer lexer_;
  SqlToken token_;
  SqlToken before_;
  SqlToken opened_;
  int depth_ = 0;
};

}  // namespace pgshunt
