#include "protocol/numeric_value.h"

#include <algorithm>

#include "protocol/byte_reader.h"
#include "protocol/value_text.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kInvalidBinaryRepresentation{"22P03"};

// Of numeric_send()'s sign word.
constexpr std::uint16_t kSignPlus = 0x0000;
constexpr std::uint16_t kSignMinus = 0x4000;
constexpr std::uint16_t kSignNan = 0xc000;
constexpr std::uint16_t kSignPlusInfinity = 0xd000;
constexpr std::uint16_t kSignMinusInfinity = 0xf000;

constexpr int kDigitsPerGroup = 4;
constexpr int kMaxWeight = 32767;  // NUMERIC_WEIGHT_MAX, in groups
constexpr int kMaxScale = 16383;   // NUMERIC_DSCALE_MAX, in decimal digits
// Beyond this an exponent is an overflow whatever it is applied to: the text's own digits are
// fewer.
constexpr std::int64_t kMaxExponent = 0x3fffffff;

Error invalid_binary(std::string_view what) {
  return {kInvalidBinaryRepresentation,
          "invalid " + std::string(what) + " in external \"numeric\" value",
          {}};
}

Error overflow() { return {Sqlstate{"22003"}, "value overflows numeric format", {}}; }

// Group of the decimal digit that counts 10^exponent.
std::int64_t group_of(std::int64_t exponent) {
  return exponent >= 0 ? exponent / kDigitsPerGroup
                       : -((-exponent + kDigitsPerGroup - 1) / kDigitsPerGroup);
}

// Where the parts of "12_3.45e-6" are; numbers are counted, not yet taken.
struct DecimalScan {
  bool valid = false;
  bool overflow = false;          // the exponent alone is out of bounds
  std::string_view mantissa;      // digits, a point, underscores
  std::int64_t before_point = 0;  // digits
  std::int64_t after_point = 0;
  std::int64_t leading_zeros = 0;  // of all digits
  std::int64_t exponent = 0;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// An underscore is good between two digits only.
bool good_underscore(std::string_view text, std::size_t at) {
  return at > 0 && is_digit(text[at - 1]) && at + 1 < text.size() && is_digit(text[at + 1]);
}

bool scan_exponent(std::string_view text, DecimalScan& scan) {
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || !is_digit(text[0])) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_' && good_underscore(text, i)) continue;
    if (!is_digit(text[i])) return false;
    if (scan.exponent <= kMaxExponent) scan.exponent = scan.exponent * 10 + (text[i] - '0');
  }
  scan.overflow = scan.exponent > kMaxExponent;
  if (negative) scan.exponent = -scan.exponent;
  return true;
}

DecimalScan scan_decimal(std::string_view text) {
  DecimalScan scan;
  bool point = false;
  bool only_zeros = true;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (is_digit(c)) {
      ++(point ? scan.after_point : scan.before_point);
      only_zeros &= c == '0';
      if (only_zeros) ++scan.leading_zeros;
    } else if (c == '.' && !point) {
      point = true;
    } else if (c != '_' || !good_underscore(text, i)) {
      break;
    }
  }
  scan.mantissa = text.substr(0, i);
  if (scan.before_point + scan.after_point == 0) return scan;
  if (i == text.size()) {
    scan.valid = true;
  } else if (text[i] == 'e' || text[i] == 'E') {
    scan.valid = scan_exponent(text.substr(i + 1), scan);
  }
  return scan;
}

}  // namespace

