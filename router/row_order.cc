#include "router/row_order.h"

#include <string>
#include <utility>

#include "router/refusal.h"

namespace pgshunt {
namespace {

Result<std::uint16_t> find_column(const SortKey& key, const RowDescriptionView& columns,
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
  return refusal("ORDER BY column " + quoted(key.name) + " is not among the columns selected",
                 "Add it to the select list.");
}

// Two different texts of one value?
bool has_many_forms(ValueType type) {
  return type == ValueType::kNumeric || type == ValueType::kFloat4 || type == ValueType::kFloat8;
}

bool is_date(ValueType type) {
  return type == ValueType::kDate || type == ValueType::kTimestamp ||
         type == ValueType::kTimestamptz;
}

}  // namespace

Result<ValueType> ordered_type(const FieldDescription& field, std::uint16_t format, bool bytewise,
                               const RowWindow& settings, std::string_view purpose) {
  const std::string what = std::string(purpose) + " over several shards cannot merge ";
  const auto type = value_type_of(field.type_oid);
  if (!type) {
    return refusal(what + "column " + quoted(field.name) + ": its type (OID " +
                       std::to_string(field.type_oid) + ") has no order known here",
                   "Cast it to a number, date, time, uuid or bytea, or to text with COLLATE "
                   "\"C\"; or give the shard key.");
  }
  if (*type == ValueType::kText && (!bytewise || !settings.same_encoding)) {
    return refusal(what + "the text column " + quoted(field.name) + " under its collation",
                   bytewise ? "Set client_encoding to the server's encoding."
                            : "Write ORDER BY column COLLATE \"C\", or give the shard key.");
  }
  const bool real = *type == ValueType::kFloat4 || *type == ValueType::kFloat8;
  if (real && format == kFormatText && !settings.exact_floats) {
    return refusal(what + "column " + quoted(field.name) + ": extra_float_digits rounds it",
                   "Set extra_float_digits to 1 or more.");
  }
  if (is_date(*type) && format == kFormatText && !settings.iso_dates) {
    return refusal(what + "column " + quoted(field.name) + " under this DateStyle",
                   "Set DateStyle to ISO.");
  }
  return *type;
}

Result<RowOrder> RowOrder::create(const std::vector<SortKey>& keys, const RowWindow& settings,
                                  const RowDescriptionView& columns, std::uint16_t visible,
                                  const FormatList* formats) {
  RowOrder out;
  const std::vector<FieldDescription> fields(columns.begin(), columns.end());
  for (const SortKey& key : keys) {
    const auto position = find_column(key, columns, visible);
    if (!position) return position.error();
    const std::uint16_t format = formats == nullptr ? kFormatText : formats->of(*position);
    const auto type = ordered_type(fields[*position], format, key.bytewise, settings, "ORDER BY");
    if (!type) return type.error();
    out.columns_.push_back({*position, *type, format, key.descending, key.nulls_first});
  }
  return out;
}

RowOrder::Values RowOrder::no_values() const {
  Values out;
  out.reserve(columns_.size());
  for (const SortColumn& column : columns_) {
    out.push_back(*RowValue::decode(column.type, kFormatText, WireValue{}));
  }
  return out;
}

Status RowOrder::read(const ValueList& row, RowValue* values) const {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const SortColumn& column = columns_[i];
    auto value = RowValue::decode(column.type, column.format, row.at(column.position));
    if (!value) return value.error();
    values[i] = std::move(*value);
  }
  return Ok{};
}

std::weak_ordering RowOrder::compare(const RowValue* a, const RowValue* b) const {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const SortColumn& column = columns_[i];
    if (a[i].is_null() || b[i].is_null()) {
      if (a[i].is_null() && b[i].is_null()) continue;
      return a[i].is_null() == column.nulls_first ? std::weak_ordering::less
                                                  : std::weak_ordering::greater;
    }
    const std::weak_ordering order = a[i] <=> b[i];
    if (std::is_eq(order)) continue;
    return std::is_lt(order) != column.descending ? std::weak_ordering::less
                                                  : std::weak_ordering::greater;
  }
  return std::weak_ordering::equivalent;
}

Result<bool> RowOrder::agree(const ValueList& a, const ValueList& b, std::size_t keys) const {
  for (std::size_t i = 0; i < keys; ++i) {
    const SortColumn& column = columns_[i];
    const WireValue left = a.at(column.position);
    const WireValue right = b.at(column.position);
    if (left.is_null != right.is_null) return false;
    if (left.bytes == right.bytes) continue;
    if (!has_many_forms(column.type)) return false;
    const auto one = RowValue::decode(column.type, column.format, left);
    if (!one) return one.error();
    const auto other = RowValue::decode(column.type, column.format, right);
    if (!other) return other.error();
    if (*one != *other) return false;
  }
  return true;
}

}  // namespace pgshunt
