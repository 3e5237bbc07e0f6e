#include "protocol/value_text.h"

#include <charconv>
#include <system_error>

namespace pgshunt {
namespace {

constexpr Sqlstate kNumericValueOutOfRange{"22003"};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// -1 for what is not a hexadecimal digit.
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Enough to recognise a value by, and not a page of it in a log.
std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 64;
  std::string out = "\"";
  out += text.substr(0, kShown);
  out += text.size() > kShown ? "...\"" : "\"";
  return out;
}

template <class Float>
Result<Float> parse_float(std::string_view text, std::string_view type) {
  std::string_view number = trim_space(text);
  bool negative = false;
  if (!number.empty() && (number[0] == '+' || number[0] == '-')) {
    negative = number[0] == '-';
    number.remove_prefix(1);
  } else if (equals_ignoring_case(number, "nan")) {
    return std::numeric_limits<Float>::quiet_NaN();
  }
  Float value = 0;
  if (equals_ignoring_case(number, "infinity") || equals_ignoring_case(number, "inf")) {
    value = std::numeric_limits<Float>::infinity();
  } else {
    // from_chars() would take a second sign and words of its own.
    if (number.empty() || !(number[0] == '.' || (number[0] >= '0' && number[0] <= '9'))) {
      return invalid_text(type, text);
    }
    const char* const end = number.data() + number.size();
    const auto read = std::from_chars(number.data(), end, value);
    if (read.ptr != end || read.ec == std::errc::invalid_argument) return invalid_text(type, text);
    if (read.ec != std::errc()) return number_out_of_range(type, text);
  }
  return negative ? -value : value;
}

// hex_decode(); 0 stands for the end of the text.
Error invalid_hex(char digit) {
  constexpr Sqlstate kInvalidParameterValue{"22023"};
  if (digit == 0)
    return {kInvalidParameterValue, "invalid hexadecimal data: odd number of digits", {}};
  return {kInvalidParameterValue, "invalid hexadecimal digit: " + quoted({&digit, 1}), {}};
}

Result<std::string> parse_bytea_hex(std::string_view hex) {
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i < hex.size();) {
    const char c = hex[i];
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      ++i;
      continue;
    }
    const int high = hex_digit(c);
    const int low = i + 1 < hex.size() ? hex_digit(hex[i + 1]) : -1;
    if (high < 0 || low < 0) return invalid_hex(high < 0 ? c : i + 1 < hex.size() ? hex[i + 1] : 0);
    bytes.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return bytes;
}

}  // namespace

std::string_view trim_space(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
  if (text.size() != lower_case.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (lower(text[i]) != lower_case[i]) return false;
  }
  return true;
}

Error invalid_text(std::string_view type, std::string_view text) {
  return {sqlstate::kInvalidTextRepresentation,
          "invalid input syntax for type " + std::string(type) + ": " + quoted(text),
          {}};
}

Error number_out_of_range(std::string_view type, std::string_view text) {
  return {kNumericValueOutOfRange,
          "value " + quoted(text) + " is out of range for type " + std::string(type),
          {}};
}

Error unsupported_text(std::string_view type, std::string_view text, std::string_view hint) {
  return {sqlstate::kFeatureNotSupported,
          "this form of a " + std::string(type) + " is not supported: " + quoted(text),
          std::string(hint)};
}

MagnitudeScan scan_magnitude(std::string_view digits, std::uint64_t& out) {
  unsigned base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = lower(digits[1]);
    base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10) digits.remove_prefix(2);
  }
  std::uint64_t value = 0;
  bool overflow = false;
  // An underscore stands between two digits, or between the base and a digit.
  bool digit_before = base != 10;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] == '_') {
      if (!digit_before) return MagnitudeScan::kSyntax;
      digit_before = false;
      continue;
    }
    const int digit = hex_digit(digits[i]);
    if (digit < 0 || digit >= static_cast<int>(base)) return MagnitudeScan::kSyntax;
    digit_before = true;
    overflow |= __builtin_mul_overflow(value, std::uint64_t{base}, &value);
    overflow |= __builtin_add_overflow(value, static_cast<std::uint64_t>(digit), &value);
  }
  if (digits.empty() || digits.back() == '_') return MagnitudeScan::kSyntax;
  out = value;
  return overflow ? MagnitudeScan::kOverflow : MagnitudeScan::kOk;
}

