// One value of a row or a parameter, decoded from text or binary into a form that can be compared:
// the same value in either format compares equal, and values order as PostgreSQL's btree operators
// order them (text as bytes, which is collation C).
#pragma once

#include <cassert>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/numeric_value.h"
#include "protocol/result.h"
#include "protocol/value_text.h"
#include "protocol/wire_value.h"

namespace pgshunt {

// The types whose values the proxy understands.
enum class ValueType : std::uint8_t {
  kBool,
  kInt2,
  kInt4,
  kInt8,
  kFloat4,
  kFloat8,
  kNumeric,
  kDate,
  kTime,
  kTimestamp,
  kTimestamptz,
  kUuid,
  kBytea,
  kText,  // text and varchar
};

// Of a type's OID in pg_type; nothing for types that are not in the list.
std::optional<ValueType> value_type_of(std::uint32_t oid);
std::string_view sql_name(ValueType type);

class RowValue {
 public:
  // Decodes `value`, sent in `format`. A text's bytes are not copied: the RowValue is good as long
  // as the message they are in. Everything else it owns.
  static Result<RowValue> decode(ValueType type, std::uint16_t format, const WireValue& value);

  ValueType type() const { return type_; }
  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }

  // Of a value that is not NULL and of the type named.
  bool boolean() const { return get<bool>(); }
  // kInt2, kInt4, kInt8; kDate: days; kTime, kTimestamp, kTimestamptz: microseconds. See
  // value_text.h.
  std::int64_t integer() const { return get<std::int64_t>(); }
  // kFloat4 (exactly) and kFloat8.
  double real() const { return get<double>(); }
  const NumericValue& numeric() const { return get<NumericValue>(); }
  const Uuid& uuid() const { return get<Uuid>(); }
  const std::string& bytea() const { return get<std::string>(); }
  std::string_view text() const { return get<std::string_view>(); }

  // Total: NULLs are equal and above the rest, as in NULLS LAST. Both must be of one type.
  friend std::weak_ordering operator<=>(const RowValue& a, const RowValue& b);
  friend bool operator==(const RowValue& a, const RowValue& b) { return std::is_eq(a <=> b); }

 private:
  using Data = std::variant<std::monostate, bool, std::int64_t, double, NumericValue, Uuid,
                            std::string, std::string_view>;

  RowValue(ValueType type, Data data) : type_(type), data_(std::move(data)) {}
  template <class T>
  const T& get() const {
    const T* held = std::get_if<T>(&data_);
    assert(held != nullptr);
    return *held;
  }
  static Result<RowValue> from_text(ValueType type, std::string_view text);
  static Result<RowValue> from_binary(ValueType type, std::string_view bytes);

  ValueType type_;
  Data data_;
};

}  // namespace pgshunt
