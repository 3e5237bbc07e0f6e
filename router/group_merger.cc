#include "router/group_merger.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "protocol/frame_writer.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

// How many rows a window lets anybody see, and those before them.
std::size_t rows_in(const RowWindow& window) {
  if (window.limit == RowWindow::kNoLimit) return RowSorter::kAll;
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  if (window.offset > kMost - window.limit) return RowSorter::kAll;
  return static_cast<std::size_t>(window.offset + window.limit);
}

}  // namespace

Result<GroupMerger> GroupMerger::create(const MergeSpec& spec, const RowWindow& window,
                                        std::string_view row_description, const FormatList* formats,
                                        std::size_t sources, const SortSpace& space) {
  const auto described = decode_row_description(row_description);
  if (!described) return described.error();
  const GroupSpec& groups = *spec.groups;
  if (described->size() != groups.visible_columns + spec.hidden_columns) {
    return refusal("the shards' result has other columns than their catalogs say",
                   "REFRESH CATALOG on the admin console.");
  }
  const auto visible = static_cast<std::uint16_t>(groups.visible_columns);
  MergeSpec of_rows = spec;
  of_rows.groups = nullptr;
  RowWindow all = window;
  all.offset = 0;
  all.limit = RowWindow::kNoLimit;
  auto rows = RowMerger::create(of_rows, all, row_description, formats, sources);
  if (!rows) return rows.error();
  auto keys = RowOrder::create(spec.keys, window, *described, visible, formats);
  if (!keys) return keys.error();
  GroupMerger merger(std::move(*rows), std::move(*keys));
  merger.key_count_ = groups.keys;
  merger.distinct_keys_ = groups.distinct_keys;
  merger.one_row_ = groups.one_row;
  merger.total_columns_ = described->size();
  for (const GroupAggregate& each : groups.aggregates) {
    auto aggregate = RunningAggregate::create(each, *described, visible, formats, window);
    if (!aggregate) return aggregate.error();
    merger.aggregates_.push_back(std::move(*aggregate));
  }
  std::sort(merger.aggregates_.begin(), merger.aggregates_.end(),
            [](const auto& a, const auto& b) { return a.column() < b.column(); });
  if (!groups.order.empty()) {
    auto order = RowOrder::create(groups.order, window, *described, visible, formats);
    if (!order) return order.error();
    merger.sorter_.emplace(std::move(*order), rows_in(window), space);
  }
  merger.heads_.resize(sources);
  merger.to_skip_ = window.offset;
  merger.to_emit_ = window.limit;
  return merger;
}

Result<GroupMerger::Step> GroupMerger::next() {
  while (true) {
    if (to_emit_ == 0) return Step{Step::kDone, 0};
    if (sorted_ && !ready_) {
      const auto more = next_sorted();
      if (!more) return more.error();
      if (!*more) return Step{Step::kDone, 0};
    }
    if (ready_ && to_skip_ > 0) {
      --to_skip_;
      ready_ = false;
      continue;
    }
    if (ready_) return Step{Step::kRow, 0};
    if (exhausted_) return Step{Step::kDone, 0};
    const RowMerger::Step step = rows_.next();
    if (step.kind == RowMerger::Step::kNeed) return Step{Step::kNeed, step.source};
    if (step.kind == RowMerger::Step::kDone) {
      exhausted_ = true;
      if (one_row_ && !began_) make_empty_group();
      if (has_group_) {
        if (const Status finished = finish_group(); !finished) return finished.error();
      }
      if (sorter_) {
        if (const Status finished = sorter_->finish(); !finished) return finished.error();
        sorted_ = true;
      }
      continue;
    }
    if (const Status added = add(heads_[step.source]); !added) return added.error();
    rows_.taken();
    return Step{Step::kTaken, step.source};
  }
}

Status GroupMerger::set_head(std::size_t source, std::string_view body) {
  heads_[source] = body;
  return rows_.set_head(source, body);
}

// The next row of the merge.
Status GroupMerger::add(std::string_view body) {
  if (has_group_) {
    const ValueList first = *decode_data_row(group_);
    const ValueList row = *decode_data_row(body);
    const auto same = keys_.agree(first, row, key_count_);
    if (!same) return same.error();
    if (*same) {
      bool repeats = false;
      if (distinct_keys_ > 0) {
        const auto known = keys_.agree(*decode_data_row(last_), row, key_count_ + distinct_keys_);
        if (!known) return known.error();
        repeats = *known;
        last_ = body;
      }
      for (RunningAggregate& aggregate : aggregates_) {
        if (!several_) {
          aggregate.clear();
          if (const Status added = aggregate.add(first); !added) return added.error();
        }
        if (repeats && aggregate.distinct()) continue;
        if (const Status added = aggregate.add(row); !added) return added.error();
      }
      several_ = true;
      return Ok{};
    }
    if (const Status finished = finish_group(); !finished) return finished.error();
  }
  group_ = body;
  if (distinct_keys_ > 0) last_ = body;
  has_group_ = began_ = true;
  several_ = false;
  return Ok{};
}

// The one row of no rows, where shards have said nothing.
void GroupMerger::make_empty_group() {
  std::vector<WireValue> values(total_columns_);
  for (RunningAggregate& aggregate : aggregates_) {
    values[aggregate.column()] = aggregate.value_of_nothing();
  }
  append_data_row(group_, values);
  group_.erase(0, kFrameHeaderSize);
  has_group_ = true;
}

// The group is complete: its row is the next one, or one to be sorted.
Status GroupMerger::finish_group() {
  has_group_ = false;
  // What one shard says alone is what there is to say.
  if (!several_) {
    finished_.swap(group_);
  } else {
    finished_.clear();
    const ValueList row = *decode_data_row(group_);
    char count[2];
    store_be16(count, static_cast<std::uint16_t>(row.size()));
    finished_.append(count, sizeof count);
    const auto append = [this](const WireValue& value) {
      char size[4];
      store_be32(
          size, value.is_null ? ~std::uint32_t{0} : static_cast<std::uint32_t>(value.bytes.size()));
      finished_.append(size, sizeof size);
      if (!value.is_null) finished_.append(value.bytes);
    };
    std::size_t position = 0;
    auto aggregate = aggregates_.begin();
    for (const WireValue& value : row) {
      if (aggregate != aggregates_.end() && aggregate->column() == position) {
        append(aggregate->value());
        ++aggregate;
      } else {
        append(value);
      }
      ++position;
    }
  }
  if (sorter_) return sorter_->add(finished_);
  ready_ = true;
  return Ok{};
}

Result<bool> GroupMerger::next_sorted() {
  std::string_view body;
  const auto more = sorter_->next(body);
  if (!more) return more.error();
  if (*more) finished_ = body;
  ready_ = *more;
  return *more;
}

std::string_view GroupMerger::take_row() {
  ready_ = false;
  if (to_emit_ > 0) --to_emit_;
  return finished_;
}

}  // namespace pgshunt
