#include "router/insert_rows.h"

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Reads on to the parenthesis that closes the one just read; counts the commas directly inside.
bool pass_row(SqlLexer& lexer, SqlToken& token, std::size_t& commas) {
  commas = 0;
  for (std::size_t depth = 1; lexer.next(token);) {
    if (token.kind == TokenKind::kUnterminated) return false;
    if (token.kind != TokenKind::kSymbol) continue;
    switch (lexer.sql()[token.begin]) {
      case '(':
      case '[':
        ++depth;
        break;
      case ')':
      case ']':
        if (--depth == 0) return lexer.is_symbol(token, ')');
        break;
      case ',':
        commas += depth == 1;
        break;
      case ';':
        return false;
      default:
        break;
    }
  }
  return false;
}

// VALUES as the keyword: not a name behind INTO, AS or a dot.
bool is_values(const SqlLexer& lexer, const SqlToken& before, const SqlToken& token) {
  if (token.kind != TokenKind::kIdentifier || !word_is(lexer.text(token), "values")) return false;
  if (lexer.is_symbol(before, '.')) return false;
  return before.kind != TokenKind::kIdentifier ||
         !(word_is(lexer.text(before), "into") || word_is(lexer.text(before), "as"));
}

}  // namespace

bool find_insert_rows(std::string_view sql, bool standard_conforming_strings, InsertRows& out) {
  out.rows.clear();
  out.same_length = true;
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  SqlToken before;
  bool inserts = false;
  std::size_t depth = 0;
  while (true) {
    before = token;
    if (!lexer.next(token) || token.kind == TokenKind::kUnterminated) return false;
    if (lexer.is_symbol(token, '(') || lexer.is_symbol(token, '[')) ++depth;
    if (lexer.is_symbol(token, ')') || lexer.is_symbol(token, ']')) {
      if (depth == 0) return false;
      --depth;
    }
    if (depth != 0 || token.kind != TokenKind::kIdentifier) continue;
    inserts |= word_is(lexer.text(token), "insert");
    if (inserts && is_values(lexer, before, token)) break;
  }
  std::size_t first_commas = 0;
  do {
    if (!lexer.next(token) || !lexer.is_symbol(token, '(')) return false;
    const std::size_t begin = token.begin;
    std::size_t commas = 0;
    if (!pass_row(lexer, token, commas)) return false;
    out.rows.push_back({begin, token.end});
    if (out.rows.size() == 1) first_commas = commas;
    out.same_length &= commas == first_commas;
  } while (lexer.next(token) && lexer.is_symbol(token, ','));
  return true;
}

}  // namespace pgshunt
