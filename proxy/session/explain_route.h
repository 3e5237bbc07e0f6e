// EXPLAIN (PGSHUNT) statement: where it would run, why, and what would be sent. Nothing runs, and
// the directory gives no key a shard (a route of kind kLookup is one whose keys are new to it),
// unless ANALYZE is among the options too: then every shard says how long its part took.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/router.h"

namespace pgshunt {

struct ExplainRequest {
  // What is to be explained, with the comments before EXPLAIN; if not `route`, the EXPLAIN itself,
  // without PGSHUNT among its options.
  std::string statement;
  bool route = true;  // not: (PGSHUNT off), an EXPLAIN of PostgreSQL's own
  bool json = false;  // FORMAT JSON
  bool analyze = false;
  std::string shard_options;  // of the shards' own EXPLAIN: ", BUFFERS, COSTS off"
  // What servers prepare in place of a prepared one: an EXPLAIN with the same parameters, column
  // and positions in errors.
  std::string server_text;
  std::uint32_t effects = 0;  // of a prepared one, if it is run
};

// Nothing if the text is another statement, an EXPLAIN that says nothing of PGSHUNT included. 42601
// for options that are none, 22023 and 0A000 for those that PGSHUNT does not have.
std::optional<Result<ExplainRequest>> read_explain_route(std::string_view sql,
                                                         bool standard_conforming_strings);

// By its first word a SELECT, INSERT, UPDATE, DELETE or MERGE; there is EXPLAIN of other
// statements.
bool is_explained_query(std::string_view statement, bool standard_conforming_strings);

// ANALYZE: rows of one table that the merge node was brought.
struct BroughtRows {
  std::vector<std::pair<std::string, std::uint64_t>> shards;  // name, rows
  std::chrono::duration<double, std::milli> elapsed{};
};

// What there is to say of a route, for longer than the route lasts.
struct ExplainedRoute {
  struct Part {
    std::string shard;
    std::string text;  // as it is sent
    // ANALYZE: what the shard's own EXPLAIN (ANALYZE, FORMAT JSON) says.
    std::string plan;
    BroughtRows brought;
  };
  std::string kind;
  std::string reason;
  std::string merge;       // empty: there is nothing to merge
  std::string merge_plan;  // ANALYZE: what EXPLAIN says at the merge node
  std::vector<Part> parts;
  std::string text;  // what is sent once the values in it are made; empty: it is in `parts`
  std::vector<std::string> new_keys;  // that the directory gives a shard when it runs
  bool json = false;
  std::chrono::duration<double, std::milli> elapsed{};  // ANALYZE: of all, with the ways
};

// `shards`: those of a route that leaves open which one it is.
ExplainedRoute explain_route(const ExplainRequest& request, const Route& route,
                             std::span<const ShardId> shards, const Topology& topology);

// What each part is to be sent for ANALYZE goes behind that.
std::string analyzing_prefix(const ExplainRequest& request);
// The plan in the DataRow messages with which a server answers that.
std::string plan_of_rows(std::string_view messages);

// The answer's rows: lines of text, or one of JSON.
std::vector<std::string> explained_rows(const ExplainedRoute& explained);
// Appends all of the answer, up to CommandComplete.
void append_explained_route(std::string& out, const ExplainedRoute& explained);

}  // namespace pgshunt
