// SQL in, route out: the one door through which the proxy asks where a statement runs.
//
// One Router per worker, used on that worker's thread only. It holds the worker's template cache;
// the topology it reads is an immutable snapshot shared by all workers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/key_directory.h"
#include "router/merge_spec.h"
#include "router/search_path.h"
#include "router/topology.h"

namespace pgshunt {

struct CopyPlan;       // router/copy_plan.h
struct RouteHint;      // router/hint.h
struct InsertSelect;   // router/insert_select.h
struct InsertSplit;    // router/insert_split.h
struct MergeNodePlan;  // router/merge_node.h
struct MovePlan;       // router/move_plan.h
class StatementPlan;   // router/statement_plan.h: an analysed statement, immutable, epoch-tagged

enum class RouteKind : std::uint8_t {
  kAnyShard,     // reads only reference tables or none: the linked shard, else any
  kHomeShard,    // system catalogs: always the topology's first shard, so that OIDs stay consistent
  kOneShard,     // shards[0]; a statement pinned to a key that cannot exist becomes kAnyShard
  kScatter,      // a SELECT on `shards`, merged by `merge`
  kMergeNode,    // a SELECT that one server runs over what `shards` have of its tables, by
                 // `merge_node`
  kEveryShard,   // a write to a reference table: every shard, all or none; the first one's reply
                 // counts
  kWriteShards,  // a write on each of `shards` to its own rows, all or none: tags are summed, rows
                 // of RETURNING are those of all
  kMoveRows,     // an UPDATE of the shard key that takes rows from `move_from` to the other of
                 // `shards`, by `move`
  kCopySplit,    // COPY FROM STDIN on all of `shards`, each row to its own: router/copy_split.h
  kCopyMerge,    // COPY TO STDOUT on all of `shards`, rows in any order: protocol/copy_merge.h
  kCopyQuery,    // COPY (query) TO STDOUT whose query is a kScatter or kMergeNode by itself, which
                 // its rows come from; `copy` says what is made of them
  kCursor,       // DECLARE CURSOR for such a query
  kInsertSelect,  // rows of `insert_select`'s SELECT, wherever that runs, are to be stored by
                  // INSERTs of their own
  kLookup,        // the directory must be asked for `lookups` first; then route it again
  kMakeValues,    // values must be made first, one for each of `made`; then route with_values().
                  // None: the shards lack pgshunt.unique_id(); then route it again
};

// Of a statement that is about tables or the schema, not rows: every shard does the same, and the
// first one's reply is the client's.
enum class Alike : std::uint8_t {
  kNo,
  kTogether,  // all or none
  kInBlock,   // the same, if the client has begun a transaction block; else any shard refuses it
  kOneByOne,  // it cannot run in a transaction: one shard after the other
};

struct Route {
  RouteKind kind = RouteKind::kAnyShard;
  bool writes = false;  // anything but a provably read-only SELECT
  // Ascending; empty for kAnyShard, kInsertSelect and kLookup. Valid until the router's next call.
  std::span<const ShardId> shards;
  std::span<const KeyLookup> lookups;  // kLookup. Same lifetime.
  // kMakeValues: where each value comes from (router/made_values.h). Valid until the router's next
  // call.
  std::span<const std::string> made;
  // kScatter only; null otherwise. Valid as long as the plan (prepared) or until the router's next
  // call (simple).
  const MergeSpec* merge = nullptr;
  // kEveryShard, and kCopySplit into such a table: the key of an advisory lock that its writers
  // hold on the first shard, so that all shards see their writes in one order.
  std::int64_t write_lock = 0;
  RowWindow window;  // kScatter: LIMIT and OFFSET, values bound
  // kWriteShards of an INSERT with several rows: a text for each of `shards`, and for each row, in
  // the order of the text, which of them has it. Empty: all run the same. Valid until the router's
  // next call.
  std::span<const std::string> texts;
  std::span<const std::uint16_t> row_order;
  // A write on several shards, whose text reads the settings of router/fixed_moments.h.
  bool fixes_moment = false;
  Alike alike = Alike::kNo;  // kWriteShards
  bool defines = false;      // the schema changes
  // The hint that says where it runs, whatever the statement; same lifetime as shards.
  const RouteHint* hint = nullptr;
  // The same from bind(), with row_order: what to make the texts of. Valid as long as the plan.
  const InsertSplit* split = nullptr;
  // kMoveRows only; `move` lives as long as it is held.
  std::shared_ptr<const MovePlan> move;
  ShardId move_from = 0;
  // kInsertSelect only. Valid as long as it is held.
  std::shared_ptr<const InsertSelect> insert_select;
  // kMergeNode only. Valid as long as it is held.
  std::shared_ptr<const MergeNodePlan> merge_node;
  // kCopySplit, kCopyMerge and kCopyQuery only. Valid as long as it is held: a COPY outlives many
  // calls.
  std::shared_ptr<const CopyPlan> copy;
  // The text to send instead of the client's; empty: send the client's own. Same lifetime as merge.
  // bind() leaves it empty: what to prepare on the servers is the plan's shard_text().
  std::string_view sql;
};

// One bound parameter as it stands in the client's Bind message.
struct BoundValue {
  bool is_null = false;
  bool binary = false;
  std::uint32_t type = 0;  // declared parameter type's OID, 0 if the client left it open
  std::string_view bytes;
};

// Settings of the client's session that change what a statement or a value means. The proxy tracks
// them; a statement whose route would depend on one that is not as expected is refused.
struct RouterSession {
  bool standard_conforming_strings = true;
  bool same_encoding = true;  // client_encoding is the servers' own
  bool exact_floats = true;   // extra_float_digits is 1 or more
  bool iso_dates = true;      // DateStyle is ISO
  // client_encoding has letters with bytes that look like ASCII: encoding_embeds_ascii().
  bool embeds_ascii = false;
  bool default_search_path = true;  // search_path is the topology's
  // What it is otherwise, "$user" replaced; null where that is not known. Read only if some of its
  // schemas are tenants' (SchemaPlacement).
  const SearchPath* search_path = nullptr;
  // What its settings say of where statements run; null for nothing.
  const RouteHint* hint = nullptr;
};

class Router {
 public:
  explicit Router(std::shared_ptr<const Topology> topology, std::size_t cached_templates = 4096);
  ~Router();

