#include "router/insert_select.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "router/insert_rows.h"
#include "router/outer_tokens.h"
#include "router/parse_tree.h"
#include "router/refusal.h"
#include "router/sql_decode.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

// Just before the SELECT, or the parenthesis around it. `columns`: there is a column list.
struct SelectPlace {
  std::size_t insert = 0;
  std::size_t select = 0;
};

std::optional<SelectPlace> find_select(OuterTokens& tokens, bool columns) {
  SelectPlace out;
  // A common table may be called "insert".
  do {
    if (!tokens.next()) return std::nullopt;
    out.insert = tokens.token().begin;
    if (!tokens.is_keyword("insert")) continue;
    if (!tokens.next()) return std::nullopt;
    if (tokens.is_keyword("into")) break;
  } while (true);
  do {
    if (!tokens.next() || !is_name(tokens.token().kind) || !tokens.next()) return std::nullopt;
  } while (tokens.is_symbol('.'));
  if (tokens.is_keyword("as") && (!tokens.next() || !tokens.next())) return std::nullopt;
  if (columns && (!tokens.is_symbol(')') || !tokens.next())) return std::nullopt;
  if (tokens.is_keyword("overriding") && (!tokens.next() || !tokens.next() || !tokens.next())) {
    return std::nullopt;
  }
  out.select = tokens.is_symbol(')') ? tokens.opening().begin : tokens.token().begin;
  return out;
}

bool mentions(std::string_view text, std::string_view name) {
  SqlLexer lexer(text);
  for (SqlToken token; lexer.next(token);) {
    std::string said;
    if (is_name(token.kind) && append_identifier(text, token, said) && said == name) return true;
  }
  return false;
}

bool has_star(const Target& target) {
  return !target.value || (target.value->kind == ExprKind::kColumn && target.value->star);
}

std::uint32_t parameter_number(const SqlLexer& lexer, const SqlToken& token) {
  const std::string_view digits = lexer.text(token).substr(1);
  std::uint32_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

std::optional<InsertSelect::OpenColumn> open_column(const Target& target) {
  const Expr& value = *target.value;
  InsertSelect::OpenColumn out;
  if (value.kind == ExprKind::kParameter && value.parameter > 0) {
    out.parameter = static_cast<std::uint16_t>(value.parameter - 1);
    return out;
  }
  const bool open = value.kind == ExprKind::kConstant && (value.constant == ConstantKind::kString ||
                                                          value.constant == ConstantKind::kNull);
  return open ? std::optional(out) : std::nullopt;
}

void find_open_columns(const Query& source, InsertSelect& out) {
  // What is compared has a type: text, if nothing else. In GROUP BY and ORDER BY a constant stands
  // for a column, or is one.
  const auto is_constant = [](const Expr& expr) { return expr.kind == ExprKind::kConstant; };
  if (source.distinct || source.operation != SetOperation::kNone ||
      std::any_of(source.rest.begin(), source.rest.end(), is_constant) ||
      std::any_of(source.order.begin(), source.order.end(),
                  [&](const SortItem& item) { return is_constant(item.value); })) {
    return;
  }
  const std::vector<Target>& targets = source.targets;
  const auto first_star = std::find_if(targets.begin(), targets.end(), has_star);
  for (auto at = targets.begin(); at != first_star; ++at) {
    if (auto open = open_column(*at)) {
      open->position = static_cast<std::size_t>(at - targets.begin());
      out.open_columns.push_back(*open);
    }
  }
  if (first_star == targets.end()) return;
  for (auto at = targets.rbegin(); !has_star(*at); ++at) {
    if (auto open = open_column(*at)) {
      open->position = static_cast<std::size_t>(at - targets.rbegin());
      open->from_end = true;
      out.open_columns.push_back(*open);
    }
  }
}

void append_value(std::string& out, const WireValue& value, const std::string& type) {
  if (value.is_null) {
    out += "NULL";
  } else {
    append_string_literal(out, value.bytes);
  }
  if (!type.empty()) out.append("::").append(type);
}

// The text before the SELECT may have ended right there, or in white space.
std::string before_rows(const InsertSelect& insert) {
  return insert.before.ends_with(' ') ? insert.before : insert.before + " ";
}

}  // namespace

