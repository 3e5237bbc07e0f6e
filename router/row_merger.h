// The streaming k-way merge of sorted shard results, with OFFSET and LIMIT on top.
//
// Pulled, never waiting: next() says which row comes next, or which shard's row it has to see
// first. Nothing is copied: a row is the caller's bytes, pinned by the caller until it was taken.
//
//   auto merger = RowMerger::create(spec, window, row_description_body, formats, shards);
//   for (;;) {
//     const RowMerger::Step step = merger->next();
//     switch (step.kind) {
//       case RowMerger::Step::kNeed: ... merger->set_head(step.source, body) once that shard's
//                                    next DataRow is here, or set_end(step.source) at its end
//       case RowMerger::Step::kRow:  ... forward the head of step.source; merger->taken()
//       case RowMerger::Step::kSkip: ... drop the head of step.source (OFFSET); merger->taken()
//       case RowMerger::Step::kDone: ... cancel and drain whoever has not ended
//     }
//   }
//
// Without sort keys rows are forwarded as they come: any source that has no head yet may be given
// one with set_head(), whether next() asked for it or not, and it is emitted in turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/backend.h"
#include "protocol/result.h"
#include "protocol/row_value.h"
#include "router/merge_spec.h"
#include "router/row_order.h"

namespace pgshunt {

class RowMerger {
 public:
  struct Step {
    enum Kind : std::uint8_t { kRow, kSkip, kNeed, kDone };
    Kind kind = kDone;
    std::size_t source = 0;
  };

  // `row_description`: the body of a shard's RowDescription, hidden columns included. `formats`:
  // the result format codes of the Bind sent to the shards; null for a simple query, where
  // everything is text. 0A000 if a sort column's type or collation has no order proven equal to
  // PostgreSQL's; 42P10 for an ordinal past the client's columns. 0A000 too if the rows are of
  // groups: those are for router/group_merger.h. Nothing given is kept: neither the specification
  // nor the description need live on.
  static Result<RowMerger> create(const MergeSpec& spec, const RowWindow& window,
                                  std::string_view row_description, const FormatList* formats,
                                  std::size_t sources);

  // What comes next. Ties go to the lower source, so results repeat. The same step is returned
  // again until it was answered: kRow and kSkip by calling taken(), kNeed by set_head() or
  // set_end().
  Step next() const;

  // The next DataRow body of the source that next() needs. `body` must stay where it is until that
  // row is taken(). An Error: a malformed row, or a value in a form the order was not proven for
  // (DateStyle other than ISO).
  Status set_head(std::size_t source, std::string_view body);
  void set_end(std::size_t source);
  // The row of the last step was used; its bytes are no longer looked at.
  void taken();

  // Client's columns: what cut_data_row and cut_row_description should keep.
  std::uint16_t visible_columns() const { return visible_columns_; }

 private:
  RowMerger() = default;

  // Does the head of `left` come before that of `right`?
  bool before(std::size_t left, std::size_t right) const;
  void sift_up(std::size_t at);
  void sift_down(std::size_t at);

  RowOrder order_;
  std::uint16_t total_columns_ = 0;
  std::uint16_t visible_columns_ = 0;
  std::int64_t to_skip_ = 0;
  std::int64_t to_emit_ = RowWindow::kNoLimit;
  std::vector<std::size_t> heap_;     // sources with a head, the first row's at the front
  std::vector<std::size_t> awaited_;  // sources neither ended nor in the heap
  std::vector<RowValue> values_;      // of the heads: source * order_.size() + key
};

}  // namespace pgshunt
