// How the rows of several shards become the one result the client asked for. Made by the planner,
// immutable, carried out by router/row_merger.h and, where they are of groups, group_merger.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace pgshunt {

struct SortKey {
  // Where the value stands in the shards' rows.
  enum class Where : std::uint8_t {
    kVisible,  // column `index` of the client's columns
    kHidden,   // column `index` of the hidden ones, which stand last
    kNamed,    // the client's column called `name`: "SELECT *" hides its position until the shards
               // describe their rows
    kNamedOrHidden,  // the client's column of that name if there is one, else the hidden one
  };
  Where where = Where::kVisible;
  std::uint16_t index = 0;
  std::string name;
  bool descending = false;
  bool nulls_first = false;
  // If the column turns out to be text, its order is known to be that of its bytes (collation C).
  bool bytewise = false;
};

// What shards say of an aggregate, and how it becomes what it is of all rows.
struct GroupAggregate {
  enum class How : std::uint8_t {
    kSum,  // of count() too
    kMin,
    kMax,
    kAnd,
    kOr,
    kBitAnd,
    kBitOr,
    kBitXor,
    kAverage,  // from a sum and a count among the hidden columns
  };
  How how = How::kSum;
  bool hidden = false;  // is `column` one of the hidden ones?
  std::uint16_t column = 0;
  std::uint16_t sum = 0;    // kAverage: hidden columns
  std::uint16_t count = 0;  // the same
  bool counts = false;      // count(): 0 of no rows, where others are NULL
  bool distinct = false;    // of a value that there has been already it says nothing new
  bool bytewise = false;    // kMin, kMax: see SortKey
};

// Each row of a shard is what it says of one group of its rows; those of a group become one.
struct GroupSpec {
  // Rows are of one group if they agree in so many of the first keys. None: all rows are.
  std::size_t keys = 0;
  // So many keys behind those are the value that DISTINCT is about, in the shards' rows one each.
  std::size_t distinct_keys = 0;
  bool one_row = false;  // there is no GROUP BY: of no rows too
  std::vector<GroupAggregate> aggregates;
  // ORDER BY, where that is not the order in which groups are merged; empty: it is, or there is
  // none.
  std::vector<SortKey> order;
  // How many columns the client gets.
  std::size_t visible_columns = 0;
};

struct MergeSpec {
  // In order of weight. Empty: shards' rows in any order.
  std::vector<SortKey> keys;
  // Columns added for sorting at the end of the shards' rows, to be cut off before the client sees
  // them: from RowDescription and every DataRow (cut_row_description, cut_data_row). They are not
  // in the client's list of result formats either: if that list has more than one entry, append
  // this many zeros for the shards.
  std::uint16_t hidden_columns = 0;
  // Null: every row of a shard is one of the result.
  std::shared_ptr<const GroupSpec> groups;
};

// The window of the merged rows the client sees, LIMIT and OFFSET with their values bound. The
// shards have already been asked for no more than offset + limit rows each.
struct RowWindow {
  static constexpr std::int64_t kNoLimit = -1;
  std::int64_t offset = 0;
  std::int64_t limit = kNoLimit;
  // What the session's settings leave of values on their way: text in the server's encoding, floats
  // in text with all their digits, dates in text as ISO writes them. Without them such a sort
  // column is refused.
  bool same_encoding = true;
  bool exact_floats = true;
  bool iso_dates = true;
};

}  // namespace pgshunt
