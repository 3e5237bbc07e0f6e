#include "router/clause_text.h"

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Tokens outside of all parentheses, with the one before. LIMIT, OFFSET, FETCH, FOR, FROM and ORDER
// are reserved: outside of parentheses they can only be clauses or, after a dot or AS, names.
class OuterTokens {
 public:
  explicit OuterTokens(std::string_view sql) : lexer_(sql) {}

  bool next() {
    before_ = token_;
    while (lexer_.next(token_)) {
      if (token_.kind == TokenKind::kUnterminated) return false;
      if (lexer_.is_symbol(token_, '(') || lexer_.is_symbol(token_, '[')) ++depth_;
      if (lexer_.is_symbol(token_, ')') || lexer_.is_symbol(token_, ']')) --depth_;
      if (depth_ == 0) return true;
    }
    return false;
  }

  bool is_keyword(std::string_view lower) const {
    return token_.kind == TokenKind::kIdentifier && word_is(lexer_.text(token_), lower) &&
           !lexer_.is_symbol(before_, '.') &&
           !(before_.kind == TokenKind::kIdentifier && word_is(lexer_.text(before_), "as"));
  }
  bool is_symbol(char symbol) const { return lexer_.is_symbol(token_, symbol); }
  const SqlToken& token() const { return token_; }
  // Just past the outer token before this one; of a parenthesis, its closing one.
  std::size_t end_before() const { return before_.end; }

 private:
  SqlLexer lexer_;
  SqlToken token_;
  SqlToken before_;
  int depth_ = 0;
};

}  // namespace

std::optional<SelectClauses> find_clauses(std::string_view sql, std::size_t first_table) {
  SelectClauses out;
  OuterTokens tokens(sql);
  bool have_from = false;
  bool in_order = false;
  bool have_limit = false;
  bool closed = false;  // FOR READ ONLY, or the semicolon
  std::size_t item_begin = 0;
  const auto end_item = [&](std::size_t end) {
    if (in_order) out.sort_items.push_back({item_begin, end});
  };
  while (tokens.next()) {
    const SqlToken& token = tokens.token();
    if (token.begin < first_table) {
      // The last FROM before the first table is the clause's: IS DISTINCT FROM comes earlier.
      if (tokens.is_keyword("from")) {
        out.from = token.begin;
        have_from = true;
      }
      out.end = token.end;
      continue;
    }
    if (tokens.is_symbol(';') || tokens.is_keyword("for")) {
      closed = true;
      break;
    }
    if (tokens.is_keyword("limit") || tokens.is_keyword("offset") || tokens.is_keyword("fetch")) {
      if (!have_limit) {
        end_item(tokens.end_before());
        in_order = false;
        out.limit.begin = token.begin;
        have_limit = true;
      }
    } else if (tokens.is_keyword("order") && !have_limit) {
      if (in_order || !tokens.next() || !tokens.is_keyword("by")) return std::nullopt;
      in_order = true;
      item_begin = tokens.token().end;
    } else if (in_order && tokens.is_symbol(',')) {
      end_item(token.begin);
      item_begin = token.end;
    }
    out.end = tokens.token().end;
  }
  if (!have_from) return std::nullopt;
  // A statement may not end inside parentheses, and FOR UPDATE is not for here.
  if (!closed && tokens.token().kind != TokenKind::kEnd) return std::nullopt;
  end_item(out.end);
  if (have_limit) {
    out.limit.end = out.end;
  } else {
    out.limit = {out.end, out.end};
  }
  return out;
}

std::optional<TextRange> without_last_words(std::string_view sql, TextRange range,
                                            std::size_t words) {
  SqlLexer lexer(sql.substr(range.begin, range.end - range.begin));
  std::vector<SqlToken> tokens;
  for (SqlToken token; lexer.next(token);) tokens.push_back(token);
  if (tokens.size() <= words) return std::nullopt;
  tokens.resize(tokens.size() - words);
  return TextRange{range.begin + tokens.front().begin, range.begin + tokens.back().end};
}

std::string quoted_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out += '"';
}

}  // namespace pgshunt
