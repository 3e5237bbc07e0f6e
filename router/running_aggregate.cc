#include "router/running_aggregate.h"

#include <utility>

#include "router/refusal.h"

namespace pgshunt {
namespace {

using How = GroupAggregate::How;

Error not_added_up(const FieldDescription& field) {
  return refusal("column " + quoted(field.name) + " of several shards is not put together here: " +
                     "its type (OID " + std::to_string(field.type_oid) + ") is none of those",
                 "Give the shard key.");
}

bool is_integer(ValueType type) {
  return type == ValueType::kInt2 || type == ValueType::kInt4 || type == ValueType::kInt8;
}

Error bigint_out_of_range() { return {Sqlstate{"22003"}, "bigint out of range", {}}; }

}  // namespace

Result<RunningAggregate> RunningAggregate::create(const GroupAggregate& aggregate,
                                                  const RowDescriptionView& columns,
                                                  std::uint16_t visible, const FormatList* formats,
                                                  const RowWindow& settings) {
  const std::vector<FieldDescription> fields(columns.begin(), columns.end());
  RunningAggregate out;
  out.how_ = aggregate.how;
  out.counts_ = aggregate.counts;
  out.distinct_ = aggregate.distinct;
  const auto format_of = [&](std::size_t at) {
    return formats == nullptr ? kFormatText : formats->of(at);
  };
  const auto column_at = [&](std::size_t at) -> Result<Column> {
    if (at >= fields.size()) {
      return Error{sqlstate::kProtocolViolation, "a shard's result lacks a column", {}};
    }
    const auto type = value_type_of(fields[at].type_oid);
    if (!type) return not_added_up(fields[at]);
    return Column{static_cast<std::uint16_t>(at), *type, format_of(at)};
  };
  const std::size_t position = aggregate.column + (aggregate.hidden ? visible : std::size_t{0});
  const auto column = column_at(position);
  if (!column) return column.error();
  out.column_ = *column;
  const FieldDescription& field = fields[position];
  switch (aggregate.how) {
    case How::kSum:
      if (column->type == ValueType::kInt8 || column->type == ValueType::kNumeric) return out;
      return not_added_up(field);
    case How::kMin:
    case How::kMax: {
      const auto type =
          ordered_type(field, column->format, aggregate.bytewise, settings, "min() or max()");
      if (!type) return type.error();
      return out;
    }
    case How::kAnd:
    case How::kOr:
      if (column->type == ValueType::kBool) return out;
      return not_added_up(field);
    case How::kBitAnd:
    case How::kBitOr:
    case How::kBitXor:
      if (is_integer(column->type)) return out;
      return not_added_up(field);
    case How::kAverage:
      break;
  }
  const auto sum = column_at(std::size_t{visible} + aggregate.sum);
  if (!sum) return sum.error();
  const auto count = column_at(std::size_t{visible} + aggregate.count);
  if (!count) return count.error();
  const bool exact = sum->type == ValueType::kInt8 || sum->type == ValueType::kNumeric;
  if (column->type != ValueType::kNumeric || !exact || count->type != ValueType::kInt8) {
    return not_added_up(field);
  }
  out.sum_ = *sum;
  out.count_ = *count;
  return out;
}

void RunningAggregate::clear() {
  known_ = false;
  integer_ = 0;
  number_ = Decimal();
  bytes_.clear();
}

Status RunningAggregate::add(const ValueList& row) {
  if (how_ == How::kAverage) {
    const auto count = RowValue::decode(count_.type, count_.format, row.at(count_.position));
    if (!count) return count.error();
    if (count->is_null()) return Ok{};
    if (const Status added = add_integer(count->integer()); !added) return added.error();
    return add_number(sum_, row.at(sum_.position));
  }
  const WireValue value = row.at(column_.position);
  if (value.is_null) return Ok{};
  if (how_ == How::kSum && column_.type == ValueType::kNumeric) return add_number(column_, value);
  const auto said = RowValue::decode(column_.type, column_.format, value);
  if (!said) return said.error();
  const bool first = !std::exchange(known_, true);
  switch (how_) {
    case How::kSum:
      return add_integer(said->integer());
    case How::kMin:
    case How::kMax: {
      if (!first) {
        const auto kept = RowValue::decode(column_.type, column_.format, {false, bytes_});
        if (!kept) return kept.error();
        if (how_ == How::kMin ? *said >= *kept : *said <= *kept) return Ok{};
      }
      bytes_ = value.bytes;
      return Ok{};
    }
    case How::kAnd:
      boolean_ = said->boolean() && (first || boolean_);
      return Ok{};
    case How::kOr:
      boolean_ = said->boolean() || (!first && boolean_);
      return Ok{};
    case How::kBitAnd:
      integer_ = first ? said->integer() : integer_ & said->integer();
      return Ok{};
    case How::kBitOr:
      integer_ |= said->integer();
      return Ok{};
    case How::kBitXor:
      integer_ ^= said->integer();
      return Ok{};
    case How::kAverage:
      break;
  }
  return Ok{};
}

Status RunningAggregate::add_integer(std::int64_t value) {
  if (__builtin_add_overflow(integer_, value, &integer_)) return bigint_out_of_range();
  return Ok{};
}

Status RunningAggregate::add_number(const Column& column, const WireValue& value) {
  if (value.is_null) return Ok{};
  if (column.type == ValueType::kInt8) {
    const auto said = RowValue::decode(column.type, column.format, value);
    if (!said) return said.error();
    known_ = true;
    return number_.add(Decimal::from_integer(said->integer()));
  }
  const auto said = column.format == kFormatBinary ? Decimal::from_binary(value.bytes)
                                                   : Decimal::from_text(value.bytes);
  if (!said) return said.error();
  if (!std::exchange(known_, true)) {
    number_ = *said;
    return Ok{};
  }
  return number_.add(*said);
}

void RunningAggregate::write_integer(std::int64_t value) {
  if (column_.format == kFormatText) {
    bytes_ = std::to_string(value);
    return;
  }
  char bytes[8];
  store_be64(bytes, static_cast<std::uint64_t>(value));
  const std::size_t size = column_.type == ValueType::kInt2   ? 2
                           : column_.type == ValueType::kInt4 ? 4
                                                              : 8;
  bytes_.assign(bytes + sizeof bytes - size, size);
}

WireValue RunningAggregate::value_of_nothing() {
  if (!counts_) return {};
  write_integer(0);
  return {false, bytes_};
}

WireValue RunningAggregate::value() {
  if (!known_) return {};
  const bool text = column_.format == kFormatText;
  const auto write_number = [&](const Decimal& number) {
    bytes_.clear();
    if (text) {
      number.append_text(bytes_);
    } else {
      number.append_binary(bytes_);
    }
  };
  switch (how_) {
    case How::kMin:
    case How::kMax:
      break;
    case How::kAnd:
    case How::kOr:
      bytes_.assign(1, text ? (boolean_ ? 't' : 'f') : static_cast<char>(boolean_));
      break;
    case How::kAverage:
      write_number(number_.divided_by(integer_));
      break;
    case How::kSum:
      if (column_.type == ValueType::kNumeric) {
        write_number(number_);
        break;
      }
      [[fallthrough]];
    case How::kBitAnd:
    case How::kBitOr:
    case How::kBitXor:
      write_integer(integer_);
      break;
  }
  return {false, bytes_};
}

}  // namespace pgshunt
