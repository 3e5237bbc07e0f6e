#include "router/key_encoding.h"

#include <vector>

#include "protocol/frame.h"
#include "router/pg_hash.h"

namespace pgshunt {
namespace {

constexpr std::uint64_t kSign64 = std::uint64_t{1} << 63;
constexpr std::uint32_t kSign32 = std::uint32_t{1} << 31;

// The kind byte of a numeric.
constexpr unsigned char kMinusInfinity = 0x10;
constexpr unsigned char kBelowZero = 0x20;
constexpr unsigned char kZero = 0x30;
constexpr unsigned char kAboveZero = 0x40;
constexpr unsigned char kInfinity = 0x50;
constexpr unsigned char kNan = 0x60;
constexpr int kWeightBias = 1 << 23;
constexpr int kMaxWeight = 32767;        // NUMERIC_WEIGHT_MAX
constexpr std::size_t kNumericHead = 4;  // kind and weight

void append_int64(std::int64_t value, std::string& out) {
  char bytes[8];
  store_be64(bytes, static_cast<std::uint64_t>(value) ^ kSign64);
  out.append(bytes, sizeof bytes);
}

std::int64_t load_int64(std::string_view encoded) {
  return static_cast<std::int64_t>(load_be64(encoded.data()) ^ kSign64);
}

void append_date(std::int64_t days, std::string& out) {
  char bytes[4];
  store_be32(bytes, static_cast<std::uint32_t>(days) ^ kSign32);
  out.append(bytes, sizeof bytes);
}

std::int32_t load_date(std::string_view encoded) {
  return static_cast<std::int32_t>(load_be32(encoded.data()) ^ kSign32);
}

void append_numeric(const NumericValue& value, std::string& out) {
  const auto kind = [&]() -> unsigned char {
    switch (value.kind()) {
      case NumericValue::Kind::kMinusInfinity:
        return kMinusInfinity;
      case NumericValue::Kind::kPlusInfinity:
        return kInfinity;
      case NumericValue::Kind::kNan:
        return kNan;
      case NumericValue::Kind::kFinite:
        break;
    }
    if (value.digits().empty()) return kZero;
    return value.negative() ? kBelowZero : kAboveZero;
  }();
  out.push_back(static_cast<char>(kind));
  if (kind != kBelowZero && kind != kAboveZero) return;
  const std::size_t begin = out.size();
  const auto weight = static_cast<std::uint32_t>(value.weight() + kWeightBias);
  for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(weight >> shift));
  for (const char16_t digit : value.digits()) {
    const unsigned shifted = digit + 1u;
    out.push_back(static_cast<char>(shifted >> 8));
    out.push_back(static_cast<char>(shifted));
  }
  out.append(2, '\0');
  if (kind == kAboveZero) return;
  for (std::size_t i = begin; i < out.size(); ++i) out[i] = static_cast<char>(~out[i]);
}

// A finite numeric, unpacked.
struct Decimal {
  bool negative = false;
  int weight = 0;
  std::vector<std::int16_t> digits;
};

// False if it is not what append_numeric() writes for a finite value other than zero.
bool unpack(std::string_view encoded, Decimal& out) {
  const auto kind = static_cast<unsigned char>(encoded[0]);
  if (kind != kBelowZero && kind != kAboveZero) return false;
  if (encoded.size() < kNumericHead + 4 || encoded.size() % 2 != 0) return false;
  out.negative = kind == kBelowZero;
  const unsigned flip = out.negative ? 0xff : 0;
  const auto byte = [&](std::size_t at) {
    return static_cast<int>(static_cast<unsigned char>(encoded[at]) ^ flip);
  };
  out.weight = (byte(1) << 16 | byte(2) << 8 | byte(3)) - kWeightBias;
  if (out.weight > kMaxWeight) return false;
  for (std::size_t at = kNumericHead; at < encoded.size(); at += 2) {
    const int digit = (byte(at) << 8 | byte(at + 1)) - 1;
    const bool last = at + 2 == encoded.size();
    if (last ? digit != -1 : digit < 0 || digit > 9999) return false;
    if (!last) out.digits.push_back(static_cast<std::int16_t>(digit));
  }
  return out.digits.front() != 0 && out.digits.back() != 0;
}

bool is_encoded_numeric(std::string_view encoded) {
  if (encoded.empty()) return false;
  switch (static_cast<unsigned char>(encoded[0])) {
    case kMinusInfinity:
    case kZero:
    case kInfinity:
    case kNan:
      return encoded.size() == 1;
    default: {
      Decimal decimal;
      return unpack(encoded, decimal);
    }
  }
}

std::uint64_t hash_encoded_numeric(std::string_view encoded) {
  Decimal decimal;
  if (unpack(encoded, decimal)) return hash_numeric(decimal.digits, decimal.weight);
  return encoded[0] == static_cast<char>(kZero) ? hash_numeric({}, 0) : hash_numeric_special();
}

std::string numeric_text(std::string_view encoded) {
  switch (static_cast<unsigned char>(encoded[0])) {
    case kMinusInfinity:
      return "-Infinity";
    case kZero:
      return "0";
    case kInfinity:
      return "Infinity";
    case kNan:
      return "NaN";
    default:
      break;
  }
  Decimal decimal;
  if (!unpack(encoded, decimal)) return {};
  const auto group = [&](int weight) {
    const int at = decimal.weight - weight;
    const bool there = at >= 0 && at < static_cast<int>(decimal.digits.size());
    const int digit = there ? decimal.digits[static_cast<std::size_t>(at)] : 0;
    return std::to_string(10000 + digit).substr(1);
  };
  std::string whole;
  for (int weight = decimal.weight; weight >= 0; --weight) whole += group(weight);
  whole.erase(0, whole.find_first_not_of('0'));
  if (whole.empty()) whole = "0";
  std::string fraction;
  const int last = decimal.weight - static_cast<int>(decimal.digits.size()) + 1;
  for (int weight = -1; weight >= last; --weight) fraction += group(weight);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return (decimal.negative ? "-" : "") + whole + (fraction.empty() ? "" : "." + fraction);
}

std::string padded(std::int64_t value, std::size_t width) {
  std::string digits = std::to_string(value);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return digits;
}

struct DateText {
  std::string date;
  bool bc = false;
};

// Howard Hinnant's civil_from_days(), the reverse of what protocol/datetime_text.cc does.
DateText date_text(std::int64_t days) {
  constexpr std::int64_t kDaysPerEra = 146097;
  const std::int64_t shifted = days + 730425;  // from 0000-03-01
  const std::int64_t era = (shifted >= 0 ? shifted : shifted - kDaysPerEra + 1) / kDaysPerEra;
  const std::int64_t of_era = shifted - era * kDaysPerEra;
  const std::int64_t year_of_era =
      (of_era - of_era / 1460 + of_era / 36524 - of_era / (kDaysPerEra - 1)) / 365;
  const std::int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * of_year + 2) / 153;
  const std::int64_t day = of_year - (153 * month_from_march + 2) / 5 + 1;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  std::int64_t year = year_of_era + era * 400 + (month <= 2);
  const bool bc = year <= 0;
  if (bc) year = 1 - year;
  return {padded(year, 4) + "-" + padded(month, 2) + "-" + padded(day, 2), bc};
}

