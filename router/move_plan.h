// An UPDATE that sets the shard key: where the new key's shard is another, the rows move there.
//
// The old shard runs the client's own UPDATE, so that the server computes the rows, and returns
// them whole; they are then deleted there and inserted on the new shard. What the UPDATE would
// return, the INSERT does.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "protocol/wire_value.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

struct MovePlan {
  Pin new_key;
  std::size_t columns = 0;  // of each row that the UPDATE returns, followed by its ctid
  std::string insert;       // all before the rows
  std::string no_rows;      // in their place if there are none
  std::string remove;       // all before the list of ctids
  std::string returning;    // the client's own clause; empty: it has none
};

// `assignment`: of `query`, which sets the key of `table`. The level's other conditions have been
// planned as for any UPDATE of one key. Sets move and shard_text of `out`, or says what would not
// be the same.
Status plan_move(const Topology& topology, std::string_view text, const Query& query,
                 const Table& table, const StatementAnalysis& analysis,
                 const std::vector<std::uint32_t>& types, StatementPlanData& out);

// The assignment of `query` to the table's key, or null.
const Target* key_assignment(const Query& query, const Table& table);

// Rows as the UPDATE has returned them, in text, made into what the shards are to run next.
class MovedRows {
 public:
  explicit MovedRows(const MovePlan& plan) : plan_(plan) {}

  // One row's values. False if it does not look like one.
  bool add(std::span<const WireValue> values);
  std::size_t count() const { return count_; }
  std::string remove_sql() const { return plan_.remove + "'{" + places_ + "}'::pg_catalog.tid[])"; }
  std::string insert_sql() const;

 private:
  const MovePlan& plan_;
  std::size_t count_ = 0;
  std::string places_;
  std::string values_;
};

}  // namespace pgshunt
