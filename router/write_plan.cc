#include "router/write_plan.h"

#include <string>

#include "router/distribution.h"
#include "router/fixed_moments.h"
#include "router/insert_plan.h"
#include "router/refusal.h"
#include "router/scatter_plan.h"

namespace pgshunt {
namespace {

// Every shard has the same copies to read. Which rows LIMIT leaves may differ all the same.
bool subqueries_are_same_everywhere(const Query& query, const StatementAnalysis& analysis) {
  for (std::size_t i = 0; i < analysis.queries().size(); ++i) {
    const Query& level = *analysis.queries()[i];
    if (&level == &query) continue;
    if (level.verb != QueryVerb::kSelect || level.limit || level.offset || level.distinct ||
        level.locking) {
      return false;
    }
    for (const TableUse& use : analysis.scopes()[i]->tables()) {
      if (use.resolved.placement != TableClass::kReference) return false;
    }
  }
  return true;
}

// SET column = DEFAULT: one moment or number for all rows on one server would be one for each
// shard.
Status check_defaults(const Query& query, const StatementFacts& facts, const Table& table) {
  if (!facts.has_default) return Ok{};
  for (const Target& assignment : query.assignments) {
    const Column* column = table.find_column(assignment.name);
    if (column != nullptr && (column->fallback != ColumnDefault::kDiffers || column->unique_id)) {
      continue;
    }
    return refusal("SET " + assignment.name +
                       " over several shards is not supported in a statement with DEFAULT: the "
                       "default could differ from shard to shard",
                   "Write the value itself, or give the shard key.");
  }
  return Ok{};
}

Status plan_insert_select(const Topology& topology, std::string_view text, const Query& query,
                          const StatementAnalysis& analysis, StatementPlanData& out) {
  const Query& source = *query.source;
  const Table& table = *analysis.writes().front().table.table;
  const TableScope& scope = *analysis.scope_of(source);
  if (!selects_own_key(topology, query, table, analysis)) {
    return refusal("INSERT ... SELECT over several shards must take the shard key \"" +
                       table.key_column + "\" from the key of a table of the same keyspace",
                   "Rows would have to move between shards: read them, then insert them.");
  }
  // What is selected is what a read of all shards would give, but for its order.
  if (source.limit || source.offset) {
    return refusal("LIMIT or OFFSET in INSERT ... SELECT over several shards is not supported",
                   give_shard_key(scope));
  }
  if (analysis.has(TableClass::kUnsharded)) {
    return refusal("an unsharded table cannot be used in a write over several shards",
                   give_shard_key(scope));
  }
  if (const Status ok = check_scatter(source, analysis, Moments::kFixed); !ok) return ok.error();
  out.kind = RouteKind::kWriteShards;
  return fix_moments(text, analysis.facts(), out);
}

}  // namespace

Status plan_write_shards(const Topology& topology, std::string_view text, const Query& query,
                         const StatementAnalysis& analysis, StatementPlanData& out) {
  const StatementFacts& facts = analysis.facts();
  if (query.verb == QueryVerb::kInsert && query.source && query.source->values.empty() &&
      analysis.writes().size() == 1) {
    return plan_insert_select(topology, text, query, analysis, out);
  }
  const TableScope& scope = *analysis.scope_of(query);
  const bool plain = (query.verb == QueryVerb::kUpdate || query.verb == QueryVerb::kDelete) &&
                     analysis.writes().size() == 1;
  if (!plain) {
    return refusal(
        "this write would run on several shards, which is supported for a plain UPDATE "
        "or DELETE only",
        give_shard_key(scope));
  }
  if (facts.ctes) {
    return refusal("WITH in a write over several shards is not supported", give_shard_key(scope));
  }
  if (facts.subqueries && !subqueries_are_same_everywhere(query, analysis)) {
    return refusal(
        "a subquery that reads more than whole reference tables is not supported in a "
        "write over several shards",
        give_shard_key(scope));
  }
  if (analysis.has(TableClass::kUnsharded)) {
    return refusal("an unsharded table cannot be used in a write over several shards",
                   give_shard_key(scope));
  }
  // The target is the first table of the level, each of whose rows is on one shard.
  if (const Status ok = check_rows_are_partitioned(query.from, scope, true); !ok) {
    return ok.error();
  }
  if (const Status ok = check_expressions(facts, scope, Moments::kFixed); !ok) return ok.error();
  const Table& table = *analysis.writes().front().table.table;
  if (const Status ok = check_defaults(query, facts, table); !ok) return ok.error();
  out.kind = RouteKind::kWriteShards;
  return fix_moments(text, facts, out);
}

}  // namespace pgshunt
