// INSERT ... SELECT whose rows do not stay on the shard they are selected on: the proxy runs the
// SELECT as any other, and stores its rows by INSERTs with a row of values for each.
//
// A value travels as text and comes to the INSERT as a literal cast to the type that it had in the
// SELECT, so that it is assigned to its column as it would have been: 1.5::float8 becomes 2 in a
// column of integers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "protocol/wire_value.h"
#include "router/sql_tree.h"
#include "router/topology.h"

namespace pgshunt {

// The statement's text, cut at its SELECT.
struct InsertSelect {
  std::string before;  // INSERT INTO t (a, b)
  std::string select;  // with the WITH that stands before INSERT
  std::string behind;  // ON CONFLICT, RETURNING
  // The SELECT writes too (WITH ... AS (DELETE ... RETURNING ...)): no cursor can be opened for it.
  bool select_writes = false;
  // Rows may be stored by several INSERTs, one after the other, and nobody sees the difference.
  bool in_batches = false;
  bool reads_clock = false;  // the SELECT calls now() or its kin
  // Where all its rows are stored; nothing: on any shard.
  std::optional<ShardId> home;
  // A column of the SELECT that has no type of its own but takes that of the column it is for: a
  // string or NULL, and what is nothing but a parameter, if its type is open.
  struct OpenColumn {
    std::size_t position = 0;
    bool from_end = false;                   // position 0 is the last: there is a star before it
    std::optional<std::uint16_t> parameter;  // from 0; nothing: a literal
    std::uint32_t column_type = 0;           // 0: not known

    std::size_t index(std::size_t columns) const {
      return from_end ? columns - 1 - position : position;
    }
  };
  std::vector<OpenColumn> open_columns;
};

// `text` is that of `insert`, which has a SELECT. Nothing if it is not written as expected.
std::optional<InsertSelect> cut_insert_select(std::string_view text, const Query& insert);

// The same for a text alone.
Result<InsertSelect> read_insert_select(std::string_view text);

// How often each of the parameters $1 ... stands in a text.
std::vector<std::size_t> uses_of_parameters(std::string_view text);

// `before VALUES ($n, ...) behind`, with parameters from `first` on for a row's values.
std::string one_row_insert(const InsertSelect& insert, std::size_t columns, std::size_t first);
// The same for no row at all: it fails where the other would, and has the same RETURNING.
std::string no_row_insert(const InsertSelect& insert, std::span<const std::string> types);

// The INSERT of many rows for one shard: made of a text with one row whose parameters, from `first`
// on, are put in as literals.
class RowTexts {
 public:
  // `types`: of the values, as SQL names them; an empty one: a literal as it is. Parameters behind
  // those are numbers. Nothing if the text has no row.
  static std::optional<RowTexts> create(std::string_view one_row, std::size_t first,
                                        std::vector<std::string> types);

  // One more row for the INSERT `out`, or its first if that is empty.
  void add_row(std::string& out, std::span<const WireValue> values,
               std::span<const std::int64_t> numbers) const;
  void finish(std::string& out) const { out += behind_; }

 private:
  struct Piece {
    std::string text;       // before the value
    std::size_t value = 0;  // from 0
  };

  std::string before_;
  std::vector<Piece> row_;
  std::string row_end_;
  std::string behind_;
  std::vector<std::string> types_;
};

}  // namespace pgshunt
