// A number that is to become an integer or numeric key: sign and magnitude, exact whatever its
// size, so that a minus sign found beside a parameter costs nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/numeric_value.h"
#include "protocol/result.h"

namespace pgshunt {

class KeyNumber {
 public:
  // An unquoted number of SQL; it may carry a sign.
  static Result<KeyNumber> from_literal(std::string_view text);
  // A value of type `oid`, an integer type or numeric, as it is sent.
  static Result<KeyNumber> decode(std::uint32_t oid, std::uint16_t format, std::string_view bytes);

  bool is_integral() const;
  void negate() { negative_ = !negative_; }
  // Nothing if it is not integral, or too large.
  std::optional<std::int64_t> to_int8() const;
  // hash_numeric_extended() of it.
  std::uint64_t numeric_hash() const;
  // numeric_send() of it, with no more digits behind the point than it has.
  std::string numeric_binary() const;

 private:
  explicit KeyNumber(std::int64_t value);
  explicit KeyNumber(NumericValue value);

  bool negative_ = false;
  std::optional<std::uint64_t> magnitude_;  // of an integral value that fits
  NumericValue numeric_;                    // of any other
};

}  // namespace pgshunt
