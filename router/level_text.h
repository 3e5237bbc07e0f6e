// The tokens of a whole statement, and where in them the clauses of one of its SELECTs stand,
// however deep that is nested.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/clause_text.h"
#include "router/sql_lexer.h"

namespace pgshunt {

class LevelText {
 public:
  // Nothing if a parenthesis or string is not closed.
  static std::optional<LevelText> read(std::string_view sql);

  std::string_view sql() const { return sql_; }
  const std::vector<SqlToken>& tokens() const { return tokens_; }
  std::string_view text(std::size_t token) const {
    return sql_.substr(tokens_[token].begin, tokens_[token].size());
  }
  // The token that begins there.
  std::optional<std::size_t> at(std::size_t offset) const;
  bool is_symbol(std::size_t token, char symbol) const {
    return token < tokens_.size() && tokens_[token].kind == TokenKind::kSymbol &&
           sql_[tokens_[token].begin] == symbol;
  }
  // An unquoted word, not behind a dot or AS.
  bool is_keyword(std::size_t token, std::string_view lower) const;
  // How many parentheses are around it; those at their ends are outside.
  int depth(std::size_t token) const { return token < depth_.size() ? depth_[token] : -1; }
  // The word of a clause that comes behind WHERE, or a semicolon.
  bool ends_where(std::size_t token) const;
  // What a name says: folded to lower case, or without its quotes; empty for other tokens.
  std::string name(std::size_t token) const;

  // The conditions that WHERE joins by AND, of the SELECT in whose FROM this token is. Empty: there
  // is no WHERE, or it cannot be told apart.
  std::vector<TextRange> conditions(std::size_t token) const;

 private:
  std::string_view sql_;
  std::vector<SqlToken> tokens_;
  std::vector<int> depth_;              // of each: the parentheses around it
  std::vector<std::size_t> enclosing_;  // the opening one of those, or npos
};

}  // namespace pgshunt
