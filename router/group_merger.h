// Groups of several shards as one server would have them: what shards say of their own rows of a
// group is put together (router/running_aggregate.h). Shards send groups in the order of their
// keys, so those of one group are neighbours in the merge, and one is in memory at a time; only an
// ORDER BY of something else (router/row_sorter.h) keeps more.
//
//   auto merger = GroupMerger::create(spec, window, row_description_body, formats, shards, space);
//   for (;;) {
//     const auto step = merger->next();      an Error: a sum that is too large, a full disk
//     switch (step->kind) {
//       case GroupMerger::Step::kNeed:  ... merger->set_head(step->source, body), or set_end()
//       case GroupMerger::Step::kTaken: ... drop the head of step->source: it has been used
//       case GroupMerger::Step::kRow:   ... merger->take_row()
//       case GroupMerger::Step::kDone:  ...
//     }
//   }
//
// Without keys there is one group, whose rows may be given as they come, see RowMerger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/row_merger.h"
#include "router/row_sorter.h"
#include "router/running_aggregate.h"

namespace pgshunt {

class GroupMerger {
 public:
  struct Step {
    enum Kind : std::uint8_t { kNeed, kTaken, kRow, kDone };
    Kind kind = kDone;
    std::size_t source = 0;
  };

  // As RowMerger::create(). 0A000 for types that have no order, or no sum, known here.
  static Result<GroupMerger> create(const MergeSpec& spec, const RowWindow& window,
                                    std::string_view row_description, const FormatList* formats,
                                    std::size_t sources, const SortSpace& space);

  Result<Step> next();
  Status set_head(std::size_t source, std::string_view body);
  void set_end(std::size_t source) { rows_.set_end(source); }
  // After kRow: the DataRow body, of which the first visible_columns() are the client's. Good until
  // the next call of anything.
  std::string_view take_row();

  std::uint16_t visible_columns() const { return rows_.visible_columns(); }

 private:
  GroupMerger(RowMerger rows, RowOrder keys) : rows_(std::move(rows)), keys_(std::move(keys)) {}

  Status add(std::string_view body);
  Status finish_group();
  void make_empty_group();
  Result<bool> next_sorted();

  RowMerger rows_;
  RowOrder keys_;
  std::size_t key_count_ = 0;
  std::size_t distinct_keys_ = 0;
  bool one_row_ = false;
  std::size_t total_columns_ = 0;
  std::vector<RunningAggregate> aggregates_;  // by their columns
  std::vector<std::string_view> heads_;       // by source
  std::int64_t to_skip_ = 0;
  std::int64_t to_emit_ = RowWindow::kNoLimit;

  bool has_group_ = false;
  std::string group_;     // its first row
  std::string last_;      // distinct_keys_: its last row
  bool several_ = false;  // there were others, which are in aggregates_
  bool began_ = false;    // there was a group
  bool exhausted_ = false;
  bool ready_ = false;  // finished_ is to be emitted
  std::string finished_;
  std::optional<RowSorter> sorter_;
  bool sorted_ = false;  // the sorter has all rows
};

}  // namespace pgshunt
