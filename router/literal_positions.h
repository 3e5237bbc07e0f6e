// Which literals of a statement a parameter can stand for without changing what it means.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "router/sql_lexer.h"

namespace pgshunt {

// Follows a statement token by token, just far enough to tell literals that are expressions of
// their own from ordinals of ORDER BY and GROUP BY, type modifiers and parts of typed literals. It
// may err towards keeping a literal: that costs a template, never a meaning.
class LiteralPositions {
 public:
  // Parentheses deeper than this are no query a cache should remember.
  static constexpr std::size_t kMaxDepth = 64;

  // Whether a literal that is the next token can become a parameter.
  bool replaceable() const { return before_ == Before::kExpression && !levels_[depth_].keeps; }

  // Takes note of a token. False if it nests too deeply.
  bool pass(const SqlLexer& lexer, const SqlToken& token);

 private:
  // What the last token makes of a literal behind it.
  enum class Before : std::uint8_t {
    kOther,       // not an expression of its own
    kExpression,  // the start of an expression
    kListItem,    // the start of an item of ORDER BY or GROUP BY: a number there is an ordinal
  };
  // What the last token makes of what follows.
  struct Last {
    bool is_distinct = false;    // DISTINCT
    bool type_follows = false;   // :: or AS: a type's name comes, or any other name
    bool is_type = false;        // that name: modifiers may come
    bool opens_list = false;     // ROLLUP, CUBE, SETS, DISTINCT ON
    bool opens_field = false;    // EXTRACT: the name of a field comes
    std::uint8_t time_zone = 0;  // how many words of AT TIME ZONE have come
  };
  // One pair of parentheses.
  struct Level {
    bool in_list = false;  // at the top of an ORDER BY, GROUP BY or DISTINCT ON list
    bool keeps = false;    // inside type modifiers
  };

  bool pass_symbol(char symbol, const Last& last);
  void pass_word(std::string_view word, const Last& last);
  bool open(const Last& last);

  std::array<Level, kMaxDepth> levels_{};
  std::size_t depth_ = 0;
  Before before_ = Before::kOther;
  Last last_;
};

}  // namespace pgshunt
