// Rows of one SELECT, read from its shards in portions through a cursor on each, and merged.
//
// Asks for nothing itself: who owns it fetches from the shards of wanting() whenever next() needs
// more, and hands over what they have sent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/merge_spec.h"
#include "router/row_merger.h"
#include "router/topology.h"

namespace pgshunt {

class ShardRows {
 public:
  // `shards`: ascending. `merge` and `window` as of the SELECT's route.
  ShardRows(std::vector<ShardId> shards, MergeSpec merge, RowWindow window)
      : spec_(std::move(merge)), window_(window) {
    for (const ShardId shard : shards) sources_.emplace_back().shard = shard;
  }

  // The first RowDescription, before any rows; further ones are passed over.
  Status describe(std::string_view body);
  // The result formats that the rows will come in, hidden columns included, as in a Bind; before
  // any have come. Without it all values are text.
  Status set_formats(std::string_view formats);
  bool described() const { return merger_.has_value(); }
  // As described, but for columns added for sorting.
  const std::string& description() const { return description_; }
  std::uint16_t hidden_columns() const { return spec_.hidden_columns; }

  // Indexes of shards() that have no rows left here, and may have more.
  std::vector<std::size_t> wanting() const;
  ShardId shard(std::size_t source) const { return sources_[source].shard; }
  std::vector<ShardId> shards() const;
  bool reads(ShardId shard) const;
  // How many rows to ask each of them for, so that they are not much more than kPortion bytes.
  // `wanted`: how many the client is waiting for, as far as is known.
  std::size_t next_portion(std::uint64_t wanted = 0);
  // DataRow messages of a source that is wanting. `asked`: for so many, fewer are its last; 0: for
  // all there are.
  void add(std::size_t source, std::string rows, std::size_t asked);

  enum class Next : std::uint8_t { kRow, kWanting, kEnd };
  // kRow: `row` is a DataRow body with the client's columns, good until the next call.
  Result<Next> next(std::string_view& row);

 private:
  static constexpr std::size_t kPortion = 256 * 1024;

  struct Source {
    ShardId shard = 0;
    std::string rows;
    std::size_t at = 0;  // the next of them
    bool last = false;
  };
  std::string_view head(const Source& source) const;

  MergeSpec spec_;
  RowWindow window_;
  std::string shards_description_;
  std::string description_;
  std::vector<Source> sources_;
  std::optional<RowMerger> merger_;
  std::string row_;
  // Of the latest rows that came.
  std::size_t latest_rows_ = 0;
  std::size_t latest_bytes_ = 0;
  std::size_t latest_portion_ = 0;
};

}  // namespace pgshunt
