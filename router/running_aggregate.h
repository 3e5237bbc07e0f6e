// One aggregate of one group, put together from what several shards say of it: exactly as
// PostgreSQL would have it of all rows, in the format that the client asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/decimal.h"
#include "protocol/result.h"
#include "protocol/row_value.h"
#include "router/merge_spec.h"
#include "router/row_order.h"

namespace pgshunt {

class RunningAggregate {
 public:
  // 0A000 for types that are not added up or compared here: floats (whose sums depend on the order
  // of rows), intervals, and whatever has no order in row_order.h.
  static Result<RunningAggregate> create(const GroupAggregate& aggregate,
                                         const RowDescriptionView& columns, std::uint16_t visible,
                                         const FormatList* formats, const RowWindow& settings);

  // Where its value stands in the row.
  std::uint16_t column() const { return column_.position; }

  bool counts() const { return counts_; }
  bool distinct() const { return distinct_; }

  // Of a new group, nothing is known yet.
  void clear();
  // What a shard's row says. 22003 if the sum is too large for its type.
  Status add(const ValueList& row);
  // The value for all rows; no bytes for NULL. Good until the next call of any of these.
  WireValue value();
  // The same where there are none.
  WireValue value_of_nothing();

 private:
  struct Column {
    std::uint16_t position = 0;
    ValueType type = ValueType::kInt8;
    std::uint16_t format = kFormatText;
  };

  Status add_integer(std::int64_t value);
  Status add_number(const Column& column, const WireValue& value);
  void write_integer(std::int64_t value);

  GroupAggregate::How how_ = GroupAggregate::How::kSum;
  bool counts_ = false;
  bool distinct_ = false;
  Column column_;
  Column sum_;
  Column count_;
  bool known_ = false;        // there was a value that is not NULL
  std::int64_t integer_ = 0;  // sums and bits; kAverage: how many
  bool boolean_ = false;
  Decimal number_;
  std::string bytes_;  // kMin, kMax: the value; of others, what value() says
};

}  // namespace pgshunt
