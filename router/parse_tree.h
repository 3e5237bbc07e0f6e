// PostgreSQL's own grammar, through libpg_query, which nothing else includes.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/sql_tree.h"

namespace pgshunt {

// The one statement in `text`. Errors: 42601 in PostgreSQL's words for what it cannot parse; 0A000
// for several statements; 54001 for nesting too deep to be parsed safely.
// Locations in the tree are byte offsets into `text`.
Result<SqlStatement> parse_statement(std::string_view text);

}  // namespace pgshunt