  // The next calls use this map. Cached templates of an older epoch are dropped as they are met.
  void set_topology(std::shared_ptr<const Topology> topology);
  const Topology& topology() const;
  // The same, for what outlives the next map.
  const std::shared_ptr<const Topology>& shared_topology() const;
  // Of directory keyspaces; must outlive the router. Without one every key is looked up.
  void set_directory(const KeyDirectory* directory);
  // The answer to one lookup of a kLookup route, kShard or kAbsent.
  void learn(const KeyLookup& lookup, KeyPlace place);

  // One statement of a simple query, literals in place. Errors: 0A000 for what cannot be proven
  // exact (message names the clause, hint says what to do), 42P01 for a table the configuration
  // does not know, 23502 for a NULL key, 42601 in PostgreSQL's words for what its grammar (that of
  // version 15) does not take. The last is not left to a server: a newer one may know a syntax that
  // was not looked through, and answer for its own rows only.
  Result<Route> route(std::string_view statement, const RouterSession& session = {});

  // What the last route(), of kMakeValues, was about, with the values in its text. Valid until the
  // router's next call.
  std::string_view with_values(std::span<const std::int64_t> values);
  // The same, for people: "made 1", "made 2" in the values' places. (No number is taken for it.)
  std::string_view with_places(std::size_t count);

  // Extended protocol: analysed once at Parse ...
  Result<std::shared_ptr<const StatementPlan>> prepare(std::string_view statement,
                                                       std::span<const std::uint32_t> types,
                                                       const RouterSession& session = {});
  // ... analysed again if the map has changed since (by epoch) or the search path that it was made
  // under; else it is the same plan. Call it before bind().
  Result<std::shared_ptr<const StatementPlan>> refresh(std::shared_ptr<const StatementPlan> plan,
                                                       const RouterSession& session = {});
  // Would refresh() leave it as it is?
  bool is_current(const StatementPlan& plan, const RouterSession& session) const;
  // A plan of kMakeValues is not for binding: prepare its made() text instead, whose last
  // parameters are the values.
  // ... routed at each Bind. 55000 for a plan of another epoch.
  Result<Route> bind(const StatementPlan& plan, std::span<const BoundValue> values,
                     const RouterSession& session = {});

  // Of a SELECT whose rows have turned out to have no order known here (`why`): the same at the
  // merge node. `types`: of its parameters.
  Result<Route> route_to_merge_node(std::string_view statement,
                                    std::span<const std::uint32_t> types, std::string_view why,
                                    const RouterSession& session = {});

  // The one shard that can describe the statement before its values are known: that of its
  // unsharded tables (such as a tenant's), or the one a hint names.
  std::optional<ShardId> home_of(const StatementPlan& plan, const RouterSession& session = {});

  // For statements that the proxy answers itself: 42601 for what the grammar does not take.
  static Status check_syntax(std::string_view statement);

  struct Counters {
    std::uint64_t template_hits = 0;
    std::uint64_t template_misses = 0;
  };
  Counters counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgshunt
