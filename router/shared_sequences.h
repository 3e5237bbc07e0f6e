// Sequences of sharded tables: every shard has one of the same name, and no two may give the same
// number. They do not if their numbers are two progressions that never meet, as when each steps
// over the numbers of the others.
#pragma once

#include <span>

#include "protocol/result.h"
#include "router/shard_catalog.h"
#include "router/sql_tree.h"
#include "router/topology.h"

namespace pgshunt {

// Of the shards whose catalogs are known. kApart for a column that has none.
SequenceNumbers compare_sequences(const Column& column,
                                  std::span<const ShardCatalog* const> catalogs);

// An INSERT into a sharded table, or an UPDATE that sets columns to their DEFAULT: true if its
// sequences have to be set apart first, 0A000 if they collide. The shard key's numbers are made by
// the proxy, of one sequence.
Result<bool> wants_sequences_apart(const Query& query, const Table& table, bool has_default);
// The same for COPY FROM with these columns.
Result<bool> wants_sequences_apart(std::span<const std::string> columns, const Table& table);

}  // namespace pgshunt
