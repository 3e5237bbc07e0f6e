// Statements whose author says where they run: they are not proven, but they may not do on one
// shard what would make the shards disagree.
#pragma once

#include <optional>

#include "protocol/result.h"
#include "router/hint.h"
#include "router/route_binding.h"
#include "router/sql_tree.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"
#include "router/topology.h"

namespace pgshunt {

// A plan that any hint may be bound to, so it has nothing of the hint itself. Its pins are the keys
// of rows that the statement writes, as far as they can be told, its home that of an unsharded
// table it writes. Refused: a write to a reference table, an UPDATE of a shard key. COPY FROM is
// the caller's to plan.
Status plan_hinted(const Topology& topology, const SqlStatement& statement, const SearchPath* path,
                   const std::vector<std::uint32_t>& types, StatementAnalysis& analysis,
                   StatementPlanData& out);

// Why such a write to a reference table is refused.
Error hinted_reference_write(std::string_view table);
// The same of a write to a row whose key is another shard's, and to an unsharded table of another.
// 22023
Error key_not_where_hinted(const Topology& topology, ShardId key_shard, ShardId hinted);
Error table_not_where_hinted(const Topology& topology, ShardId home, ShardId hinted);

// The shard that a hint names; nothing if a directory has to be asked first (`context.lookups`),
// which may give a new key a shard if the statement `stores` rows. 22023 for a hint that names no
// shard, or two.
Result<std::optional<ShardId>> shard_of_hint(const Topology& topology, const RouteHint& hint,
                                             const RouterSession& session, BindContext& context,
                                             bool stores);

// For who sets a hint that is to hold for statements to come: can it be right? Its keyspace may be
// told later.
Status check_hint(const Topology& topology, const RouteHint& hint);

}  // namespace pgshunt