Result<std::int64_t> parse_integer(std::string_view text, std::int64_t min, std::int64_t max,
                                   std::string_view type) {
  std::string_view number = trim_space(text);
  bool negative = false;
  if (!number.empty() && (number[0] == '+' || number[0] == '-')) {
    negative = number[0] == '-';
    number.remove_prefix(1);
  }
  std::uint64_t magnitude = 0;
  const MagnitudeScan scan = scan_magnitude(number, magnitude);
  if (scan == MagnitudeScan::kSyntax) return invalid_text(type, text);
  // Two's complement: the least value's magnitude is one more than the greatest's.
  const std::uint64_t limit =
      negative ? ~static_cast<std::uint64_t>(min) + 1 : static_cast<std::uint64_t>(max);
  if (scan == MagnitudeScan::kOverflow || magnitude > limit) return number_out_of_range(type, text);
  return static_cast<std::int64_t>(negative ? ~magnitude + 1 : magnitude);
}

// parse_bool_with_len(): any beginning of these words that is not ambiguous.
Result<bool> parse_bool(std::string_view text) {
  const std::string_view word = trim_space(text);
  auto begins = [word](std::string_view full, std::size_t least) {
    return word.size() >= least && word.size() <= full.size() &&
           equals_ignoring_case(word, full.substr(0, word.size()));
  };
  if (begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1") return true;
  if (begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0") return false;
  return invalid_text("boolean", text);
}

Result<float> parse_float4(std::string_view text) { return parse_float<float>(text, "real"); }

Result<double> parse_float8(std::string_view text) {
  return parse_float<double>(text, "double precision");
}

// string_to_uuid(): braces around, and a hyphen behind any group of four digits.
Result<Uuid> parse_uuid(std::string_view text) {
  std::string_view rest = text;
  const bool braces = !rest.empty() && rest[0] == '{';
  if (braces) rest.remove_prefix(1);
  Uuid uuid{};
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    const int high = rest.size() < 2 ? -1 : hex_digit(rest[0]);
    const int low = rest.size() < 2 ? -1 : hex_digit(rest[1]);
    if (high < 0 || low < 0) return invalid_text("uuid", text);
    uuid[i] = static_cast<unsigned char>(high * 16 + low);
    rest.remove_prefix(2);
    if (i % 2 == 1 && i + 1 < uuid.size() && !rest.empty() && rest[0] == '-') {
      rest.remove_prefix(1);
    }
  }
  if (rest != (braces ? "}" : "")) return invalid_text("uuid", text);
  return uuid;
}

// byteain().
Result<std::string> parse_bytea(std::string_view text) {
  if (text.starts_with("\\x")) return parse_bytea_hex(text.substr(2));
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '\\') {
      bytes.push_back(text[i++]);
      continue;
    }
    const std::string_view escape = text.substr(i + 1, 3);
    auto octal = [&escape](std::size_t at, char most) {
      return escape.size() > at && escape[at] >= '0' && escape[at] <= most;
    };
    if (octal(0, '3') && octal(1, '7') && octal(2, '7')) {
      bytes.push_back(
          static_cast<char>((escape[0] - '0') * 64 + (escape[1] - '0') * 8 + (escape[2] - '0')));
      i += 4;
    } else if (!escape.empty() && escape[0] == '\\') {
      bytes.push_back('\\');
      i += 2;
    } else {
      return invalid_text("bytea", text);
    }
  }
  return bytes;
}

}  // namespace pgshunt
