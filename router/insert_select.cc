#include "router/insert_select.h"

#include <charconv>
#include <utility>

#include "router/insert_rows.h"
#include "router/outer_tokens.h"
#include "router/parse_tree.h"
#include "router/refusal.h"
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

// A value that is a literal without a type, or nothing but a parameter.
const Expr* bare(const Target& target, ExprKind kind) {
  return target.value && target.value->kind == kind ? &*target.value : nullptr;
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

void append_value(std::string& out, const WireValue& value, const std::string& type) {
  if (value.is_null) {
    out += "NULL";
  } else {
    append_string_literal(out, value.bytes);
  }
  if (!type.empty()) out.append("::").append(type);
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
  // DISTINCT and set operations compare values, as text if they have no type.
  if (source.distinct || source.operation != SetOperation::kNone) return out;
  for (const Target& target : source.targets) {
    if (has_star(target)) break;
    const Expr* constant = bare(target, ExprKind::kConstant);
    const bool string = constant != nullptr && (constant->constant == ConstantKind::kString ||
                                                constant->constant == ConstantKind::kNull);
    out.untyped.push_back(string);
    const Expr* parameter = bare(target, ExprKind::kParameter);
    if (parameter == nullptr || parameter->parameter == 0) continue;
    out.open_columns.push_back(
        {out.untyped.size() - 1, static_cast<std::uint16_t>(parameter->parameter - 1), 0});
  }
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
  std::string out = insert.before + " VALUES (";
  for (std::size_t i = 0; i < columns; ++i) {
    out.append(i > 0 ? ", $" : "$").append(std::to_string(first + i));
  }
  return out.append(")").append(insert.behind);
}

std::string no_row_insert(const InsertSelect& insert, std::span<const std::string> types) {
  std::string out = insert.before + " SELECT ";
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
