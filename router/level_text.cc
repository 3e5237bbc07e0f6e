#include "router/level_text.h"

#include <algorithm>
#include <array>

#include "router/sql_decode.h"

namespace pgshunt {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

constexpr std::array<std::string_view, 11> kBehindWhere = {"group",     "having", "window", "union",
                                                           "intersect", "except", "order",  "limit",
                                                           "offset",    "fetch",  "for"};

}  // namespace

std::optional<LevelText> LevelText::read(std::string_view sql) {
  LevelText out;
  out.sql_ = sql;
  std::vector<std::size_t> open;
  SqlLexer lexer(sql);
  for (SqlToken token; lexer.next(token);) {
    if (token.kind == TokenKind::kUnterminated) return std::nullopt;
    const bool closes = lexer.is_symbol(token, ')') || lexer.is_symbol(token, ']');
    if (closes) {
      if (open.empty()) return std::nullopt;
      open.pop_back();
    }
    out.tokens_.push_back(token);
    out.depth_.push_back(static_cast<int>(open.size()));
    out.enclosing_.push_back(open.empty() ? kNone : open.back());
    if (lexer.is_symbol(token, '(') || lexer.is_symbol(token, '[')) {
      open.push_back(out.tokens_.size() - 1);
    }
  }
  if (!open.empty()) return std::nullopt;
  return out;
}

std::optional<std::size_t> LevelText::at(std::size_t offset) const {
  const auto found = std::lower_bound(
      tokens_.begin(), tokens_.end(), offset,
      [](const SqlToken& token, std::size_t begin) { return token.begin < begin; });
  if (found == tokens_.end() || found->begin != offset) return std::nullopt;
  return static_cast<std::size_t>(found - tokens_.begin());
}

bool LevelText::is_keyword(std::size_t token, std::string_view lower) const {
  if (token >= tokens_.size() || tokens_[token].kind != TokenKind::kIdentifier) return false;
  if (!word_is(text(token), lower)) return false;
  if (token == 0) return true;
  const bool named =
      tokens_[token - 1].kind == TokenKind::kIdentifier && word_is(text(token - 1), "as");
  return !named && !is_symbol(token - 1, '.');
}

std::string LevelText::name(std::size_t token) const {
  std::string out;
  if (token >= tokens_.size() || !is_name(tokens_[token].kind)) return out;
  if (!append_identifier(sql_, tokens_[token], out)) out.clear();
  return out;
}

bool LevelText::ends_where(std::size_t token) const {
  return is_symbol(token, ';') ||
         std::any_of(kBehindWhere.begin(), kBehindWhere.end(),
                     [&](std::string_view word) { return is_keyword(token, word); });
}

std::vector<TextRange> LevelText::conditions(std::size_t token) const {
  // FROM may have joins in parentheses; the SELECT's own begin with its first word.
  std::size_t from = token;
  while (enclosing_[from] != kNone) {
    std::size_t first = enclosing_[from] + 1;
    while (is_symbol(first, '(')) ++first;  // of a set operation's arm, or of a join
    if (is_keyword(first, "select") || is_keyword(first, "with") || is_keyword(first, "values") ||
        is_keyword(first, "table")) {
      break;
    }
    from = enclosing_[from];
  }
  const int depth = depth_[from];
  std::size_t at = from;
  const auto inside = [&](std::size_t i) { return i < tokens_.size() && depth_[i] >= depth; };
  const auto here = [&](std::size_t i) { return depth_[i] == depth; };
  while (inside(at) && !(here(at) && (is_keyword(at, "where") || ends_where(at)))) ++at;
  std::vector<TextRange> out;
  if (!inside(at) || !is_keyword(at, "where")) return out;
  ++at;
  std::size_t begin = at;
  std::size_t between = 0;
  std::size_t cases = 0;
  for (; inside(at) && !(here(at) && ends_where(at)); ++at) {
    if (!here(at)) continue;
    if (is_keyword(at, "case")) ++cases;
    if (is_keyword(at, "end") && cases > 0) --cases;
    if (cases > 0) continue;
    if (is_keyword(at, "or")) return {};
    if (is_keyword(at, "between")) ++between;
    if (!is_keyword(at, "and")) continue;
    if (between > 0) {
      --between;
      continue;
    }
    if (begin == at) return {};
    out.push_back({tokens_[begin].begin, tokens_[at - 1].end});
    begin = at + 1;
  }
  // The parenthesis that closes the SELECT is one level up.
  if (begin >= at) return {};
  out.push_back({tokens_[begin].begin, tokens_[at - 1].end});
  return out;
}

}  // namespace pgshunt