std::optional<InsertSelect> cut_insert_select(std::string_view text, const Query& insert) {
  OuterTokens tokens(text);
  const auto place = find_select(tokens, !insert.columns.empty());
  if (!place) return std::nullopt;
  std::size_t end = tokens.token().end;
  // CONFLICT and the names around it are no reserved words: the clause is the last that looks so.
  std::optional<std::size_t> conflict;
  std::optional<std::size_t> returning;
  while (tokens.next()) {
    if (tokens.is_symbol(';')) break;
    end = tokens.token().end;
    if (tokens.is_keyword("returning") && !returning) returning = tokens.token().begin;
    if (!tokens.is_keyword("on")) continue;
    const std::size_t on = tokens.token().begin;
    if (!tokens.next()) return std::nullopt;
    end = tokens.token().end;
    if (tokens.is_keyword("conflict") && !returning) conflict = on;
  }
  if (returning.has_value() == insert.returning.empty()) return std::nullopt;
  if (insert.conflict == ConflictAction::kNone) conflict.reset();
  if (insert.conflict != ConflictAction::kNone && !conflict) return std::nullopt;
  const std::size_t select_end = conflict ? *conflict : returning ? *returning : end;

  InsertSelect out;
  const Query& source = *insert.source;
  if (!insert.with.empty() && !source.with.empty()) return std::nullopt;
  out.before = text.substr(place->insert, place->select - place->insert);
  out.select = text.substr(0, place->insert);
  out.select += text.substr(place->select, select_end - place->select);
  out.behind = " " + std::string(text.substr(select_end, end - select_end));
  // What stands behind the SELECT would be read without the WITH before it.
  for (const CommonTable& common : insert.with) {
    if (mentions(out.behind, common.name)) return std::nullopt;
  }
  find_open_columns(source, out);
  return out;
}

Result<InsertSelect> read_insert_select(std::string_view text) {
  const auto statement = parse_statement(text);
  if (!statement) return statement.error();
  const Query* insert = statement->query.get();
  if (insert != nullptr && insert->verb == QueryVerb::kInsert && insert->source) {
    if (auto cut = cut_insert_select(text, *insert)) return std::move(*cut);
  }
  return refusal("the text of this INSERT ... SELECT is not understood well enough",
                 "Write it without WITH before the SELECT.");
}

std::vector<std::size_t> uses_of_parameters(std::string_view text) {
  std::vector<std::size_t> out;
  SqlLexer lexer(text);
  for (SqlToken token; lexer.next(token);) {
    if (token.kind != TokenKind::kParam) continue;
    const std::uint32_t number = parameter_number(lexer, token);
    if (number == 0 || number > 65535) continue;
    if (out.size() < number) out.resize(number);
    ++out[number - 1];
  }
  return out;
}

std::string one_row_insert(const InsertSelect& insert, std::size_t columns, std::size_t first) {
  std::string out = before_rows(insert) + "VALUES (";
  for (std::size_t i = 0; i < columns; ++i) {
    out.append(i > 0 ? ", $" : "$").append(std::to_string(first + i));
  }
  return out.append(")").append(insert.behind);
}

std::string no_row_insert(const InsertSelect& insert, std::span<const std::string> types) {
  std::string out = before_rows(insert) + "SELECT ";
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (i > 0) out += ", ";
    append_value(out, {}, types[i]);
  }
  return out.append(" WHERE false").append(insert.behind);
}

std::optional<RowTexts> RowTexts::create(std::string_view one_row, std::size_t first,
                                         std::vector<std::string> types) {
  InsertRows rows;
  if (!find_insert_rows(one_row, true, rows) || rows.rows.size() != 1) return std::nullopt;
  RowTexts out;
  out.before_ = rows.before(one_row);
  out.behind_ = rows.behind(one_row);
  out.types_ = std::move(types);
  const std::string_view row = rows.row(one_row, 0);
  SqlLexer lexer(row);
  std::size_t at = 0;
  for (SqlToken token; lexer.next(token);) {
    if (token.kind != TokenKind::kParam) continue;
    const std::size_t number = parameter_number(lexer, token);
    if (number < first) return std::nullopt;
    out.row_.push_back({std::string(row.substr(at, token.begin - at)), number - first});
    at = token.end;
  }
  out.row_end_ = row.substr(at);
  return out;
}

void RowTexts::add_row(std::string& out, std::span<const WireValue> values,
                       std::span<const std::int64_t> numbers) const {
  if (out.empty()) {
    out = before_;
  } else {
    out += ", ";
  }
  for (const Piece& piece : row_) {
    out += piece.text;
    if (piece.value < values.size()) {
      append_value(out, values[piece.value], types_[piece.value]);
    } else {
      out += std::to_string(numbers[piece.value - values.size()]);
    }
  }
  out += row_end_;
}

}  // namespace pgshunt
