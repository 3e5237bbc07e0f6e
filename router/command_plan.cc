#include "router/command_plan.h"

#include <optional>
#include <string>

#include "router/refusal.h"

namespace pgshunt {
namespace {

constexpr const char* kOnePlace =
    "Name tables of one kind only: sharded and reference tables, or "
    "unsharded ones of one shard.";

// Where the tables are that a statement names: on every shard, or all on one.
struct Places {
  bool everywhere = false;
  bool reference = false;
  std::optional<ShardId> home;
};

Status add_home(const SqlStatement& statement, ShardId shard, Places& out) {
  if (out.home && *out.home != shard) {
    return refusal(statement.text + " of tables of different shards is not supported", kOnePlace);
  }
  out.home = shard;
  return Ok{};
}

Status add_resolved(const SqlStatement& statement, const TableName& name,
                    const ResolvedTable& table, Places& out) {
  if (const Status ok = check_write_target(table, name); !ok) return ok.error();
  switch (table.placement) {
    case TableClass::kUnsharded:
      return add_home(statement, table.home, out);
    case TableClass::kSharded:
    case TableClass::kReference:
      out.everywhere = true;
      out.reference |= table.placement == TableClass::kReference;
      return Ok{};
    case TableClass::kCatalog:
    case TableClass::kDerived:
      break;
  }
  return refusal(statement.text + " of a system catalog is not supported on a sharded database",
                 "Connect to each shard and do it there.");
}

// What is not declared is a view or index, on every shard like all definitions, or a table.
Status add_defined(const Topology& topology, const SqlStatement& statement, const TableName& name,
                   const SearchPath* path, Places& out) {
  const auto resolved = resolve_table(topology, path, name);
  const bool declared = resolved && resolved->table != nullptr;
  if (declared) return add_resolved(statement, name, *resolved, out);
  if (topology.has_tenant_schemas()) {
    if (const auto tenant = topology.home_of_schema(name.schema)) {
      return add_home(statement, *tenant, out);
    }
    // By the search path it may be a tenant's.
    if (resolved && resolved->placement == TableClass::kUnsharded) {
      return add_resolved(statement, name, *resolved, out);
    }
    if (!resolved && name.schema.empty() && resolved.error().code != sqlstate::kUndefinedTable &&
        !topology.is_opaque(name.schema, name.name)) {
      return resolved.error();
    }
  }
  if (!topology.default_home || topology.is_opaque(name.schema, name.name)) {
    out.everywhere = true;
    return Ok{};
  }
  return add_home(statement, *topology.default_home, out);
}

Status add_place(const Topology& topology, const SqlStatement& statement, const TableName& name,
                 const SearchPath* path, Places& out) {
  if (statement.kind == StatementKind::kDefinition) {
    return add_defined(topology, statement, name, path, out);
  }
  const auto resolved = resolve_table(topology, path, name);
  if (!resolved) return resolved.error();
  return add_resolved(statement, name, *resolved, out);
}

// A value worked out while the command runs is stored on each shard as it came out there.
Status check_values(const SqlStatement& statement, const StatementFacts& facts, bool reference) {
  if (reference && !facts.unique_id.empty()) {
    return refusal(facts.unique_id + " in " + statement.text +
                       " would give each copy of a reference table ids of its own",
                   "Add the column without it, fill it by UPDATE, then set the default.");
  }
  for (const std::string* finding :
       {&facts.moment, &facts.local_function, &facts.unknown_function, &facts.reading_function}) {
    if (finding->empty()) continue;
    return refusal(*finding + " in " + statement.text + " could differ from shard to shard",
                   "Add the column without it, fill it by UPDATE, then set the default.");
  }
  return Ok{};
}

}  // namespace

Status plan_command(const Topology& topology, const SqlStatement& statement, const SearchPath* path,
                    StatementAnalysis& analysis, StatementPlanData& out) {
  Places places;
  for (const TableName& name : statement.tables) {
    if (const Status added = add_place(topology, statement, name, path, places); !added) {
      return added.error();
    }
    out.unqualified |= name.schema.empty();
  }
  if (places.everywhere && places.home) {
    return refusal(statement.text + " of sharded and unsharded tables together is not supported",
                   kOnePlace);
  }
  if (statement.stores_values && !places.home) {
    for (const Expr& expr : statement.exprs) {
      if (const Status added = analysis.add_expression(expr); !added) return added.error();
    }
    if (const Status same = check_values(statement, analysis.facts(), places.reference); !same)
      return same.error();
  }
  out.writes = true;
  if (places.home) {
    out.kind = RouteKind::kOneShard;
    out.home = places.home;
    return Ok{};
  }
  out.kind = RouteKind::kWriteShards;
  out.alike = statement.outside_block ? Alike::kOneByOne : Alike::kTogether;
  if (statement.kind == StatementKind::kLock) out.alike = Alike::kInBlock;
  out.defines = statement.kind == StatementKind::kDefinition;
  return Ok{};
}

}  // namespace pgshunt
