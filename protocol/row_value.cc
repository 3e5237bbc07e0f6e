#include "protocol/row_value.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "protocol/frame.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kInvalidBinaryRepresentation{"22P03"};
constexpr Sqlstate kDatetimeFieldOverflow{"22008"};

Error invalid_binary(ValueType type) {
  return {kInvalidBinaryRepresentation,
          "incorrect binary data format for type " + std::string(sql_name(type)),
          {}};
}

Error datetime_out_of_range(ValueType type) {
  return {kDatetimeFieldOverflow, std::string(sql_name(type)) + " out of range", {}};
}

// 0 for what has no fixed size.
std::size_t binary_size(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return 1;
    case ValueType::kInt2:
      return 2;
    case ValueType::kInt4:
    case ValueType::kFloat4:
    case ValueType::kDate:
      return 4;
    case ValueType::kInt8:
    case ValueType::kFloat8:
    case ValueType::kTime:
    case ValueType::kTimestamp:
    case ValueType::kTimestamptz:
      return 8;
    case ValueType::kUuid:
      return 16;
    case ValueType::kNumeric:
    case ValueType::kBytea:
    case ValueType::kText:
      return 0;
  }
  return 0;
}

// float8_cmp_internal(): NaN equals itself and is above all; the zeros are equal.
std::weak_ordering compare_reals(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) <=> std::isnan(b);
  if (a < b) return std::weak_ordering::less;
  return a > b ? std::weak_ordering::greater : std::weak_ordering::equivalent;
}

}  // namespace

std::optional<ValueType> value_type_of(std::uint32_t oid) {
  switch (oid) {
    case 16:
      return ValueType::kBool;
    case 17:
      return ValueType::kBytea;
    case 20:
      return ValueType::kInt8;
    case 21:
      return ValueType::kInt2;
    case 23:
      return ValueType::kInt4;
    case 25:
    case 1043:
      return ValueType::kText;
    case 700:
      return ValueType::kFloat4;
    case 701:
      return ValueType::kFloat8;
    case 1082:
      return ValueType::kDate;
    case 1083:
      return ValueType::kTime;
    case 1114:
      return ValueType::kTimestamp;
    case 1184:
      return ValueType::kTimestamptz;
    case 1700:
      return ValueType::kNumeric;
    case 2950:
      return ValueType::kUuid;
    default:
      return std::nullopt;
  }
}

std::string_view sql_name(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return "boolean";
    case ValueType::kInt2:
      return "smallint";
    case ValueType::kInt4:
      return "integer";
    case ValueType::kInt8:
      return "bigint";
    case ValueType::kFloat4:
      return "real";
    case ValueType::kFloat8:
      return "double precision";
    case ValueType::kNumeric:
      return "numeric";
    case ValueType::kDate:
      return "date";
    case ValueType::kTime:
      return "time";
    case ValueType::kTimestamp:
      return "timestamp";
    case ValueType::kTimestamptz:
      return "timestamp with time zone";
    case ValueType::kUuid:
      return "uuid";
    case ValueType::kBytea:
      return "bytea";
    case ValueType::kText:
      return "text";
  }
  return "unknown";
}

Result<RowValue> RowValue::decode(ValueType type, std::uint16_t format, const WireValue& value) {
  if (value.is_null) return RowValue(type, std::monostate());
  if (format == kFormatText) return from_text(type, value.bytes);
  if (format == kFormatBinary) return from_binary(type, value.bytes);
  return Error{Sqlstate{"22023"}, "unsupported format code: " + std::to_string(format), {}};
}

