// An analysed statement: what prepare() found out once, so that each bind() only has to look at
// values. Immutable and shared; tagged with the epoch of the topology it was made under.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/hint.h"
#include "router/key_value.h"
#include "router/merge_spec.h"
#include "router/router.h"
#include "router/topology.h"

namespace pgshunt {

struct InsertSelect;   // router/insert_select.h
struct MadeValues;     // router/made_values.h
struct MergeNodePlan;  // router/merge_node.h
struct MovePlan;       // router/move_plan.h

// One end of `key = value`: the value that places a table's rows, still to be bound; or of
// `key IN (values)` and `key = ANY (array)`: any of them may be a row's.
struct Pin {
  std::uint16_t keyspace = 0;
  ShardKeyType key_type = ShardKeyType::kInt8;
  KeySource source;
  // Of a list: the values after the first. Null: there is no list.
  std::shared_ptr<const std::vector<KeySource>> more;
  // `source` is an array; its cast is to an array of that type.
  bool array = false;
  bool is_list() const { return array || more != nullptr; }
  // A value that is stored (INSERT) must not be NULL. In a comparison NULL merely matches no row.
  KeyUse use = KeyUse::kCompared;
  // Compared with a key of another keyspace, whose rows are then stored (INSERT ... SELECT): that
  // no row of this keyspace can have it does not mean that none comes.
  bool stores_matches = false;
};

// `key < value` and its kin, of the key of a range keyspace: only shards whose ranges can match
// have rows for the result.
struct KeyBound {
  enum class Op : std::uint8_t { kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
  std::uint16_t keyspace = 0;
  Op op = Op::kLess;
  KeySource source;
};

// LIMIT or OFFSET: absent, a constant, or a parameter.
struct LimitSource {
  enum class Kind : std::uint8_t { kNone, kConstant, kParameter };
  Kind kind = Kind::kNone;
  std::int64_t constant = 0;
  std::uint16_t parameter = 0;  // zero-based
};

// Everything the planner decides. kOneShard with no pins means `home`.
struct StatementPlanData {
  std::uint64_t epoch = 0;
  RouteKind kind = RouteKind::kAnyShard;
  bool writes = false;
  // A hint says where it runs, when it is bound. Pins are then the keys of rows that it writes.
  bool hinted = false;
  bool hint_asked = false;           // there was one; of some statements it decides nothing
  std::optional<RouteHint> comment;  // the hint in the text, if it says where; else the session's
  // kOneShard: the shards of all their values. kWriteShards, kScatter: empty means every shard.
  std::vector<Pin> pins;
  // kOneShard: what the statement is when its values turn out to be on several shards; kOneShard
  // for a statement that cannot run there, and why not.
  RouteKind several = RouteKind::kOneShard;
  Error several_refusal;
  // An INSERT of one row for one shard: why rows like it may not go to several shards in one
  // statement; nothing if they may.
  std::optional<Error> rows_refusal;
  // Of an INSERT's rows: parameters, from 0, that become text whatever they say.
  std::vector<bool> text_parameters;
  // A prepared INSERT of several rows, which may part; pins are those of the rows.
  std::shared_ptr<const InsertSplit> split;
  // kOneShard: an unsharded table is involved. kInsertSelect: where it can be described.
  std::optional<ShardId> home;
  std::vector<KeyBound> bounds;          // kScatter: every row of the result meets them
  MergeSpec merge;                       // kScatter
  LimitSource limit;                     // kScatter
  LimitSource offset;                    // kScatter
  std::shared_ptr<const CopyPlan> copy;  // kCopySplit, kCopyMerge, kCopyQuery
  std::int64_t write_lock = 0;           // kEveryShard: see Route
  Alike alike = Alike::kNo;              // kWriteShards
  bool defines = false;                  // kWriteShards
  std::vector<KeySource> settings;       // names given to set_config()
  std::string shard_text;                // what the shards are to run; empty: the client's own text
  std::shared_ptr<const MovePlan> move;  // kOneShard: what it is if the new key is on another
  // kInsertSelect, and kOneShard with that as `several`.
  std::shared_ptr<const InsertSelect> insert_select;
  // kMergeNode, and kOneShard with that as `several`.
  std::shared_ptr<const MergeNodePlan> merge_node;
  // kMakeValues: nothing else is planned; the text with the values is a statement of its own.
  std::shared_ptr<const MadeValues> made;
  bool sequences_apart = false;  // those of a table's columns have to be set apart first
  bool unique_ids = false;       // pgshunt.unique_id() may be called by it
  bool fixes_moment = false;     // of shard_text, and of each row's text: see Route
  // Names a table without its schema: good only under the search path it was planned under.
  bool unqualified = false;
  std::string search_path;  // SearchPath::text() of that; empty: the topology's
  // Parameters by whose text each shard would read its own clock must not come ("now", "today").
  bool several_shards() const {
    return kind == RouteKind::kScatter || kind == RouteKind::kEveryShard ||
           kind == RouteKind::kWriteShards || kind == RouteKind::kMergeNode || copies();
  }
  bool copies() const { return kind == RouteKind::kCopySplit || kind == RouteKind::kCopyMerge; }
};

class StatementPlan {
 public:
  StatementPlan(std::string text, std::vector<std::uint32_t> types, StatementPlanData data)
      : text_(std::move(text)), types_(std::move(types)), data_(std::move(data)) {}

  // The client's text and declared parameter types, as given to prepare().
  std::string_view text() const { return text_; }
  const std::vector<std::uint32_t>& types() const { return types_; }
  // What to Parse on servers that do it together: text() for most.
  std::string_view shard_text() const {
    return data_.shard_text.empty() ? std::string_view(text_) : data_.shard_text;
  }

  RouteKind kind() const { return data_.kind; }
  bool writes() const { return data_.writes; }
  std::uint64_t epoch() const { return data_.epoch; }
  // Columns at the end of the shards' rows that the client must not see (also when it describes the
  // statement before it binds).
  std::uint16_t hidden_columns() const { return data_.merge.hidden_columns; }

  // Null: the proxy makes no values for it.
  const MadeValues* made() const { return data_.made.get(); }

  const StatementPlanData& data() const { return data_; }

 private:
  std::string text_;
  std::vector<std::uint32_t> types_;
  StatementPlanData data_;
};

}  // namespace pgshunt
