#include "router/execute_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "router/moment_words.h"
#include "router/refusal.h"
#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

using Tokens = std::vector<SqlToken>;

Tokens tokens_of(std::string_view sql, bool standard_conforming_strings) {
  Tokens out;
  SqlLexer lexer(sql, standard_conforming_strings);
  for (SqlToken token; lexer.next(token);) out.push_back(token);
  return out;
}

class Text {
 public:
  Text(std::string_view sql, bool standard_conforming_strings)
      : sql_(sql), tokens_(tokens_of(sql, standard_conforming_strings)) {}

  std::string_view sql() const { return sql_; }
  std::size_t size() const { return tokens_.size(); }
  const SqlToken& operator[](std::size_t i) const { return tokens_[i]; }
  std::string_view text(std::size_t i) const {
    return sql_.substr(tokens_[i].begin, tokens_[i].size());
  }
  bool is_symbol(std::size_t i, char symbol) const {
    return i < size() && tokens_[i].kind == TokenKind::kSymbol && sql_[tokens_[i].begin] == symbol;
  }
  bool is_word(std::size_t i, std::string_view lower) const {
    return i < size() && tokens_[i].kind == TokenKind::kIdentifier && word_is(text(i), lower);
  }
  template <std::size_t n>
  bool is_one_of(std::size_t i, const std::array<std::string_view, n>& words) const {
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return is_word(i, word); });
  }

 private:
  std::string_view sql_;
  Tokens tokens_;
};

// Tokens [begin, end).
struct Part {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// What stands in the parentheses that open at `at`, by commas; `at` moves behind them. Nothing:
// they are not closed.
std::optional<std::vector<Part>> read_list(const Text& text, std::size_t& at) {
  std::vector<Part> out;
  std::size_t depth = 0;
  std::size_t begin = at + 1;
  for (; at < text.size(); ++at) {
    if (text.is_symbol(at, '(') || text.is_symbol(at, '[')) ++depth;
    const bool closes = text.is_symbol(at, ')') || text.is_symbol(at, ']');
    if (closes && depth > 0) --depth;
    if ((closes && depth == 0) || (depth == 1 && text.is_symbol(at, ','))) {
      out.push_back({begin, at});
      begin = at + 1;
    }
    if (closes && depth == 0) {
      ++at;
      return out;
    }
  }
  return std::nullopt;
}

Error only_constants() {
  return refusal("EXECUTE with other values than constants is not supported over several shards",
                 "Write strings, numbers, true, false or NULL, or prepare it by the protocol.");
}

// 'today' was read when the statement was prepared.
bool says_the_time(const Text& body) {
  std::string value;
  for (std::size_t i = 0; i < body.size(); ++i) {
    switch (body[i].kind) {
      case TokenKind::kString:
      case TokenKind::kEscapeString:
      case TokenKind::kUnicodeString:
      case TokenKind::kDollarString:
        value.clear();
        if (!append_string(body[i].kind, body.text(i), value)) return true;
        if (names_a_moment(value)) return true;
        break;
      default:
        break;
    }
  }
  return false;
}

struct Value {
  enum class Kind : std::uint8_t { kString, kNumber, kBool, kNull };
  Kind kind = Kind::kNull;
  std::string text;
};

std::optional<Value> read_value(const Text& text, Part part) {
  Value out;
  const bool negative = text.is_symbol(part.begin, '-');
  if (negative) ++part.begin;
  if (part.begin + 1 != part.end) return std::nullopt;
  const std::size_t at = part.begin;
  const std::string said(text.text(at));
  switch (text[at].kind) {
    case TokenKind::kInteger:
    case TokenKind::kDecimal:
      if (said.find_first_not_of("0123456789.eE+-") != std::string::npos) return std::nullopt;
      out.kind = Value::Kind::kNumber;
      out.text = negative ? "-" + said : said;
      return out;
    case TokenKind::kString:
    case TokenKind::kEscapeString:
    case TokenKind::kDollarString:
      out.kind = Value::Kind::kString;
      break;
    default:
      if (text.is_word(at, "null")) break;
      if (!text.is_word(at, "true") && !text.is_word(at, "false")) return std::nullopt;
      out.kind = Value::Kind::kBool;
      break;
  }
  if (negative) return std::nullopt;
  out.text = said;
  return out;
}

// A declared type as it stands, if a cast to it is what an assignment would do. PREPARE passes over
// a type's modifiers, of which some types have one without saying so.
std::optional<std::string> read_type(const Text& text, Part part) {
  constexpr std::array<std::string_view, 5> kModified = {"char", "character", "nchar", "national",
                                                         "bit"};
  if (part.begin == part.end) return std::nullopt;
  const bool varies = part.begin + 1 < part.end && text.is_word(part.begin + 1, "varying");
  if (text.is_one_of(part.begin, kModified) && !varies) return std::nullopt;
  if (text.is_word(part.begin, "interval") && part.end - part.begin > 1) return std::nullopt;
  for (std::size_t i = part.begin; i < part.end; ++i) {
    if (text.is_symbol(i, '(')) return std::nullopt;
  }
  const std::size_t begin = text[part.begin].begin;
  return std::string(text.sql().substr(begin, text[part.end - 1].end - begin));
}

bool takes_numbers(std::string_view type) {
  constexpr std::array<std::string_view, 12> kTypes = {"int",     "int2",     "int4",   "int8",
                                                       "integer", "smallint", "bigint", "numeric",
                                                       "real",    "float4",   "float8", "text"};
  return std::any_of(kTypes.begin(), kTypes.end(),
                     [type](std::string_view each) { return word_is(type, each); });
}

// Would a cast there be seen? A column of the result that is nothing but a parameter is called
// ?column?, but a cast is called like its type. kColumn: so it is; kUnclear: perhaps.
enum class Sight : std::uint8_t { kHidden, kColumn, kUnclear };

class Sights {
 public:
  explicit Sights(const Text& text) : text_(text), in_list_(text.size()) {
    constexpr std::array<std::string_view, 12> kEnds = {"from",   "where",     "group",  "having",
                                                        "window", "order",     "limit",  "offset",
                                                        "union",  "intersect", "except", "into"};
    std::vector<bool> lists{false};
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text.is_symbol(i, ')') && lists.size() > 1) lists.pop_back();
      if (text.is_word(i, "select") || text.is_word(i, "returning")) lists.back() = true;
      if (text.is_one_of(i, kEnds)) lists.back() = false;
      in_list_[i] = lists.back();
      if (text.is_symbol(i, '(')) lists.push_back(false);
    }
  }

  Sight of(std::size_t at) const {
    constexpr std::array<std::string_view, 4> kBefore = {"select", "distinct", "all", "returning"};
    std::size_t first = at;
    std::size_t last = at;
    while (first > 0 && text_.is_symbol(first - 1, '(') && text_.is_symbol(last + 1, ')')) {
      --first;
      ++last;
    }
    if (text_.is_word(last + 1, "collate") || text_.is_symbol(last + 1, '[') ||
        text_.is_symbol(last + 1, '.')) {
      return Sight::kUnclear;
    }
    if (!in_list_[first]) return Sight::kHidden;
    const bool begins =
        first > 0 && (text_.is_one_of(first - 1, kBefore) || text_.is_symbol(first - 1, ',') ||
                      text_.is_symbol(first - 1, ')'));
    const bool ends = last + 1 == text_.size() || text_.is_symbol(last + 1, ',') ||
                      text_.is_symbol(last + 1, ')') || !in_list_[last + 1];
    return begins && ends ? Sight::kColumn : Sight::kHidden;
  }

 private:
  const Text& text_;
  std::vector<bool> in_list_;
};

std::size_t number_of(std::string_view parameter) {
  std::size_t out = 0;
  for (const char digit : parameter.substr(1)) {
    out = std::min<std::size_t>(out * 10 + static_cast<std::size_t>(digit - '0'), 65536);
  }
  return out;
}

// The value as it stands in the statement; nothing: it might mean something else there.
std::optional<std::string> written(const Value& value, const std::optional<std::string>& type,
                                   Sight sight) {
  using Kind = Value::Kind;
  if (!type) {
    const bool whole =
        value.kind == Kind::kNumber && value.text.find_first_of(".eE") == std::string::npos;
    if (whole) return "'" + value.text + "'";
    if (value.kind == Kind::kString || value.kind == Kind::kNull) return value.text;
    return std::nullopt;
  }
  if (sight == Sight::kUnclear) return std::nullopt;
  if (value.kind == Kind::kNumber && !takes_numbers(*type)) return std::nullopt;
  if (value.kind == Kind::kBool && !word_is(*type, "bool") && !word_is(*type, "boolean")) {
    return std::nullopt;
  }
  const std::string cast = "CAST(" + value.text + " AS " + *type + ")";
  return sight == Sight::kColumn ? "(SELECT " + cast + " AS \"?column?\")" : cast;
}

}  // namespace

std::string_view statement_of_prepare(std::string_view prepared, bool standard_conforming_strings) {
  const Text text(prepared, standard_conforming_strings);
  std::size_t at = 0;
  if (text.is_symbol(0, '(') && !read_list(text, at)) return {};
  if (!text.is_word(at, "as")) return {};
  return trim_sql_space(prepared.substr(text[at].end));
}

Result<std::string> text_of_execute(std::string_view prepared, std::string_view values,
                                    std::string_view name, bool standard_conforming_strings) {
  const Text head(prepared, standard_conforming_strings);
  std::vector<std::optional<std::string>> types;
  std::size_t at = 0;
  if (head.is_symbol(0, '(')) {
    const auto list = read_list(head, at);
    if (!list) return only_constants();
    for (const Part& part : *list) {
      auto type = read_type(head, part);
      if (!type) return only_constants();
      types.push_back(std::move(type));
    }
  }
  const Text body(statement_of_prepare(prepared, standard_conforming_strings),
                  standard_conforming_strings);

  if (says_the_time(body)) {
    return refusal("a literal such as 'now' or 'today' says when the statement was prepared",
                   "Write now(), or the time itself.");
  }

  std::vector<std::size_t> uses(types.size());
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i].kind != TokenKind::kParam) continue;
    const std::size_t number = number_of(body.text(i));
    if (number == 0 || number > 65535) return only_constants();
    if (uses.size() < number) uses.resize(number);
    ++uses[number - 1];
  }
  types.resize(uses.size());

  std::vector<Value> given;
  const Text said(values, standard_conforming_strings);
  if (said.size() > 0) {
    std::size_t end = 0;
    const auto list = said.is_symbol(0, '(') ? read_list(said, end) : std::nullopt;
    if (!list || end != said.size()) return only_constants();
    for (const Part& part : *list) {
      auto value = read_value(said, part);
      if (!value) return only_constants();
      given.push_back(std::move(*value));
    }
  }
  if (given.size() != uses.size()) {
    return Error{sqlstate::kSyntaxError,
                 "wrong number of parameters for prepared statement " + quoted(name),
                 {}};
  }

  const Sights sights(body);
  std::string out;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i].kind != TokenKind::kParam) continue;
    const std::size_t index = number_of(body.text(i)) - 1;
    if (!types[index] && uses[index] != 1) {
      return refusal("the type of parameter $" + std::to_string(index + 1) +
                         " is open and it is used more than once",
                     "Declare its type: PREPARE name (type, ...) AS ...");
    }
    const auto value = written(given[index], types[index], sights.of(i));
    if (!value) return only_constants();
    out.append(body.sql().substr(copied, body[i].begin - copied)).append(*value);
    copied = body[i].end;
  }
  return out.append(body.sql().substr(copied));
}

}  // namespace pgshunt
