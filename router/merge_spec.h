// How the rows of several shards become the one result the client asked for. Made by the planner,
// immutable, carried out by router/row_merger.h.
#pragma once

#include <cstdint>
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

struct MergeSpec {
  // In order of weight. Empty: shards' rows in any order.
  std::vector<SortKey> keys;
  // Columns added for sorting at the end of the shards' rows, to be cut off before the client sees
  // them: from RowDescription and every DataRow (cut_row_description, cut_data_row). They are not
  // in the client's list of result formats either: if that list has more than one entry, append
  // this many zeros for the shards.
  std::uint16_t hidden_columns = 0;
};

// The window of the merged rows the client sees, LIMIT and OFFSET with their values bound. The
// shards have already been asked for no more than offset + limit rows each.
struct RowWindow {
  static constexpr std::int64_t kNoLimit = -1;
  std::int64_t offset = 0;
  std::int64_t limit = kNoLimit;
  // What the session's settings leave of values on their way: text in the server's encoding, floats
  // in text with all their digits. Without them such a sort column is refused.
  bool same_encoding = true;
  bool exact_floats = true;
};

}  // namespace pgshunt
