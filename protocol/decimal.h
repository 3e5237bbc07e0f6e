// Exact decimal arithmetic as PostgreSQL's numeric does it: sums of any length, and the quotient of
// a sum and a count, with the digits behind the point that a server would show (numeric.c:
// add_var(), select_div_scale(), div_var()).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

class Decimal {
 public:
  Decimal() = default;  // zero, without digits behind the point

  // As numeric_out() writes it, or int8out(): no exponent, no white space.
  static Result<Decimal> from_text(std::string_view text);
  // numeric_send()'s format.
  static Result<Decimal> from_binary(std::string_view bytes);
  static Decimal from_integer(std::int64_t value);

  // 22003 past numeric's limit of 131072 digits before the point.
  Status add(const Decimal& other);
  // `count` is above zero.
  Decimal divided_by(std::int64_t count) const;

  void append_text(std::string& out) const;
  void append_binary(std::string& out) const;

 private:
  enum class Kind : std::uint8_t { kFinite, kPlusInfinity, kMinusInfinity, kNan };

  bool is_zero() const { return digits_.find_first_not_of('0') == std::string::npos; }
  // The digits before the point; the rest are `scale_` many.
  std::size_t whole() const { return digits_.size() - scale_; }
  void strip();

  Kind kind_ = Kind::kFinite;
  bool negative_ = false;  // never of zero
  std::size_t scale_ = 0;  // digits behind the point, also those that are zero
  std::string digits_;     // '0' .. '9', most significant first, none of them a leading zero
                           // before the point
};

}  // namespace pgshunt
