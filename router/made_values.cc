#include "router/made_values.h"

#include <algorithm>
#include <charconv>

#include "router/clause_text.h"
#include "router/insert_rows.h"
#include "router/refusal.h"
#include "router/sql_decode.h"
#include "router/sql_lexer.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

constexpr std::string_view kSchema = "pgshunt";
constexpr std::string_view kName = "unique_id";

// A column whose values may have to be made.
struct MadeColumn {
  std::string name;
  std::string sequence;     // of its default; empty: pgshunt.unique_id()
  bool by_default = false;  // those that the INSERT leaves out too
  Identity identity = Identity::kNo;
  std::optional<std::size_t> position;  // in a row; none: the column list leaves it out
};

Error not_found() {
  return refusal(
      "an INSERT whose keys are made by pgshunt.unique_id() is not written in a way that "
      "the proxy can add them to",
      "Take ids by SELECT pgshunt.unique_id(), and write them into the statement.");
}

// The highest $n.
std::uint32_t count_parameters(std::string_view text) {
  std::uint32_t highest = 0;
  SqlLexer lexer(text);
  for (SqlToken token; lexer.next(token);) {
    if (token.kind != TokenKind::kParam) continue;
    std::uint32_t number = 0;
    std::from_chars(text.data() + token.begin + 1, text.data() + token.end, number);
    highest = std::max(highest, number);
  }
  return highest;
}

std::vector<MadeColumn> columns_of(const Query& insert, const Table& table) {
  std::vector<MadeColumn> out;
  const auto add = [&](const std::string& name, std::size_t index, bool by_default,
                       std::string sequence = {}, Identity identity = Identity::kNo) {
    MadeColumn& made =
        out.emplace_back(MadeColumn{name, std::move(sequence), by_default, identity, std::nullopt});
    if (insert.columns.empty()) {
      made.position = index;
      return;
    }
    for (std::size_t i = 0; i < insert.columns.size(); ++i) {
      if (insert.columns[i].name != name) continue;
      if (insert.columns[i].subscripted) made.by_default = false;
      if (!insert.columns[i].subscripted) made.position = i;
    }
  };
  const bool sharded = table.placement == TablePlacement::kSharded;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const Column& column = table.columns[i];
    if (!sharded || column.name == table.key_column) {
      add(column.name, i, column.unique_id || column.takes_number,
          column.takes_number ? column.sequence : std::string(), column.identity);
    }
  }
  // Without the catalog there is what the statement says.
  if (table.columns.empty() && !insert.columns.empty()) {
    for (const Target& column : insert.columns) {
      if (!sharded || column.name == table.key_column) add(column.name, 0, false);
    }
  }
  return out;
}

// Where each value of a row stands.
std::vector<TextRange> values_of(std::string_view text, TextRange row) {
  std::vector<TextRange> out;
  SqlLexer lexer(text.substr(0, row.end));
  lexer.seek(row.begin);
  SqlToken token;
  std::size_t depth = 0;
  TextRange value;
  while (lexer.next(token)) {
    const bool opens = lexer.is_symbol(token, '(') || lexer.is_symbol(token, '[');
    const bool closes = lexer.is_symbol(token, ')') || lexer.is_symbol(token, ']');
    if (opens && depth++ == 0) continue;
    if (closes) --depth;
    const bool ends = depth == 0 || (depth == 1 && lexer.is_symbol(token, ','));
    if (ends) {
      out.push_back(value);
      value = {};
      continue;
    }
    if (value.end == 0) value.begin = token.begin;
    value.end = token.end;
  }
  return out;
}

// The parenthesis that closes the column list. It is the first pair behind INTO.
std::optional<std::size_t> end_of_column_list(std::string_view text, std::size_t first_row) {
  SqlLexer lexer(text.substr(0, first_row));
  SqlToken token;
  std::size_t depth = 0;
  bool inserts = false;
  bool listed = false;
  while (lexer.next(token)) {
    if (depth == 0 && token.kind == TokenKind::kIdentifier) {
      inserts |= word_is(lexer.text(token), "insert");
    }
    if (lexer.is_symbol(token, '(')) {
      listed |= inserts && depth == 0;
      ++depth;
    }
    if (lexer.is_symbol(token, ')') && --depth == 0 && listed) return token.begin;
  }
  return std::nullopt;
}

// DEFAULT VALUES, as the last two words outside of parentheses that are these.
std::optional<TextRange> find_default_values(std::string_view text) {
  SqlLexer lexer(text);
  SqlToken token;
  SqlToken before;
  std::size_t depth = 0;
  while (lexer.next(token)) {
    if (lexer.is_symbol(token, '(')) ++depth;
    if (lexer.is_symbol(token, ')')) --depth;
    const bool words =
        depth == 0 && before.kind == TokenKind::kIdentifier && token.kind == TokenKind::kIdentifier;
    if (words && word_is(lexer.text(before), "default") && word_is(lexer.text(token), "values")) {
      return TextRange{before.begin, token.end};
    }
    before = token;
  }
  return std::nullopt;
}

