#include "router/move_plan.h"

#include <algorithm>

#include "router/clause_text.h"
#include "router/insert_plan.h"
#include "router/refusal.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

Error refused(const Table& table, const std::string& why) {
  return refusal("UPDATE may not set the shard key " + quoted(table.key_column) + ": " + why,
                 "Delete the row and insert it anew.");
}

// In E'...', which reads alike under either standard_conforming_strings.
void append_literal(std::string& out, std::string_view value) {
  out += "E'";
  for (const char c : value) out.append(c == '\'' || c == '\\' ? 2 : 1, c);
  out += '\'';
}

// The text without what is behind its last token, and where RETURNING begins in it: at the end, if
// there is none. Nothing if that cannot be told.
struct Cut {
  std::size_t returning = 0;
  std::size_t end = 0;
};

std::optional<Cut> find_returning(std::string_view sql, bool expected) {
  SqlLexer lexer(sql);
  Cut out;
  std::size_t found = 0;
  int depth = 0;
  SqlToken last;
  for (SqlToken token; lexer.next(token); last = token) {
    if (lexer.is_symbol(token, '(')) ++depth;
    if (lexer.is_symbol(token, ')')) --depth;
    if (lexer.is_symbol(token, ';')) continue;
    out.end = token.end;
    const bool label = lexer.is_symbol(last, '.') || word_is(lexer.text(last), "as");
    if (depth != 0 || label || token.kind != TokenKind::kIdentifier) continue;
    if (!word_is(lexer.text(token), "returning")) continue;
    out.returning = token.begin;
    ++found;
  }
  if (found != (expected ? 1u : 0u)) return std::nullopt;
  if (!expected) out.returning = out.end;
  return out;
}

// RETURNING is evaluated elsewhere than the rest: by another clock, beside other tables, without
// the values of parameters.
Status check_returning(const Topology& topology, const Query& query, const Table& table,
                       const std::vector<std::uint32_t>& types) {
  StatementAnalysis returning(topology, nullptr, types);
  for (const Target& target : query.returning) {
    if (!target.value) continue;
    if (const Status added = returning.add_expression(*target.value); !added) return added.error();
  }
  const StatementFacts& facts = returning.facts();
  if (!facts.moment.empty()) return refused(table, facts.moment + " in RETURNING");
  if (!facts.system_column.empty()) return refused(table, facts.system_column + " in RETURNING");
  if (!facts.parameter_uses.empty()) return refused(table, "a value in RETURNING");
  return Ok{};
}

}  // namespace

const Target* key_assignment(const Query& query, const Table& table) {
  const auto at =
      std::find_if(query.assignments.begin(), query.assignments.end(),
                   [&](const Target& target) { return target.name == table.key_column; });
  return at == query.assignments.end() ? nullptr : &*at;
}

Status plan_move(const Topology& topology, std::string_view text, const Query& query,
                 const Table& table, const StatementAnalysis& analysis,
                 const std::vector<std::uint32_t>& types, StatementPlanData& out) {
  const StatementFacts& facts = analysis.facts();
  if (facts.ctes || facts.subqueries || !query.from.empty() || analysis.writes().size() != 1) {
    return refused(table, "WITH, FROM or a subquery");
  }
  if (out.pins.size() != 1 || out.pins.front().is_list() || out.home) {
    return refused(table, "it must be that of the rows of one key");
  }
  for (const MoveObstacle& obstacle : table.move_obstacles) {
    if (obstacle.column.empty() || obstacle.column == table.key_column) {
      return refused(table, "the table " + obstacle.what);
    }
  }
  if (table.columns.empty()) return refused(table, "the table's columns are not known");
  const Target& assignment = *key_assignment(query, table);
  const ShardKeyType key_type = topology.keyspaces[table.keyspace].key_type;
  auto source = assignment.value && !assignment.subscripted
                    ? key_source_of(*assignment.value, key_type, types)
                    : std::nullopt;
  if (!source) return refused(table, "its new value must be a constant or a parameter");
  if (const Status ok = check_returning(topology, query, table, types); !ok) return ok.error();
  const auto cut = find_returning(text, !query.returning.empty());
  if (!cut) return refused(table, "the statement's text is not understood well enough");

  auto move = std::make_shared<MovePlan>();
  move->new_key.keyspace = table.keyspace;
  move->new_key.key_type = key_type;
  move->new_key.use = stored_key_use(table);
  move->new_key.source = std::move(*source);
  std::string columns;
  for (const Column& column : table.columns) {
    if (column.generated) continue;
    if (move->columns++ > 0) columns += ", ";
    columns += quoted_identifier(column.name);
  }
  const TableName& target = *query.target;
  const std::string name = (target.schema.empty() ? "" : quoted_identifier(target.schema) + ".") +
                           quoted_identifier(target.name);
  const std::string alias = target.alias.empty() ? "" : " AS " + quoted_identifier(target.alias);
  move->insert = "INSERT INTO " + name + alias + " (" + columns + ") OVERRIDING SYSTEM VALUE ";
  move->no_rows = "SELECT " + columns + " FROM " + name + " WHERE false";
  move->remove = "DELETE FROM " + name + " WHERE ctid = ANY (";
  if (!query.returning.empty()) {
    move->returning = " " + std::string(text.substr(cut->returning, cut->end - cut->returning));
  }
  out.shard_text = std::string(text.substr(0, cut->returning)) + " RETURNING " + columns + ", ctid";
  out.move = std::move(move);
  return Ok{};
}

bool MovedRows::add(std::span<const WireValue> values) {
  if (values.size() != plan_.columns + 1 || values.back().is_null) return false;
  values_ += count_ == 0 ? "(" : ", (";
  for (std::size_t i = 0; i < plan_.columns; ++i) {
    if (i > 0) values_ += ", ";
    if (values[i].is_null) {
      values_ += "NULL";
    } else {
      append_literal(values_, values[i].bytes);
    }
  }
  values_ += ')';
  if (count_++ > 0) places_ += ',';
  places_.append("\"").append(values.back().bytes).append("\"");
  return true;
}

std::string MovedRows::insert_sql() const {
  return plan_.insert + (count_ == 0 ? plan_.no_rows : "VALUES " + values_) + plan_.returning;
}

}  // namespace pgshunt
