#include "router/key_number.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "protocol/frame.h"
#include "protocol/row_value.h"
#include "router/pg_hash.h"

namespace pgshunt {

KeyNumber::KeyNumber(std::int64_t value) : negative_(value < 0) {
  const auto bits = static_cast<std::uint64_t>(value);
  magnitude_ = negative_ ? 0 - bits : bits;
}

KeyNumber::KeyNumber(NumericValue value) : negative_(value.negative()), numeric_(std::move(value)) {
  constexpr int kMaxWeight = 4;  // 20 decimal digits fit into five groups of four
  if (!is_integral() || numeric_.weight() > kMaxWeight) return;
  const auto& digits = numeric_.digits();
  std::uint64_t magnitude = 0;
  for (int i = 0; i <= numeric_.weight(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::uint64_t digit = at < digits.size() ? digits[at] : 0;
    if (magnitude > (std::numeric_limits<std::uint64_t>::max() - digit) / 10000) return;
    magnitude = magnitude * 10000 + digit;
  }
  magnitude_ = magnitude;
}

Result<KeyNumber> KeyNumber::from_literal(std::string_view text) {
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  if (const auto integer = parse_integer(text, kMin, kMax, "bigint")) return KeyNumber(*integer);
  auto numeric = NumericValue::from_text(text);
  if (!numeric) return numeric.error();
  return KeyNumber(std::move(*numeric));
}

Result<KeyNumber> KeyNumber::decode(std::uint32_t oid, std::uint16_t format,
                                    std::string_view bytes) {
  const auto value = RowValue::decode(*value_type_of(oid), format, {false, bytes});
  if (!value) return value.error();
  if (value->type() == ValueType::kNumeric) return KeyNumber(value->numeric());
  return KeyNumber(value->integer());
}

bool KeyNumber::is_integral() const {
  return magnitude_ || (numeric_.kind() == NumericValue::Kind::kFinite &&
                        static_cast<int>(numeric_.digits().size()) <= numeric_.weight() + 1);
}

std::optional<std::int64_t> KeyNumber::to_int8() const {
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (!magnitude_ || *magnitude_ > kMax + (negative_ ? 1 : 0)) return std::nullopt;
  return static_cast<std::int64_t>(negative_ ? 0 - *magnitude_ : *magnitude_);
}

std::uint64_t KeyNumber::numeric_hash() const {
  if (magnitude_) {
    std::array<std::int16_t, 5> digits{};
    std::uint64_t rest = *magnitude_;
    for (std::size_t i = digits.size(); i-- > 0; rest /= 10000) {
      digits[i] = static_cast<std::int16_t>(rest % 10000);
    }
    return hash_numeric(digits, static_cast<int>(digits.size()) - 1);
  }
  if (numeric_.kind() != NumericValue::Kind::kFinite) return hash_numeric_special();
  // The same 16 bits a digit, of another integer type.
  const std::u16string& digits = numeric_.digits();
  return hash_numeric({reinterpret_cast<const std::int16_t*>(digits.data()), digits.size()},
                      numeric_.weight());
}

std::string KeyNumber::numeric_binary() const {
  std::u16string digits = numeric_.digits();
  int weight = numeric_.weight();
  if (magnitude_) {
    digits.clear();
    for (std::uint64_t rest = *magnitude_; rest != 0; rest /= 10000) {
      digits.insert(digits.begin(), static_cast<char16_t>(rest % 10000));
    }
    weight = static_cast<int>(digits.size()) - 1;
  }
  // utils/adt/numeric.c: NUMERIC_NEG and the special values.
  std::uint16_t sign = negative_ ? 0x4000 : 0;
  if (!magnitude_) {
    if (numeric_.kind() == NumericValue::Kind::kNan) sign = 0xC000;
    // An infinity's sign is in its kind, and may have been turned around.
    if (numeric_.kind() == NumericValue::Kind::kPlusInfinity) sign = negative_ ? 0xF000 : 0xD000;
    if (numeric_.kind() == NumericValue::Kind::kMinusInfinity) sign = negative_ ? 0xD000 : 0xF000;
  }
  const int behind = 4 * (static_cast<int>(digits.size()) - weight - 1);
  constexpr int kMaxScale = 16383;  // the rest of a group behind it is zeros
  const auto scale =
      static_cast<std::uint16_t>(std::clamp(digits.empty() ? 0 : behind, 0, kMaxScale));
  std::string out(8 + 2 * digits.size(), '\0');
  char* at = out.data();
  const auto put = [&at](std::uint16_t value) {
    store_be16(at, value);
    at += 2;
  };
  put(static_cast<std::uint16_t>(digits.size()));
  put(static_cast<std::uint16_t>(digits.empty() ? 0 : weight));
  put(sign);
  put(scale);
  for (const char16_t digit : digits) put(digit);
  return out;
}

}  // namespace pgshunt
