// A prepared INSERT of several rows, taken apart once: what each shard is to run depends on the
// values of every Bind.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "router/insert_rows.h"

namespace pgshunt {

struct InsertSplit {
  std::string before;  // all up to the first row
  std::vector<std::string> rows;
  std::string behind;
  // All rows are written alike and no two share a parameter: any so many of them make the same
  // statement, which is worth keeping on the servers.
  bool uniform = false;
  std::size_t parameters = 0;  // the highest number used
};

std::shared_ptr<const InsertSplit> make_insert_split(std::string_view sql, const InsertRows& rows);

// The statement for one shard. Its parameters are numbered anew; `parameters` tells which of the
// client's (from 0) each of them is.
struct InsertPart {
  std::string text;
  std::vector<std::uint16_t> parameters;
};

// `row_order`: for each row, whose it is; `which`: whose to take.
InsertPart part_of_insert(const InsertSplit& split, std::span<const std::uint16_t> row_order,
                          std::uint16_t which);

}  // namespace pgshunt
