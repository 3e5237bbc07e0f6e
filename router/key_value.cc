#include "router/key_value.h"

#include "protocol/frame.h"
#include "protocol/row_value.h"
#include "router/key_encoding.h"
#include "router/key_number.h"
#include "router/pg_hash.h"

namespace pgshunt {
namespace {

using Form = KeyInput::Form;

constexpr Sqlstate kOutOfRange{"22003"};
constexpr Sqlstate kUndefinedOperator{"42883"};

Error undecidable(ShardKeyType type, std::string_view what, std::string_view hint) {
  return {sqlstate::kFeatureNotSupported,
          "cannot tell which shard holds a " + std::string(name_of(type)) + " key given as " +
              std::string(what),
          std::string(hint)};
}

Error out_of_range(std::uint32_t oid) {
  return {kOutOfRange, std::string(name_of(*shard_key_type_of(oid))) + " out of range", {}};
}

// A value of a type that has no `=` with the key. What a cast or an assignment to the column makes
// of it is the server's to say.
Error mismatch(ShardKeyType type, const KeySource& source, KeyUse use) {
  if (source.cast != 0 || use != KeyUse::kCompared) {
    return undecidable(type, "a value of another type", "Give a value of the key's own type.");
  }
  return {kUndefinedOperator,
          "a " + std::string(name_of(type)) + " key cannot be compared with a value of this type",
          "Give a value of the key's type, or cast it."};
}

bool is_integer_oid(std::uint32_t oid) {
  return oid == type_oid::kInt2 || oid == type_oid::kInt4 || oid == type_oid::kInt8;
}
bool is_number_oid(std::uint32_t oid) { return is_integer_oid(oid) || oid == type_oid::kNumeric; }
bool is_string_oid(std::uint32_t oid) {
  return oid == type_oid::kText || oid == type_oid::kVarchar;
}

// All integer types have one canonical form.
void append_integer_key(std::int64_t value, std::string& canonical) {
  char bytes[sizeof value];
  store_be64(bytes, static_cast<std::uint64_t>(value));
  const auto read =
      RowValue::decode(ValueType::kInt8, kFormatBinary, {false, {bytes, sizeof bytes}});
  if (read) (void)append_encoded_key(ShardKeyType::kInt8, *read, canonical);
}

bool fits(std::uint32_t integer_oid, std::int64_t value) {
  if (integer_oid == type_oid::kInt2) return value == static_cast<std::int16_t>(value);
  if (integer_oid == type_oid::kInt4) return value == static_cast<std::int32_t>(value);
  return true;
}

std::uint16_t format_of(const KeyInput& input) {
  return input.form == Form::kBinary ? kFormatBinary : kFormatText;
}

// The type to read the value's bytes as, or 0 if values of such a type cannot become the key.
std::uint32_t type_to_read(ShardKeyType key_type, const KeySource& source, const KeyInput& input) {
  const std::uint32_t target = source.cast != 0 ? source.cast : oid_of(key_type);
  if (input.form == Form::kString) return target;
  if (input.form != Form::kText && input.form != Form::kBinary) return 0;
  if (input.type == 0 || input.type == type_oid::kUnknown) return target;
  if (comparable_with_key(key_type, input.type)) return input.type;
  // A cast from text reads it.
  return source.cast != 0 && is_string_oid(input.type) ? target : 0;
}

// A string's bytes are text also where they are sent in binary.
std::uint16_t format_to_read(const KeyInput& input) {
  return is_string_oid(input.type) ? kFormatText : format_of(input);
}

Result<KeyNumber> read_number(ShardKeyType type, const KeySource& source, const KeyInput& input,
                              KeyUse use) {
  if (input.form == Form::kNumber) return KeyNumber::from_literal(input.bytes);
  if (source.negated && input.form == Form::kString && source.cast == 0) {
    // The server makes a double precision of -'5', and doubles do not compare exactly.
    return undecidable(type, "a negated string", "Write the number without quotes.");
  }
  const std::uint32_t oid = type_to_read(type, source, input);
  if (!is_number_oid(oid)) return mismatch(type, source, use);
  return KeyNumber::decode(oid, format_to_read(input), input.bytes);
}

Result<KeyHash> hash_number(ShardKeyType type, const KeySource& source, const KeyInput& input,
                            KeyUse use, std::string* canonical) {
  Result<KeyNumber> number = read_number(type, source, input, use);
  if (!number) return number.error();
  if (source.negated) number->negate();
  const auto integer = number->to_int8();
  if (is_integer_oid(source.cast)) {
    if (!number->is_integral()) {
      return undecidable(type, "a cast that rounds", "Round the value before you bind it.");
    }
    if (!integer || !fits(source.cast, *integer)) return out_of_range(source.cast);
  }
  if (type == ShardKeyType::kNumeric) {
    if (use == KeyUse::kStored) {
      return undecidable(type, "a number that its column may round",
                         "Declare the key column without precision and scale.");
    }
    if (canonical != nullptr) {
      auto encoded = encode_key(type, kFormatBinary, number->numeric_binary());
      if (!encoded) return encoded.error();
      canonical->append(*encoded);
    }
    return KeyHash{KeyHash::Kind::kHash, number->numeric_hash()};
  }
  if (integer && fits(oid_of(type), *integer)) {
    if (canonical != nullptr) append_integer_key(*integer, *canonical);
    return KeyHash{KeyHash::Kind::kHash, hash_int8(*integer)};
  }
  if (use == KeyUse::kCompared) return KeyHash{KeyHash::Kind::kNoMatch, 0};
  if (number->is_integral()) return out_of_range(oid_of(type));
  return undecidable(type, "a number to be rounded", "Round the value before you insert it.");
}

std::uint64_t hash_of(ShardKeyType type, const RowValue& value) {
  switch (type) {
    case ShardKeyType::kUuid: {
      const Uuid& uuid = value.uuid();
      return hash_bytes({reinterpret_cast<const char*>(uuid.data()), uuid.size()});
    }
    case ShardKeyType::kBytea:
      return hash_bytes(value.bytea());
    case ShardKeyType::kDate:
      return hash_int4(static_cast<std::int32_t>(value.integer()));
    case ShardKeyType::kTimestamp:
    case ShardKeyType::kTimestamptz:
      return hash_int8(value.integer());
    default:
      return hash_bytes(value.text());
  }
}

// Could the column's type modifier change the value as it is stored?
Status check_stored_as_is(ShardKeyType type, const RowValue& value) {
  if (type == ShardKeyType::kVarchar && value.text().ends_with(' ')) {
    return undecidable(type, "text with spaces at its end, which the column may cut",
                       "Trim the value, or declare the key column without a length.");
  }
  const bool timestamp = type == ShardKeyType::kTimestamp || type == ShardKeyType::kTimestamptz;
  if (timestamp && value.integer() != kTimestampInfinity &&
      value.integer() != kTimestampMinusInfinity && value.integer() % 1'000'000 != 0) {
    return undecidable(type, "a fraction of a second, which the column may round",
                       "Declare the key column without a precision.");
  }
  return Ok{};
}

}  // namespace

bool comparable_with_key(ShardKeyType type, std::uint32_t oid) {
  if (oid == 0 || oid == type_oid::kUnknown || oid == oid_of(type)) return true;
  if (is_integer(type) || type == ShardKeyType::kNumeric) return is_number_oid(oid);
  return is_string(type) && is_string_oid(oid);
}

Result<KeyHash> hash_key(ShardKeyType type, const KeySource& source, const KeyInput& input,
                         KeyUse use, std::string* canonical) {
  if (input.form == Form::kNull) return KeyHash{};
  if (!comparable_with_key(type, source.cast)) return mismatch(type, source, use);
  if (is_integer(type) || type == ShardKeyType::kNumeric) {
    return hash_number(type, source, input, use, canonical);
  }
  if (source.negated || type_to_read(type, source, input) == 0) return mismatch(type, source, use);
  const auto value =
      RowValue::decode(*value_type_of(oid_of(type)), format_to_read(input), {false, input.bytes});
  if (!value) return value.error();
  if (use == KeyUse::kStored) {
    if (const Status as_is = check_stored_as_is(type, *value); !as_is) return as_is.error();
  }
  if (canonical != nullptr) {
    if (const Status done = append_encoded_key(type, *value, *canonical); !done) {
      return done.error();
    }
  }
  return KeyHash{KeyHash::Kind::kHash, hash_of(type, *value)};
}

}  // namespace pgshunt
