// A numeric in the one form that makes equal values equal bytes: sign, weight, base-10000 digits
// without leading or trailing zeros. The digits are those PostgreSQL itself stores and hashes
// (utils/adt/numeric.c); trailing zeros and scale, which its comparison ignores, are gone.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

class NumericValue {
 public:
  // In PostgreSQL's order: NaN equals itself and is above all.
  enum class Kind : std::uint8_t { kMinusInfinity, kFinite, kPlusInfinity, kNan };

  NumericValue() = default;  // zero

  // numeric_in(): decimal with optional point and exponent, NaN, infinity; white space around. Also
  // the integers of PostgreSQL 16 with underscores or another base, up to 64 bits for the latter.
  // 22P02 for other text, 22003 past numeric's limits (131072 digits before the point, 16383
  // after).
  static Result<NumericValue> from_text(std::string_view text);
  // numeric_send()'s format, with numeric_recv()'s checks. 22P03 if it is not.
  static Result<NumericValue> from_binary(std::string_view bytes);

  Kind kind() const { return kind_; }
  bool negative() const { return negative_; }
  // The first digit counts 10000^weight. Zero if there is no digit.
  int weight() const { return weight_; }
  // 0 .. 9999 each, most significant first. A string because short ones, 28 decimal digits, then
  // live inside it, and because its comparison is the one needed.
  const std::u16string& digits() const { return digits_; }

  friend bool operator==(const NumericValue&, const NumericValue&) = default;
  friend std::strong_ordering operator<=>(const NumericValue& a, const NumericValue& b);

 private:
  explicit NumericValue(Kind kind) : kind_(kind) {}
  void normalize();

  Kind kind_ = Kind::kFinite;
  bool negative_ = false;  // false for zero and for what is not finite
  int weight_ = 0;
  std::u16string digits_;
};

}  // namespace pgshunt
