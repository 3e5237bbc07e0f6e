// EXPLAIN (PGSHUNT) statement: where it would run, and what would be sent. Nothing runs, and the
// directory gives no key a shard: a route of kind kLookup is one whose keys are new to it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "router/router.h"

namespace pgshunt {

struct ExplainRequest {
  std::string_view statement;  // what is to be explained
  bool json = false;           // FORMAT JSON
};

// Nothing if the text is another statement, an EXPLAIN that is PostgreSQL's own included.
std::optional<ExplainRequest> read_explain_route(std::string_view sql,
                                                 bool standard_conforming_strings);

// Appends the answer, rows of text, up to CommandComplete.
void append_explained_route(std::string& out, const ExplainRequest& request, const Route& route,
                            const Topology& topology);

}  // namespace pgshunt
