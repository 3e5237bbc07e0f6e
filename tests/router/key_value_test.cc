// What a value comes to as a key, where SQL's typing rules make it interesting.

#include "router/key_value.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/frame.h"
#include "router/pg_hash.h"

namespace pgshunt {
namespace {

using Form = KeyInput::Form;

struct Value {
  Form form = Form::kText;
  std::string bytes;
  std::uint32_t type = 0;
  std::uint32_t cast = 0;
  bool negated = false;
};

// "none", "null", the error's SQLSTATE, or the hash.
std::string come_to(ShardKeyType type, const Value& value, KeyUse use = KeyUse::kCompared) {
  KeySource source;
  source.kind = KeySource::Kind::kParameter;
  source.cast = value.cast;
  source.negated = value.negated;
  const auto hash = hash_key(type, source, {value.form, value.type, value.bytes}, use);
  if (!hash) return std::string(hash.error().code.view());
  if (hash->kind == KeyHash::Kind::kNull) return "null";
  if (hash->kind == KeyHash::Kind::kNoMatch) return "none";
  return std::to_string(hash->hash);
}

std::string of_int(std::int64_t value) { return std::to_string(hash_int8(value)); }
std::string of_text(std::string_view text) { return std::to_string(hash_bytes(text)); }

std::string big_endian(std::uint64_t value, std::size_t size) {
  char bytes[8];
  store_be64(bytes, value);
  return std::string(bytes + 8 - size, size);
}

constexpr auto kInt8 = ShardKeyType::kInt8;
constexpr auto kInt4 = ShardKeyType::kInt4;
constexpr auto kText = ShardKeyType::kText;

TEST(KeyValue, NumbersEqualTheirIntegerInEveryForm) {
  for (const Value& value : {
           Value{Form::kNumber, "5"},
           Value{Form::kNumber, "5.0"},
           Value{Form::kNumber, "05"},
           Value{Form::kNumber, "0.5e1"},
           Value{Form::kNumber, "50e-1"},
           Value{Form::kString, "5"},
           Value{Form::kString, " 5 "},
           Value{Form::kText, "5"},
           Value{Form::kText, "5", type_oid::kInt2},
           Value{Form::kText, "5.00", type_oid::kNumeric},
           Value{Form::kText, "5", type_oid::kText, type_oid::kInt8},
           Value{Form::kBinary, big_endian(5, 2), type_oid::kInt2},
           Value{Form::kBinary, big_endian(5, 4), type_oid::kInt4},
           Value{Form::kBinary, big_endian(5, 8), type_oid::kInt8},
           Value{Form::kBinary, big_endian(5, 8)},
           Value{Form::kBinary, big_endian(5, 4), 0, type_oid::kInt4},
           Value{Form::kBinary, "5", type_oid::kText, type_oid::kInt8},
           Value{Form::kNumber, "-5", 0, 0, true},
           Value{Form::kText, "-5", 0, 0, true},
           Value{Form::kString, "5.0", 0, type_oid::kNumeric},
       }) {
    EXPECT_EQ(come_to(kInt8, value), of_int(5)) << value.bytes;
  }
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "5", 0, 0, true}), of_int(-5));
  EXPECT_EQ(come_to(kInt8, {Form::kBinary, big_endian(static_cast<std::uint64_t>(-5), 4),
                            type_oid::kInt4}),
            of_int(-5));
}

TEST(KeyValue, TheEndsOfTheRange) {
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "9223372036854775807"}), of_int(INT64_MAX));
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "9223372036854775808"}), "none");
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "9223372036854775808", 0, 0, true}), of_int(INT64_MIN));
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "9223372036854775809", 0, 0, true}), "none");
  EXPECT_EQ(come_to(kInt8, {Form::kString, "9223372036854775808"}), "22003");
  EXPECT_EQ(come_to(kInt4, {Form::kNumber, "2147483648"}), "none");
  EXPECT_EQ(come_to(kInt4, {Form::kText, "2147483648"}), "22003");
  EXPECT_EQ(come_to(kInt4, {Form::kText, "2147483648", type_oid::kInt8}), "none");
  EXPECT_EQ(come_to(kInt4, {Form::kNumber, "2147483648", 0, type_oid::kInt4}), "22003");
  EXPECT_EQ(come_to(ShardKeyType::kInt2, {Form::kNumber, "40000"}), "none");
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, std::string(400, '9')}), "none");
}

TEST(KeyValue, NoIntegerEqualsAFraction) {
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "5.5"}), "none");
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "1e-9"}), "none");
  EXPECT_EQ(come_to(kInt8, {Form::kText, "NaN", type_oid::kNumeric}), "none");
  // A cast would round, and so would storing it.
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "5.5", 0, type_oid::kInt8}), "0A000");
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "5.5"}, KeyUse::kStored), "0A000");
  EXPECT_EQ(come_to(kInt8, {Form::kNumber, "5.0"}, KeyUse::kStored), of_int(5));
  EXPECT_EQ(come_to(kInt4, {Form::kNumber, "2147483648"}, KeyUse::kStored), "22003");
}

