#include "protocol/decimal.h"

#include <algorithm>
#include <array>

#include "protocol/byte_reader.h"

namespace pgshunt {
namespace {

constexpr std::size_t kMostWholeDigits = 131072;
constexpr std::size_t kMostScale = 16383;
constexpr int kGroup = 4;  // decimal digits that are one of numeric's

// numeric_send()'s sign words.
constexpr std::uint16_t kPlus = 0x0000;
constexpr std::uint16_t kMinus = 0x4000;
constexpr std::uint16_t kNan = 0xc000;
constexpr std::uint16_t kPlusInfinity = 0xd000;
constexpr std::uint16_t kMinusInfinity = 0xf000;

Error not_a_number() {
  return {sqlstate::kProtocolViolation, "a shard sent a malformed number", {}};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Adds digits of one scale, most significant first.
std::string sum_of(const std::string& a, const std::string& b) {
  const std::string& longer = a.size() >= b.size() ? a : b;
  const std::string& shorter = a.size() >= b.size() ? b : a;
  std::string out = longer;
  const std::size_t lead = longer.size() - shorter.size();
  int carry = 0;
  for (std::size_t i = longer.size(); i-- > 0;) {
    if (i < lead && carry == 0) break;
    const int digit = longer[i] - '0' + carry + (i >= lead ? shorter[i - lead] - '0' : 0);
    carry = digit >= 10 ? 1 : 0;
    out[i] = static_cast<char>('0' + digit - 10 * carry);
  }
  if (carry != 0) out.insert(out.begin(), '1');
  return out;
}

// The same of a larger number and a smaller one.
std::string difference_of(const std::string& large, const std::string& small) {
  std::string out = large;
  const std::size_t lead = large.size() - small.size();
  int borrow = 0;
  for (std::size_t i = large.size(); i-- > 0;) {
    if (i < lead && borrow == 0) break;
    int digit = large[i] - '0' - borrow - (i >= lead ? small[i - lead] - '0' : 0);
    borrow = digit < 0 ? 1 : 0;
    out[i] = static_cast<char>('0' + digit + 10 * borrow);
  }
  return out;
}

// Without the leading zeros.
std::string_view significant(std::string_view digits) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

bool is_less(std::string_view a, std::string_view b) {
  a = significant(a);
  b = significant(b);
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

// In base 10000, as numeric has it: the power of the first digit that is not zero, and that digit.
struct FirstDigit {
  int weight = 0;
  int value = 0;
};

FirstDigit first_digit(std::string_view digits, std::size_t whole) {
  const std::size_t first = digits.find_first_not_of('0');
  if (first == std::string_view::npos) return {};
  const int power = static_cast<int>(whole) - static_cast<int>(first) - 1;  // of ten
  FirstDigit out;
  out.weight = power >= 0 ? power / kGroup : -((-power + kGroup - 1) / kGroup);
  const int length = power - out.weight * kGroup + 1;
  for (int i = 0; i < length; ++i) {
    const std::size_t at = first + static_cast<std::size_t>(i);
    out.value = out.value * 10 + (at < digits.size() ? digits[at] - '0' : 0);
  }
  return out;
}

}  // namespace

void Decimal::strip() {
  const std::size_t zeros = std::min(digits_.find_first_not_of('0'), digits_.size());
  digits_.erase(0, std::min(zeros, whole()));
  if (is_zero()) negative_ = false;
}

Result<Decimal> Decimal::from_text(std::string_view text) {
  Decimal out;
  if (text == "NaN") {
    out.kind_ = Kind::kNan;
    return out;
  }
  if (text == "Infinity" || text == "-Infinity") {
    out.kind_ = text.front() == '-' ? Kind::kMinusInfinity : Kind::kPlusInfinity;
    return out;
  }
  out.negative_ = text.starts_with('-');
  if (out.negative_) text.remove_prefix(1);
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view part = point == std::string_view::npos ? "" : text.substr(point + 1);
  out.digits_.reserve(whole.size() + part.size());
  out.digits_.append(whole).append(part);
  if (out.digits_.empty() || !std::all_of(out.digits_.begin(), out.digits_.end(), is_digit)) {
    return not_a_number();
  }
  out.scale_ = part.size();
  out.strip();
  return out;
}

Result<Decimal> Decimal::from_binary(std::string_view bytes) {
  ByteReader in(bytes);
  const std::size_t count = in.be16();
  const auto weight = static_cast<std::int16_t>(in.be16());
  const std::uint16_t sign = in.be16();
  const std::size_t scale = in.be16();
  Decimal out;
  if (!in.ok() || in.remaining() != count * 2) return not_a_number();
  switch (sign) {
    case kPlus:
    case kMinus:
      break;
    case kNan:
      out.kind_ = Kind::kNan;
      return out;
    case kPlusInfinity:
      out.kind_ = Kind::kPlusInfinity;
      return out;
    case kMinusInfinity:
      out.kind_ = Kind::kMinusInfinity;
      return out;
    default:
      return not_a_number();
  }
  if (scale > kMostScale) return not_a_number();
  out.negative_ = sign == kMinus;
  // From the point on, where the number begins behind it.
  for (int before = -1; before > weight; --before) out.digits_.append(kGroup, '0');
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint16_t digit = in.be16();
    if (digit > 9999) return not_a_number();
    for (int unit = 1000; unit > 0; unit /= 10) {
      out.digits_.push_back(static_cast<char>('0' + digit / unit % 10));
    }
  }
  const std::size_t whole = weight >= 0 ? (static_cast<std::size_t>(weight) + 1) * kGroup : 0;
  out.digits_.resize(whole + scale, '0');
  out.scale_ = scale;
  out.strip();
  return out;
}

Decimal Decimal::from_integer(std::int64_t value) { return *from_text(std::to_string(value)); }

Status Decimal::add(const Decimal& other) {
  if (kind_ != Kind::kFinite || other.kind_ != Kind::kFinite) {
    const bool same = kind_ == other.kind_ || other.kind_ == Kind::kFinite;
    if (!same) kind_ = kind_ == Kind::kFinite ? other.kind_ : Kind::kNan;
    return Ok{};
  }
  std::string theirs = other.digits_;
  if (scale_ < other.scale_) digits_.append(other.scale_ - scale_, '0');
  if (scale_ > other.scale_) theirs.append(scale_ - other.scale_, '0');
  scale_ = std::max(scale_, other.scale_);
  if (negative_ == other.negative_) {
    digits_ = sum_of(digits_, theirs);
  } else if (is_less(digits_, theirs)) {
    digits_ = difference_of(theirs, std::string(significant(digits_)));
    negative_ = other.negative_;
  } else {
    digits_ = difference_of(digits_, std::string(significant(theirs)));
  }
  strip();
  if (whole() > kMostWholeDigits) {
    return Error{Sqlstate{"22003"}, "value overflows numeric format", {}};
  }
  return Ok{};
}

Decimal Decimal::divided_by(std::int64_t count) const {
  constexpr int kLeastSignificant = 16;  // NUMERIC_MIN_SIG_DIGITS
  constexpr int kMostShown = 1000;       // NUMERIC_MAX_DISPLAY_SCALE
  if (kind_ != Kind::kFinite) return *this;
  const FirstDigit dividend = first_digit(digits_, whole());
  const std::string divisor_digits = std::to_string(count);
  const FirstDigit divisor = first_digit(divisor_digits, divisor_digits.size());
  int weight = dividend.weight - divisor.weight;
  if (dividend.value <= divisor.value) --weight;
  const int scale = std::clamp(
      std::max(kLeastSignificant - weight * kGroup, static_cast<int>(scale_)), 0, kMostShown);

  __extension__ using Wide = unsigned __int128;
  const auto divide_by = static_cast<Wide>(count);
  Wide rest = 0;
  const auto next = [&](std::size_t at) {
    rest = rest * 10 + static_cast<Wide>(at < digits_.size() ? digits_[at] - '0' : 0);
    const auto digit = static_cast<int>(rest / divide_by);
    rest %= divide_by;
    return digit;
  };
  Decimal out;
  out.negative_ = negative_;
  out.scale_ = static_cast<std::size_t>(scale);
  const std::size_t size = whole() + out.scale_;
  out.digits_.reserve(size + 1);
  for (std::size_t i = 0; i < size; ++i) out.digits_.push_back(static_cast<char>('0' + next(i)));
  // Halves go away from zero.
  if (next(size) >= 5) out.digits_ = sum_of(out.digits_.empty() ? "0" : out.digits_, "1");
  out.strip();
  return out;
}

void Decimal::append_text(std::string& out) const {
  switch (kind_) {
    case Kind::kNan:
      out += "NaN";
      return;
    case Kind::kPlusInfinity:
      out += "Infinity";
      return;
    case Kind::kMinusInfinity:
      out += "-Infinity";
      return;
    case Kind::kFinite:
      break;
  }
  if (negative_) out += '-';
  if (whole() == 0) out += '0';
  out.append(digits_, 0, whole());
  if (scale_ > 0) out.append(".").append(digits_, whole());
}

void Decimal::append_binary(std::string& out) const {
  const auto be16 = [&out](std::size_t value) {
    char bytes[2];
    store_be16(bytes, static_cast<std::uint16_t>(value));
    out.append(bytes, sizeof bytes);
  };
  if (kind_ != Kind::kFinite) {
    // The scale of infinities is a by-product of how a server stores them.
    constexpr std::size_t kScaleOfInfinity = 32;
    be16(0);
    be16(0);
    be16(kind_ == Kind::kNan            ? kNan
         : kind_ == Kind::kPlusInfinity ? kPlusInfinity
                                        : kMinusInfinity);
    be16(kind_ == Kind::kNan ? 0 : kScaleOfInfinity);
    return;
  }
  std::string padded((kGroup - whole() % kGroup) % kGroup, '0');
  const std::size_t groups_before = (padded.size() + whole()) / kGroup;
  padded += digits_;
  padded.append((kGroup - padded.size() % kGroup) % kGroup, '0');
  std::u16string groups;
  for (std::size_t i = 0; i < padded.size(); i += kGroup) {
    int value = 0;
    for (std::size_t k = 0; k < kGroup; ++k) value = value * 10 + (padded[i + k] - '0');
    groups.push_back(static_cast<char16_t>(value));
  }
  const std::size_t first = std::min(groups.find_first_not_of(u'\0'), groups.size());
  const std::size_t end = groups.find_last_not_of(u'\0') + 1;
  const int weight =
      first == groups.size() ? 0 : static_cast<int>(groups_before) - static_cast<int>(first) - 1;
  be16(first < end ? end - first : 0);
  be16(static_cast<std::uint16_t>(weight));
  be16(negative_ ? kMinus : kPlus);
  be16(scale_);
  for (std::size_t i = first; i < end; ++i) be16(groups[i]);
}

}  // namespace pgshunt
