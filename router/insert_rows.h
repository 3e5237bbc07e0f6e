// Where the rows of INSERT ... VALUES (...), (...) stand in its text, so that each can go to its
// own shard: the text is cut, never printed from a tree.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "router/clause_text.h"

namespace pgshunt {

struct InsertRows {
  std::vector<TextRange> rows;  // with their parentheses; all before the first and behind the last
                                // belongs to every row
  bool same_length = true;      // as many values in each

  std::string_view before(std::string_view sql) const { return sql.substr(0, rows.front().begin); }
  std::string_view row(std::string_view sql, std::size_t index) const {
    return sql.substr(rows[index].begin, rows[index].end - rows[index].begin);
  }
  std::string_view behind(std::string_view sql) const { return sql.substr(rows.back().end); }
};

// False if the text is no INSERT with a list of rows, or not written as one. What stands around the
// rows is not looked at: a parser must see it. `out` is reused.
bool find_insert_rows(std::string_view sql, bool standard_conforming_strings, InsertRows& out);

}  // namespace pgshunt
