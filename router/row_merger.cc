#include "router/row_merger.h"

#include <algorithm>
#include <compare>
#include <string>
#include <utility>

#include "router/refusal.h"

namespace pgshunt {
namespace {

Error unprovable(std::string message, std::string hint) {
  return {sqlstate::kFeatureNotSupported, std::move(message), std::move(hint)};
}

Status check_order(const FieldDescription& field, std::uint16_t format, const SortKey& key,
                   const RowWindow& window) {
  const auto type = value_type_of(field.type_oid);
  if (!type) {
    return unprovable("ORDER BY over several shards cannot merge column " + quoted(field.name) +
                          ": its type (OID " + std::to_string(field.type_oid) +
                          ") has no order known here",
                      "Cast it to a number, date, time, uuid or bytea, or to text with COLLATE "
                      "\"C\"; or give the shard key.");
  }
  if (*type == ValueType::kText && (!key.bytewise || !window.same_encoding)) {
    return unprovable("ORDER BY over several shards cannot merge the text column " +
                          quoted(field.name) + " under its collation",
                      key.bytewise ? "Set client_encoding to the server's encoding."
                                   : "Write ORDER BY column COLLATE \"C\", or give the shard key.");
  }
  const bool real = *type == ValueType::kFloat4 || *type == ValueType::kFloat8;
  if (real && format == kFormatText && !window.exact_floats) {
    return unprovable("ORDER BY over several shards cannot merge column " + quoted(field.name) +
                          ": extra_float_digits rounds it",
                      "Set extra_float_digits to 1 or more.");
  }
  return Ok{};
}

}  // namespace

Result<std::uint16_t> RowMerger::find_column(const SortKey& key, const RowDescriptionView& columns,
                                             std::uint16_t visible) {
  switch (key.where) {
    case SortKey::Where::kVisible:
      if (key.index < visible) return key.index;
      return Error{sqlstate::kInvalidColumnReference,
                   "ORDER BY position " + std::to_string(key.index + 1) + " is not in select list",
                   {}};
    case SortKey::Where::kHidden:
      return static_cast<std::uint16_t>(visible + key.index);
    case SortKey::Where::kNamed:
    case SortKey::Where::kNamedOrHidden:
      break;
  }
  std::uint16_t position = 0;
  for (const FieldDescription& field : columns) {
    if (position == visible) break;
    if (field.name == key.name) return position;
    ++position;
  }
  if (key.where == SortKey::Where::kNamedOrHidden) {
    return static_cast<std::uint16_t>(visible + key.index);
  }
  return unprovable("ORDER BY column " + quoted(key.name) + " is not among the columns selected",
                    "Add it to the select list.");
}

Result<RowMerger> RowMerger::create(const MergeSpec& spec, const RowWindow& window,
                                    std::string_view row_description, const FormatList* formats,
                                    std::size_t sources) {
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

  const std::vector<FieldDescription> fields(described->begin(), described->end());
  for (const SortKey& key : spec.keys) {
    const auto position = find_column(key, *described, merger.visible_columns_);
    if (!position) return position.error();
    const FieldDescription& field = fields[*position];
    const std::uint16_t format = formats == nullptr ? kFormatText : formats->of(*position);
    if (const Status order = check_order(field, format, key, window); !order) return order.error();
    merger.columns_.push_back(
        {*position, *value_type_of(field.type_oid), format, key.descending, key.nulls_first});
  }
  for (std::size_t source = 0; source < sources; ++source) {
    merger.awaited_.push_back(source);
    for (const SortColumn& column : merger.columns_) {
      merger.values_.push_back(*RowValue::decode(column.type, kFormatText, WireValue{}));
    }
  }
  merger.heap_.reserve(sources);
  return merger;
}

RowMerger::Step RowMerger::next() const {
  if (to_emit_ == 0) return {Step::kDone, 0};
  // An order is known only once every source has shown its head.
  if (!awaited_.empty() && (heap_.empty() || !columns_.empty())) {
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
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const SortColumn& column = columns_[i];
    auto value = RowValue::decode(column.type, column.format, row->at(column.position));
    if (!value) return value.error();
    values_[source * columns_.size() + i] = std::move(*value);
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
  const RowValue* a = values_.data() + left * columns_.size();
  const RowValue* b = values_.data() + right * columns_.size();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const SortColumn& column = columns_[i];
    if (a[i].is_null() || b[i].is_null()) {
      if (a[i].is_null() && b[i].is_null()) continue;
      return a[i].is_null() == column.nulls_first;
    }
    const std::weak_ordering order = a[i] <=> b[i];
    if (std::is_neq(order)) return std::is_lt(order) != column.descending;
  }
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