Result<NumericValue> NumericValue::from_text(std::string_view text) {
  std::string_view number = trim_space(text);
  if (equals_ignoring_case(number, "nan")) return NumericValue(Kind::kNan);
  bool negative = false;
  if (!number.empty() && (number[0] == '+' || number[0] == '-')) {
    negative = number[0] == '-';
    number.remove_prefix(1);
  }
  if (equals_ignoring_case(number, "infinity") || equals_ignoring_case(number, "inf")) {
    return NumericValue(negative ? Kind::kMinusInfinity : Kind::kPlusInfinity);
  }

  NumericValue value;
  value.negative_ = negative;
  const std::string_view base = number.substr(0, 2);
  if (equals_ignoring_case(base, "0x") || equals_ignoring_case(base, "0o") ||
      equals_ignoring_case(base, "0b")) {
    std::uint64_t magnitude = 0;
    switch (scan_magnitude(number, magnitude)) {
      case MagnitudeScan::kSyntax:
        return invalid_text("numeric", text);
      case MagnitudeScan::kOverflow:
        return unsupported_text("numeric", text, "Write large numbers in decimal.");
      case MagnitudeScan::kOk:
        break;
    }
    for (; magnitude != 0; magnitude /= 10000) {
      value.digits_.push_back(static_cast<char16_t>(magnitude % 10000));
    }
    std::reverse(value.digits_.begin(), value.digits_.end());
    value.weight_ = static_cast<int>(value.digits_.size()) - 1;
    value.normalize();
    return value;
  }

  const DecimalScan scan = scan_decimal(number);
  if (!scan.valid) return invalid_text("numeric", text);
  if (scan.overflow || scan.after_point - scan.exponent > kMaxScale) return overflow();
  const std::int64_t digits = scan.before_point + scan.after_point - scan.leading_zeros;
  if (digits == 0) return NumericValue();
  // The first digit that is not zero counts 10^first.
  const std::int64_t first = scan.before_point - scan.leading_zeros + scan.exponent - 1;
  const std::int64_t weight = group_of(first);
  if (weight > kMaxWeight) return overflow();
  value.weight_ = static_cast<int>(weight);

  // Memory is bounded by the two limits just checked, and by the text's own length.
  std::int64_t to_skip = scan.leading_zeros;
  std::int64_t place = first - weight * kDigitsPerGroup;  // of the next digit in its group, 3 .. 0
  int group = 0;
  for (const char c : scan.mantissa) {
    if (!is_digit(c)) continue;
    if (to_skip > 0) {
      --to_skip;
      continue;
    }
    group = group * 10 + (c - '0');
    if (place-- == 0) {
      value.digits_.push_back(static_cast<char16_t>(group));
      group = 0;
      place = kDigitsPerGroup - 1;
    }
  }
  if (place != kDigitsPerGroup - 1) {
    for (; place >= 0; --place) group *= 10;
    value.digits_.push_back(static_cast<char16_t>(group));
  }
  value.normalize();
  return value;
}

Result<NumericValue> NumericValue::from_binary(std::string_view bytes) {
  ByteReader in(bytes);
  const std::uint16_t count = in.be16();
  const auto weight = static_cast<std::int16_t>(in.be16());
  const std::uint16_t sign = in.be16();
  const std::uint16_t scale = in.be16();
  if (!in.ok() || in.remaining() != std::size_t{count} * 2) return invalid_binary("length");
  switch (sign) {
    case kSignPlus:
    case kSignMinus:
      break;
    case kSignNan:
      return NumericValue(Kind::kNan);
    case kSignPlusInfinity:
      return NumericValue(Kind::kPlusInfinity);
    case kSignMinusInfinity:
      return NumericValue(Kind::kMinusInfinity);
    default:
      return invalid_binary("sign");
  }
  if (scale > kMaxScale) return invalid_binary("scale");

  NumericValue value;
  value.negative_ = sign == kSignMinus;
  value.weight_ = weight;
  // The server cuts off digits behind the scale they came with.
  const std::int64_t kept = (std::int64_t{weight} + 1) * kDigitsPerGroup + scale;
  value.digits_.reserve(count);
  for (std::uint16_t i = 0; i < count; ++i) {
    std::uint16_t digit = in.be16();
    if (digit > 9999) return invalid_binary("digit");
    const std::int64_t left = kept - std::int64_t{i} * kDigitsPerGroup;
    if (left <= 0) {
      digit = 0;
    } else if (left < kDigitsPerGroup) {
      static constexpr std::uint16_t kUnits[] = {10000, 1000, 100, 10};
      digit = static_cast<std::uint16_t>(digit - digit % kUnits[left]);
    }
    value.digits_.push_back(digit);
  }
  value.normalize();
  return value;
}

void NumericValue::normalize() {
  const std::size_t first = std::min(digits_.find_first_not_of(u'\0'), digits_.size());
  digits_.erase(0, first);
  weight_ -= static_cast<int>(first);
  digits_.resize(digits_.find_last_not_of(u'\0') + 1);
  if (digits_.empty()) {
    weight_ = 0;
    negative_ = false;
  }
}

std::strong_ordering operator<=>(const NumericValue& a, const NumericValue& b) {
  if (a.kind_ != b.kind_) return a.kind_ <=> b.kind_;
  if (a.negative_ != b.negative_) return b.negative_ <=> a.negative_;
  const NumericValue& low = a.negative_ ? b : a;
  const NumericValue& high = a.negative_ ? a : b;
  if (low.digits_.empty() || high.digits_.empty()) {
    return !low.digits_.empty() <=> !high.digits_.empty();
  }
  if (low.weight_ != high.weight_) return low.weight_ <=> high.weight_;
  return low.digits_ <=> high.digits_;
}

}  // namespace pgshunt