class Editor {
 public:
  Editor(std::string_view text, std::size_t declared)
      : text_(text), out_(std::make_shared<MadeValues>()) {
    out_->first =
        static_cast<std::uint32_t>(std::max<std::size_t>(count_parameters(text), declared)) + 1;
  }

  // Edits come in the order of the text.
  void replace(TextRange range, std::string_view by) {
    out_->text.append(text_.substr(at_, range.begin - at_)).append(by);
    at_ = range.end;
  }
  // The parameter of the next value.
  std::string value(std::string source) {
    const std::size_t number = out_->first + out_->sources.size();
    out_->sources.push_back(std::move(source));
    return "($" + std::to_string(number) + "::pg_catalog.int8)";
  }
  std::shared_ptr<const MadeValues> finish() {
    if (out_->sources.empty()) return nullptr;
    out_->text.append(text_.substr(at_));
    return out_;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  std::shared_ptr<MadeValues> out_;
};

bool wants_system_value(const std::vector<MadeColumn>& columns) {
  return std::any_of(columns.begin(), columns.end(),
                     [](const MadeColumn& column) { return column.identity == Identity::kAlways; });
}

// OVERRIDING SYSTEM VALUE would let every value in that the INSERT gives an identity column.
Status check_identities(const Query& insert, const Table& table,
                        const std::vector<MadeColumn>& columns) {
  const bool user_value = insert.overriding == Overriding::kUserValue;
  if (insert.overriding == Overriding::kSystemValue ||
      (!user_value && !wants_system_value(columns))) {
    return Ok{};
  }
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const Column& column = table.columns[i];
    const bool passed_over = user_value && column.identity != Identity::kNo;
    if (!passed_over && column.identity != Identity::kAlways) continue;
    std::size_t position = i;
    if (!insert.columns.empty()) {
      const auto at = std::find_if(insert.columns.begin(), insert.columns.end(),
                                   [&](const Target& each) { return each.name == column.name; });
      position = static_cast<std::size_t>(at - insert.columns.begin());
      if (at == insert.columns.end()) continue;
    }
    for (const std::vector<Expr>& row : insert.source->values) {
      if (position >= row.size() || row[position].kind == ExprKind::kDefault) continue;
      if (passed_over) {
        return refusal("OVERRIDING USER VALUE passes over the value of column " +
                           quoted(column.name) + " of table " + quoted(table.name),
                       "Leave the column out.");
      }
      return Error{Sqlstate("428C9"),
                   "cannot insert a non-DEFAULT value into column " + quoted(column.name),
                   "Use OVERRIDING SYSTEM VALUE to override."};
    }
  }
  return Ok{};
}

// In front of the first row: VALUES, and OVERRIDING USER VALUE before it if that is there. Both are
// no names there.
std::optional<TextRange> before_rows(std::string_view text, std::size_t first_row,
                                     bool user_value) {
  SqlLexer lexer(text.substr(0, first_row));
  std::vector<SqlToken> last;
  for (SqlToken token; lexer.next(token);) {
    last.push_back(token);
    if (last.size() > 4) last.erase(last.begin());
  }
  const auto is = [&](std::size_t back, std::string_view word) {
    return last.size() >= back && last[last.size() - back].kind == TokenKind::kIdentifier &&
           word_is(lexer.text(last[last.size() - back]), word);
  };
  if (!is(1, "values")) return std::nullopt;
  const std::size_t end = last.back().begin;
  if (!user_value) return TextRange{end, end};
  if (!is(2, "value") || !is(3, "user") || !is(4, "overriding")) return std::nullopt;
  return TextRange{last.front().begin, end};
}

Result<std::shared_ptr<const MadeValues>> make_default_values(
    std::string_view text, const std::vector<MadeColumn>& columns, Editor& editor) {
  std::string names;
  std::string values;
  for (const MadeColumn& column : columns) {
    if (!column.by_default) continue;
    names.append(names.empty() ? "" : ", ").append(quoted_identifier(column.name));
    values.append(values.empty() ? "" : ", ").append(editor.value(column.sequence));
  }
  if (names.empty()) return std::shared_ptr<const MadeValues>();
  const auto at = find_default_values(text);
  if (!at) return not_found();
  const std::string clause = wants_system_value(columns) ? "OVERRIDING SYSTEM VALUE " : "";
  editor.replace(*at, "(" + names + ") " + clause + "VALUES (" + values + ")");
  return editor.finish();
}

