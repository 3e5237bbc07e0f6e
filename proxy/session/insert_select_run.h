// An INSERT ... SELECT under way whose rows go through the proxy (router/insert_select.h): what is
// read of the SELECT, the batch of rows that is being stored, and what the client has been told.
// sharded_inserts.cc drives it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/session/fan_out.h"
#include "proxy/session/shard_rows.h"
#include "router/fixed_moments.h"
#include "router/insert_select.h"
#include "router/statement_plan.h"

namespace pgshunt {

// On each of the SELECT's servers.
inline constexpr std::string_view kSelectCursor = "pgshunt.rows";

struct InsertSelectRun {
  enum class Step : std::uint8_t {
    kOpen,   // cursors are opened; their shards are told with the next portion
    kFetch,  // rows are fetched
    kNames,  // a shard is asked for the names of types
    kStore,  // a batch is stored
  };

  InsertSelectRun(std::shared_ptr<const InsertSelect> insert_select, ShardRows shard_rows)
      : statement(std::move(insert_select)), rows(std::move(shard_rows)) {}

  std::shared_ptr<const InsertSelect> statement;
  std::string select;  // as its shards run it
  ShardRows rows;
  // What time it is to all of it.
  FixedMoments moments;
  Step step = Step::kOpen;
  bool alone = false;          // outside of any transaction
  std::size_t asked_rows = 0;  // of each shard, by the FETCH under way; 0: for all there are

  // By the extended protocol: the client's Bind, without its names, and its parameters' types.
  std::optional<std::string> bind;
  std::vector<std::uint32_t> types;
  std::size_t parameters = 0;
  FanOutPlan asked;  // of the INSERT's reply: describe, result_formats, max_rows

  // Of each of the SELECT's columns, once it is described. A type of 0 and no name: a literal
  // without a type.
  std::vector<std::uint32_t> column_types;
  std::vector<std::string> type_names;

  // The INSERT of one row, made when the first is there.
  std::shared_ptr<const StatementPlan> insert;
  std::optional<RowTexts> texts;
  std::vector<std::string> sources;  // as in MadeValues, for each row
  bool tells_moment = false;         // its text reads router/fixed_moments.h

  // The batch: each row as a DataRow's body, where it belongs, and the numbers made for it.
  std::vector<std::string> batch;
  std::size_t batch_bytes = 0;
  std::vector<std::optional<ShardId>> places;
  std::vector<std::int64_t> numbers;
  bool complete = false;             // it is to be stored before more is read
  bool exhausted = false;            // there are no more rows
  std::optional<ShardId> stored_on;  // the last one
  bool on_several = false;           // shards, so far
  bool everywhere = false;           // into a reference table, whose writers hold this lock
  std::int64_t write_lock = 0;

  std::uint64_t stored = 0;
  std::uint64_t returned = 0;  // rows of RETURNING
  bool answered = false;       // the client has the first INSERT's answer
  bool client_slow = false;
  bool canceled = false;  // the step under way may not have heard of it
};

}  // namespace pgshunt