std::string timestamp_text(std::int64_t instant, std::string_view zone) {
  if (instant == kTimestampInfinity) return "infinity";
  if (instant == kTimestampMinusInfinity) return "-infinity";
  std::int64_t days = instant / kMicrosecondsPerDay;
  std::int64_t of_day = instant % kMicrosecondsPerDay;
  if (of_day < 0) {
    of_day += kMicrosecondsPerDay;
    --days;
  }
  const DateText date = date_text(days);
  const std::int64_t seconds = of_day / 1'000'000;
  std::string text = date.date + " " + padded(seconds / 3600, 2) + ":" +
                     padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2);
  if (of_day % 1'000'000 != 0) text += "." + padded(of_day % 1'000'000, 6);
  text += zone;
  return date.bc ? text + " BC" : text;
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    text.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return text;
}

std::string uuid_text(std::string_view bytes) {
  std::string text = hex(bytes);
  for (const std::size_t at : {20, 16, 12, 8}) text.insert(at, 1, '-');
  return text;
}

bool fits(ShardKeyType type, std::int64_t value) {
  if (type == ShardKeyType::kInt2) return value == static_cast<std::int16_t>(value);
  return type == ShardKeyType::kInt8 || value == static_cast<std::int32_t>(value);
}

}  // namespace