Result<RowValue> RowValue::from_text(ValueType type, std::string_view text) {
  // A parsed value, or its Error, as a RowValue.
  auto wrap = [type](auto parsed) -> Result<RowValue> {
    if (!parsed) return parsed.error();
    return RowValue(type, std::move(*parsed));
  };
  switch (type) {
    case ValueType::kBool:
      return wrap(parse_bool(text));
    case ValueType::kInt2:
      return wrap(parse_integer(text, std::numeric_limits<std::int16_t>::min(),
                                std::numeric_limits<std::int16_t>::max(), sql_name(type)));
    case ValueType::kInt4:
      return wrap(parse_integer(text, std::numeric_limits<std::int32_t>::min(),
                                std::numeric_limits<std::int32_t>::max(), sql_name(type)));
    case ValueType::kInt8:
      return wrap(parse_integer(text, std::numeric_limits<std::int64_t>::min(),
                                std::numeric_limits<std::int64_t>::max(), sql_name(type)));
    case ValueType::kFloat4: {
      auto parsed = parse_float4(text);
      if (!parsed) return parsed.error();
      return RowValue(type, double{*parsed});
    }
    case ValueType::kFloat8:
      return wrap(parse_float8(text));
    case ValueType::kNumeric:
      return wrap(NumericValue::from_text(text));
    case ValueType::kDate:
      return wrap(parse_date(text));
    case ValueType::kTime:
      return wrap(parse_time(text));
    case ValueType::kTimestamp:
      return wrap(parse_timestamp(text));
    case ValueType::kTimestamptz:
      return wrap(parse_timestamptz(text));
    case ValueType::kUuid:
      return wrap(parse_uuid(text));
    case ValueType::kBytea:
      return wrap(parse_bytea(text));
    case ValueType::kText:
      return RowValue(type, text);
  }
  return invalid_text(sql_name(type), text);
}

Result<RowValue> RowValue::from_binary(ValueType type, std::string_view bytes) {
  const std::size_t size = binary_size(type);
  if (size != 0 && bytes.size() != size) return invalid_binary(type);
  switch (type) {
    case ValueType::kBool:
      return RowValue(type, bytes[0] != 0);
    case ValueType::kInt2:
      return RowValue(type, std::int64_t{static_cast<std::int16_t>(load_be16(bytes.data()))});
    case ValueType::kInt4:
      return RowValue(type, std::int64_t{static_cast<std::int32_t>(load_be32(bytes.data()))});
    case ValueType::kInt8:
      return RowValue(type, static_cast<std::int64_t>(load_be64(bytes.data())));
    case ValueType::kFloat4:
      return RowValue(type, double{std::bit_cast<float>(load_be32(bytes.data()))});
    case ValueType::kFloat8:
      return RowValue(type, std::bit_cast<double>(load_be64(bytes.data())));
    case ValueType::kNumeric: {
      auto parsed = NumericValue::from_binary(bytes);
      if (!parsed) return parsed.error();
      return RowValue(type, std::move(*parsed));
    }
    case ValueType::kDate: {
      const std::int64_t days = static_cast<std::int32_t>(load_be32(bytes.data()));
      if (!is_valid_date(days)) return datetime_out_of_range(type);
      return RowValue(type, days);
    }
    case ValueType::kTime: {
      const auto of_day = static_cast<std::int64_t>(load_be64(bytes.data()));
      if (of_day < 0 || of_day > kMicrosecondsPerDay) return datetime_out_of_range(type);
      return RowValue(type, of_day);
    }
    case ValueType::kTimestamp:
    case ValueType::kTimestamptz: {
      const auto instant = static_cast<std::int64_t>(load_be64(bytes.data()));
      if (!is_valid_timestamp(instant)) return datetime_out_of_range(type);
      return RowValue(type, instant);
    }
    case ValueType::kUuid: {
      Uuid uuid;
      std::memcpy(uuid.data(), bytes.data(), uuid.size());
      return RowValue(type, uuid);
    }
    case ValueType::kBytea:
      return RowValue(type, std::string(bytes));
    case ValueType::kText:
      return RowValue(type, bytes);
  }
  return invalid_binary(type);
}

std::weak_ordering operator<=>(const RowValue& a, const RowValue& b) {
  assert(a.type_ == b.type_);
  if (a.is_null() || b.is_null()) return a.is_null() <=> b.is_null();
  switch (a.type_) {
    case ValueType::kBool:
      return a.boolean() <=> b.boolean();
    case ValueType::kInt2:
    case ValueType::kInt4:
    case ValueType::kInt8:
    case ValueType::kDate:
    case ValueType::kTime:
    case ValueType::kTimestamp:
    case ValueType::kTimestamptz:
      return a.integer() <=> b.integer();
    case ValueType::kFloat4:
    case ValueType::kFloat8:
      return compare_reals(a.real(), b.real());
    case ValueType::kNumeric:
      return a.numeric() <=> b.numeric();
    case ValueType::kUuid:
      return a.uuid() <=> b.uuid();
    case ValueType::kBytea:
      return a.bytea() <=> b.bytea();
    case ValueType::kText:
      return a.text() <=> b.text();
  }
  return std::weak_ordering::equivalent;
}

}  // namespace pgshunt
