// How the rows of a FROM clause lie over the shards.
#pragma once

#include "protocol/result.h"
#include "router/sql_tree.h"
#include "router/table_scope.h"

namespace pgshunt {

// Ok if each row of the FROM clause comes to exist on exactly one shard when every shard joins what
// it holds: sharded tables joined key to key, reference tables beside them, no reference table on
// the preserved side of an outer join with a sharded one. Else a refusal that names the join.
// `has_target`: the rows are joined to those of the level's first table, the target of an UPDATE or
// DELETE.
Status check_rows_are_partitioned(const std::vector<FromItem>& from, const TableScope& scope,
                                  bool has_target = false);

}  // namespace pgshunt