Status append_encoded_key(ShardKeyType type, const RowValue& value, std::string& out) {
  if (value.is_null()) return Error{sqlstate::kNotNullViolation, "NULL is not a key", {}};
  const std::size_t begin = out.size();
  switch (type) {
    case ShardKeyType::kInt2:
    case ShardKeyType::kInt4:
    case ShardKeyType::kInt8:
    case ShardKeyType::kTimestamp:
    case ShardKeyType::kTimestamptz:
      append_int64(value.integer(), out);
      break;
    case ShardKeyType::kDate:
      append_date(value.integer(), out);
      break;
    case ShardKeyType::kText:
    case ShardKeyType::kVarchar:
      if (value.text().find('\0') != std::string_view::npos) {
        return Error{Sqlstate{"22021"}, "a zero byte in a text key", {}};
      }
      out.append(value.text());
      break;
    case ShardKeyType::kBytea:
      out.append(value.bytea());
      break;
    case ShardKeyType::kUuid:
      out.append(reinterpret_cast<const char*>(value.uuid().data()), value.uuid().size());
      break;
    case ShardKeyType::kNumeric:
      append_numeric(value.numeric(), out);
      break;
  }
  if (out.size() - begin > kMaxEncodedKey) {
    out.resize(begin);
    return Error{sqlstate::kProgramLimitExceeded,
                 "a key is longer than " + std::to_string(kMaxEncodedKey) + " bytes",
                 {}};
  }
  return Ok{};
}

Result<std::string> encode_key(ShardKeyType type, std::uint16_t format, std::string_view bytes) {
  const auto value = RowValue::decode(*value_type_of(oid_of(type)), format, {false, bytes});
  if (!value) return value.error();
  std::string encoded;
  if (const Status done = append_encoded_key(type, *value, encoded); !done) return done.error();
  return encoded;
}

bool is_encoded_key(ShardKeyType type, std::string_view encoded) {
  if (encoded.size() > kMaxEncodedKey) return false;
  switch (type) {
    case ShardKeyType::kInt2:
    case ShardKeyType::kInt4:
    case ShardKeyType::kInt8:
      return encoded.size() == 8 && fits(type, load_int64(encoded));
    case ShardKeyType::kTimestamp:
    case ShardKeyType::kTimestamptz:
      return encoded.size() == 8 && is_valid_timestamp(load_int64(encoded));
    case ShardKeyType::kDate:
      return encoded.size() == 4 && is_valid_date(load_date(encoded));
    case ShardKeyType::kUuid:
      return encoded.size() == 16;
    case ShardKeyType::kBytea:
      return true;
    case ShardKeyType::kText:
    case ShardKeyType::kVarchar:
      return encoded.find('\0') == std::string_view::npos;
    case ShardKeyType::kNumeric:
      return is_encoded_numeric(encoded);
  }
  return false;
}

std::uint64_t hash_encoded_key(ShardKeyType type, std::string_view encoded) {
  switch (type) {
    case ShardKeyType::kInt2:
    case ShardKeyType::kInt4:
    case ShardKeyType::kInt8:
    case ShardKeyType::kTimestamp:
    case ShardKeyType::kTimestamptz:
      return hash_int8(load_int64(encoded));
    case ShardKeyType::kDate:
      return hash_int4(load_date(encoded));
    case ShardKeyType::kNumeric:
      return hash_encoded_numeric(encoded);
    case ShardKeyType::kText:
    case ShardKeyType::kVarchar:
    case ShardKeyType::kUuid:
    case ShardKeyType::kBytea:
      break;
  }
  return hash_bytes(encoded);
}

std::string encoded_key_text(ShardKeyType type, std::string_view encoded) {
  switch (type) {
    case ShardKeyType::kInt2:
    case ShardKeyType::kInt4:
    case ShardKeyType::kInt8:
      return std::to_string(load_int64(encoded));
    case ShardKeyType::kTimestamp:
      return timestamp_text(load_int64(encoded), "");
    case ShardKeyType::kTimestamptz:
      return timestamp_text(load_int64(encoded), "+00");
    case ShardKeyType::kDate: {
      const std::int32_t days = load_date(encoded);
      if (days == kDateInfinity) return "infinity";
      if (days == kDateMinusInfinity) return "-infinity";
      const DateText date = date_text(days);
      return date.bc ? date.date + " BC" : date.date;
    }
    case ShardKeyType::kUuid:
      return uuid_text(encoded);
    case ShardKeyType::kBytea:
      return "\\x" + hex(encoded);
    case ShardKeyType::kNumeric:
      return numeric_text(encoded);
    case ShardKeyType::kText:
    case ShardKeyType::kVarchar:
      break;
  }
  return std::string(encoded);
}

}  // namespace pgshunt