bool wants_value(const Expr& value, const MadeColumn& column) {
  return is_unique_id_call(value) || (column.by_default && value.kind == ExprKind::kDefault);
}

// For columns that a row leaves out: behind its last value.
std::string missing_values(const std::vector<MadeColumn>& columns, std::size_t size, bool listed,
                           Editor& editor) {
  std::string out;
  for (const MadeColumn& column : columns) {
    if (!column.by_default || (column.position && *column.position < size)) continue;
    if (column.position && listed) continue;  // the row is too short: the server says so
    for (; column.position && size < *column.position; ++size) out += ", DEFAULT";
    out.append(", ").append(editor.value(column.sequence));
    ++size;
  }
  return out;
}

}  // namespace

bool is_unique_id(std::span<const std::string> names) {
  return names.size() == 2 && names[0] == kSchema && names[1] == kName;
}

bool is_unique_id_call(const Expr& expr) {
  return expr.kind == ExprKind::kFunction && is_unique_id(expr.names) && expr.args.empty() &&
         !expr.star && !expr.windowed && !expr.aggregate_syntax;
}

bool mentions_unique_id(std::string_view statement) {
  SqlLexer lexer(statement);
  const auto says = [&](const SqlToken& token, std::string_view name) {
    std::string said;
    return is_name(token.kind) && append_identifier(statement, token, said) && said == name;
  };
  for (SqlToken token; lexer.next(token);) {
    if (!says(token, kSchema)) continue;
    SqlLexer ahead = lexer;
    if (ahead.next(token) && ahead.is_symbol(token, '.') && ahead.next(token) &&
        says(token, kName)) {
      return true;
    }
  }
  return false;
}

Result<std::shared_ptr<const MadeValues>> find_made_values(std::string_view text,
                                                           const Query& insert, const Table& table,
                                                           std::size_t declared) {
  const std::shared_ptr<const MadeValues> nothing;
  const std::vector<MadeColumn> columns = columns_of(insert, table);
  if (columns.empty()) return nothing;
  Editor editor(text, declared);
  if (!insert.source) return make_default_values(text, columns, editor);

  const std::vector<std::vector<Expr>>& rows = insert.source->values;
  if (rows.empty()) return nothing;
  const bool listed = !insert.columns.empty();
  const std::size_t size = rows.front().size();
  const bool wanted = std::any_of(columns.begin(), columns.end(), [&](const MadeColumn& column) {
    if (!column.position || *column.position >= size) return column.by_default;
    return std::any_of(rows.begin(), rows.end(), [&](const std::vector<Expr>& row) {
      return *column.position < row.size() && wants_value(row[*column.position], column);
    });
  });
  if (!wanted) return nothing;
  InsertRows found;
  if (!find_insert_rows(text, true, found) || found.rows.size() != rows.size()) return not_found();
  if (!found.same_length) return nothing;  // the server says so
  if (const Status good = check_identities(insert, table, columns); !good) return good.error();

  const bool extends_list =
      listed && std::any_of(columns.begin(), columns.end(), [](const auto& column) {
        return column.by_default && !column.position;
      });
  if (extends_list) {
    const auto end = end_of_column_list(text, found.rows.front().begin);
    if (!end) return not_found();
    std::string names;
    for (const MadeColumn& column : columns) {
      if (column.by_default && !column.position) names += ", " + quoted_identifier(column.name);
    }
    editor.replace({*end, *end}, names);
  }
  const bool user_value = insert.overriding == Overriding::kUserValue &&
                          std::any_of(columns.begin(), columns.end(), [](const MadeColumn& column) {
                            return column.identity != Identity::kNo;
                          });
  if (user_value || (insert.overriding == Overriding::kNone && wants_system_value(columns))) {
    const auto at = before_rows(text, found.rows.front().begin, user_value);
    if (!at) return not_found();
    editor.replace(*at, "OVERRIDING SYSTEM VALUE ");
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::vector<TextRange> values = values_of(text, found.rows[i]);
    if (values.size() != rows[i].size()) return not_found();
    for (std::size_t at = 0; at < values.size(); ++at) {
      const auto made = std::find_if(columns.begin(), columns.end(), [&](const MadeColumn& column) {
        return column.position == at && wants_value(rows[i][at], column);
      });
      if (made == columns.end()) continue;
      const bool called = is_unique_id_call(rows[i][at]);
      editor.replace(values[at], editor.value(called ? std::string() : made->sequence));
    }
    const std::size_t end = found.rows[i].end - 1;
    editor.replace({end, end}, missing_values(columns, size, listed, editor));
  }
  return editor.finish();
}

}  // namespace pgshunt