TEST(KeyValue, WhatTheServerWouldRefuseIsAnError) {
  EXPECT_EQ(come_to(kInt8, {Form::kString, "five"}), "22P02");
  EXPECT_EQ(come_to(kInt8, {Form::kString, "5.0"}), "22P02");
  EXPECT_EQ(come_to(kInt8, {Form::kString, ""}), "22P02");
  EXPECT_EQ(come_to(kInt8, {Form::kBinary, big_endian(5, 4)}), "22P03");
  EXPECT_EQ(come_to(kInt8, {Form::kText, "5", type_oid::kText}), "42883");
  EXPECT_EQ(come_to(kInt8, {Form::kText, "5", type_oid::kFloat8}), "42883");
  EXPECT_EQ(come_to(kInt8, {Form::kBool, "t"}), "42883");
  EXPECT_EQ(come_to(kText, {Form::kNumber, "5"}), "42883");
  EXPECT_EQ(come_to(ShardKeyType::kUuid, {Form::kString, "5"}), "22P02");
  EXPECT_EQ(come_to(ShardKeyType::kBytea, {Form::kString, "\\xf"}), "22023");
}

TEST(KeyValue, ANegatedStringIsADoublePrecision) {
  EXPECT_EQ(come_to(kInt8, {Form::kString, "5", 0, 0, true}), "0A000");
  EXPECT_EQ(come_to(kInt8, {Form::kString, "5", 0, type_oid::kInt8, true}), of_int(-5));
}

TEST(KeyValue, NullIsNull) {
  EXPECT_EQ(come_to(kInt8, {Form::kNull, ""}), "null");
  EXPECT_EQ(come_to(kText, {Form::kNull, ""}), "null");
}

TEST(KeyValue, TextIsItsBytesWhateverTheFormat) {
  for (const Value& value :
       {Value{Form::kString, "abc"}, Value{Form::kText, "abc"}, Value{Form::kBinary, "abc"},
        Value{Form::kText, "abc", type_oid::kVarchar}, Value{Form::kBinary, "abc", type_oid::kText},
        Value{Form::kText, "abc", type_oid::kUnknown}}) {
    EXPECT_EQ(come_to(kText, value), of_text("abc"));
    EXPECT_EQ(come_to(ShardKeyType::kVarchar, value), of_text("abc"));
  }
  EXPECT_EQ(come_to(kText, {Form::kText, "a ", type_oid::kBpchar}), "42883");
}

// varchar(2) cuts spaces, timestamp(0) and numeric(5,2) round: the row would be stored under
// another key than the one it was sent to.
TEST(KeyValue, AColumnsTypeModifierMayChangeWhatIsStored) {
  const Value spaces{Form::kText, "a "};
  EXPECT_EQ(come_to(ShardKeyType::kVarchar, spaces), of_text("a "));
  EXPECT_EQ(come_to(ShardKeyType::kVarchar, spaces, KeyUse::kStored), "0A000");
  EXPECT_EQ(come_to(ShardKeyType::kVarchar, spaces, KeyUse::kStoredUnmodified), of_text("a "));
  EXPECT_EQ(come_to(kText, spaces, KeyUse::kStored), of_text("a "));
  const Value fraction{Form::kText, "2020-01-01 00:00:00.5"};
  EXPECT_EQ(come_to(ShardKeyType::kTimestamp, fraction, KeyUse::kStored), "0A000");
  EXPECT_NE(come_to(ShardKeyType::kTimestamp, fraction, KeyUse::kStoredUnmodified), "0A000");
  EXPECT_EQ(come_to(ShardKeyType::kNumeric, {Form::kNumber, "5"}, KeyUse::kStored), "0A000");
  EXPECT_NE(come_to(ShardKeyType::kNumeric, {Form::kNumber, "5"}, KeyUse::kStoredUnmodified),
            "0A000");
}

TEST(KeyValue, DatesThatDependOnSettingsAreRefused) {
  for (const char* text : {"01/02/2020", "today", "now", "20200102", "Jan 2 2020", "2.1.2020"}) {
    EXPECT_EQ(come_to(ShardKeyType::kDate, {Form::kString, text}), "0A000") << text;
  }
  for (const char* text :
       {"2020-01-01 00:00:00", "2020-01-01", "2020-01-01 00:00:00 Europe/Berlin"}) {
    EXPECT_EQ(come_to(ShardKeyType::kTimestamptz, {Form::kString, text}), "0A000") << text;
  }
  // The server would drop the zone.
  EXPECT_EQ(come_to(ShardKeyType::kTimestamp, {Form::kString, "2020-01-01 00:00:00+02"}), "0A000");
}

}  // namespace
}  // namespace pgshunt
