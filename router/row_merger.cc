#include "router/row_merger.h"

#include <algorithm>
#include <compare>
#include <string>
#include <utility>

#include "router/refusal.h"

namespace pgshunt {

Result<RowMerger> RowMerger::create(const MergeSpec& spec, const RowWindow& window,
                                    std::string_view row_description, const FormatList* formats,
                                    std::size_t sources) {
  // Whoever knows rows only would pass on what each shard says of its own.
  if (spec.groups) {
    return refusal("groups of several shards cannot be merged here", "Give the shard key.");
  }
  const auto described = decode_row_description(row_description);
  if (!described) return described.error();
  RowMerger merger;
  merger.total_columns_ = static_cast<std::uint16_t>(described->size());
  if (merger.total_columns_ < spec.hidden_columns) {
    return Error{sqlstate::kProtocolViolation, "a shard's result lacks the sort columns", {}};
  }
  merger.visible_columns_ = static_cast<std::uint16_t>(merger.total_columns_ - spec.hidden_columns);
  merger.to_skip_ = window.offset;
  merger.to_emit_ = window.limit;
  auto order = RowOrder::create(spec.keys, window, *described, merger.visible_columns_, formats);
  if (!order) return order.error();
  merger.order_ = std::move(*order);
  for (std::size_t source = 0; source < sources; ++source) {
    merger.awaited_.push_back(source);
    for (RowValue& value : merger.order_.no_values()) merger.values_.push_back(std::move(value));
  }
  merger.heap_.reserve(sources);
  return merger;
}

RowMerger::Step RowMerger::next() const {
  if (to_emit_ == 0) return {Step::kDone, 0};
  // An order is known only once every source has shown its head.
  if (!awaited_.empty() && (heap_.empty() || !order_.empty())) {
    return {Step::kNeed, awaited_.front()};
  }
  if (heap_.empty()) return {Step::kDone, 0};
  return {to_skip_ > 0 ? Step::kSkip : Step::kRow, heap_.front()};
}

Status RowMerger::set_head(std::size_t source, std::string_view body) {
  const auto row = decode_data_row(body);
  if (!row) return row.error();
  if (row->size() != total_columns_) {
    return Error{sqlstate::kProtocolViolation, "a shard's row has another number of columns", {}};
  }
  if (const Status read = order_.read(*row, values_.data() + source * order_.size()); !read) {
    return read.error();
  }
  std::erase(awaited_, source);
  heap_.push_back(source);
  sift_up(heap_.size() - 1);
  return Ok{};
}

void RowMerger::set_end(std::size_t source) { std::erase(awaited_, source); }

void RowMerger::taken() {
  if (to_skip_ > 0) {
    --to_skip_;
  } else if (to_emit_ > 0) {
    --to_emit_;
  }
  awaited_.push_back(heap_.front());
  heap_.front() = heap_.back();
  heap_.pop_back();
  if (!heap_.empty()) sift_down(0);
}

bool RowMerger::before(std::size_t left, std::size_t right) const {
  const std::weak_ordering order =
      order_.compare(values_.data() + left * order_.size(), values_.data() + right * order_.size());
  if (std::is_neq(order)) return std::is_lt(order);
  return left < right;
}

void RowMerger::sift_up(std::size_t at) {
  while (at > 0) {
    const std::size_t parent = (at - 1) / 2;
    if (!before(heap_[at], heap_[parent])) return;
    std::swap(heap_[at], heap_[parent]);
    at = parent;
  }
}

void RowMerger::sift_down(std::size_t at) {
  for (;;) {
    std::size_t first = at;
    for (std::size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap_.size(); ++child) {
      if (before(heap_[child], heap_[first])) first = child;
    }
    if (first == at) return;
    std::swap(heap_[at], heap_[first]);
    at = first;
  }
}

}  // namespace pgshunt
