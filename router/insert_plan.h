// Which shard the rows of an INSERT belong to.
#pragma once

#include <vector>

#include "protocol/result.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// One pin for each row of an INSERT into a sharded table; or why its key cannot be told. Adds to
// `key_parameters` the parameters that are keys, once for each place.
Result<std::vector<Pin>> insert_pins(const Topology& topology,
                                     const std::vector<std::uint32_t>& types, const Query& insert,
                                     const Table& table, const StatementAnalysis& analysis,
                                     std::vector<std::uint16_t>& key_parameters);

// How a value becomes the table's key when it is stored.
KeyUse stored_key_use(const Table& table);

// The same of those rows only whose key can be told, for a statement that runs where its author
// says. 23502 for a key that is NULL because it is left out, 0A000 for one that a default would
// make.
Result<std::vector<Pin>> told_insert_pins(const Topology& topology,
                                          const std::vector<std::uint32_t>& types,
                                          const Query& insert, const Table& table);

// ON CONFLICT must not change the key, and its unique index must contain it: another is unique on
// each shard only.
Status check_on_conflict(const Query& insert, const Table& table);

// Nothing the INSERT leaves out may be filled with a value of each shard's own. For reference
// tables.
Status check_defaults_are_same(const Query& insert, const Table& table, bool has_default);

// Of the VALUES of an INSERT: by number from 0, the parameters that stand for a value of a column
// of text, and nothing else.
std::vector<bool> text_parameters(const Query& insert, const Table& table,
                                  const std::vector<std::size_t>& uses);

// INSERT ... SELECT whose rows have the key of the row they were made of: what a shard selects, it
// keeps.
bool selects_own_key(const Topology& topology, const Query& insert, const Table& table,
                     const StatementAnalysis& analysis);

}  // namespace pgshunt
