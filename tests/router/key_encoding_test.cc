// Encoded keys against the values they stand for: same order, same text, same hash.

#include "router/key_encoding.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "router/key_value.h"

namespace pgshunt {
namespace {

constexpr ShardKeyType kAllTypes[] = {
    ShardKeyType::kInt2,      ShardKeyType::kInt4,       ShardKeyType::kInt8,
    ShardKeyType::kText,      ShardKeyType::kVarchar,    ShardKeyType::kUuid,
    ShardKeyType::kBytea,     ShardKeyType::kNumeric,    ShardKeyType::kDate,
    ShardKeyType::kTimestamp, ShardKeyType::kTimestamptz};

class Texts {
 public:
  std::vector<std::string> of(ShardKeyType type) {
    std::vector<std::string> texts = edges(type);
    for (int i = 0; i < 150; ++i) texts.push_back(random_text(type));
    return texts;
  }

 private:
  std::int64_t below(std::int64_t limit) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(limit));
  }

  static std::vector<std::string> edges(ShardKeyType type) {
    switch (type) {
      case ShardKeyType::kInt2:
        return {"0", "1", "-1", "32767", "-32768", " 7 "};
      case ShardKeyType::kInt4:
        return {"0", "-1", "2147483647", "-2147483648"};
      case ShardKeyType::kInt8:
        return {"0", "-1", "9223372036854775807", "-9223372036854775808"};
      case ShardKeyType::kNumeric:
        return {
            "NaN",    "Infinity", "-Infinity", "0",     "0.000",  "-0",   "1",
            "1.0",    "10000",    "9999",      "-1",    "-1.1",   "-0.5", "0.5",
            "1e1000", "-1e1000",  "1e-16383",  "10.10", "0.0001", "1e-5", "123456789.987654321"};
      case ShardKeyType::kDate:
        return {"infinity",      "-infinity",  "2000-01-01",    "1999-12-31",   "2000-02-29",
                "4713-01-01 BC", "0001-01-01", "0001-12-31 BC", "5874897-12-31"};
      case ShardKeyType::kTimestamp:
        return {"infinity",
                "-infinity",
                "2000-01-01 00:00:00",
                "1999-12-31 23:59:59.999999",
                "4713-01-01 00:00:00 BC",
                "294276-12-31 23:59:59.999999"};
      case ShardKeyType::kTimestamptz:
        return {"infinity",
                "-infinity",
                "2000-01-01 00:00:00+00",
                "2000-01-01 00:00:00+05:30",
                "1999-12-31 23:00:00-01",
                "0044-03-15 12:00:00+00 BC"};
      case ShardKeyType::kBytea:
        return {"", "\\x", "\\x00", "\\x0000", "\\xff", "\\xff00", "abc\\\\", "\\000x"};
      case ShardKeyType::kUuid:
        return {"00000000-0000-0000-0000-000000000000", "{ffffffff-ffff-ffff-ffff-ffffffffffff}"};
      case ShardKeyType::kText:
      case ShardKeyType::kVarchar:
        return {"", "a", "A", "a ", "ab", "\xc3\xa4", "\x7f", "z\xff"};
    }
    return {};
  }

  std::string number(std::int64_t bound) {
    return std::to_string(below(2 * bound) - bound + below(2));
  }

  std::string padded(std::int64_t value) {
    return value < 10 ? "0" + std::to_string(value) : std::to_string(value);
  }

  std::string date() {
    return std::to_string(1000 + below(3000)) + "-" + padded(1 + below(12)) + "-" +
           padded(1 + below(28));
  }

  std::string time() {
    std::string text = padded(below(24)) + ":" + padded(below(60)) + ":" + padded(below(60));
    if (below(2) != 0) text += "." + std::to_string(1 + below(999999));
    return text;
  }

  std::string bytes(std::size_t length) {
    std::string text;
    for (std::size_t i = 0; i < length; ++i) text.push_back("0123456789abcdef"[below(16)]);
    return text;
  }

  std::string random_text(ShardKeyType type) {
    const std::string era = below(4) == 0 ? " BC" : "";
    switch (type) {
      case ShardKeyType::kInt2:
        return number(32767);
      case ShardKeyType::kInt4:
        return number(std::int64_t{1} << (1 + below(30)));
      case ShardKeyType::kInt8:
        return number(std::int64_t{1} << (1 + below(61)));
      case ShardKeyType::kNumeric: {
        std::string text = number(std::int64_t{1} << (1 + below(61)));
        if (below(2) != 0) text += "." + std::to_string(below(100000000));
        if (below(3) == 0) text += "e" + number(30);
        return text;
      }
      case ShardKeyType::kDate:
        return date() + era;
      case ShardKeyType::kTimestamp:
        return date() + " " + time() + era;
      case ShardKeyType::kTimestamptz:
        return date() + " " + time() + (below(2) != 0 ? "+" : "-") + padded(below(15)) + era;
      case ShardKeyType::kUuid:
        return bytes(32);
      case ShardKeyType::kBytea:
        return "\\x" + bytes(static_cast<std::size_t>(2 * below(6)));
      case ShardKeyType::kText:
      case ShardKeyType::kVarchar:
        return bytes(static_cast<std::size_t>(below(8)));
    }
    return {};
  }

  std::mt19937_64 random_{20240229};
};

TEST(KeyEncoding, OrdersAsTheValuesDo) {
  Texts generator;
  for (const ShardKeyType type : kAllTypes) {
    const auto texts = generator.of(type);
    std::vector<RowValue> values;
    std::vector<std::string> encoded;
    for (const std::string& text : texts) {
      auto value = RowValue::decode(*value_type_of(oid_of(type)), kFormatText, {false, text});
      ASSERT_TRUE(value) << name_of(type) << " " << text << ": " << value.error().message;
      values.push_back(*value);
      encoded.emplace_back();
      ASSERT_TRUE(append_encoded_key(type, *value, encoded.back()));
      EXPECT_TRUE(is_encoded_key(type, encoded.back())) << name_of(type) << " " << text;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      for (std::size_t j = 0; j < values.size(); ++j) {
        ASSERT_EQ(values[i] <=> values[j], encoded[i].compare(encoded[j]) <=> 0)
            << name_of(type) << ": " << texts[i] << " and " << texts[j];
      }
    }
  }
}

TEST(KeyEncoding, TextReadsBackAsTheSameBytes) {
  Texts generator;
  for (const ShardKeyType type : kAllTypes) {
    for (const std::string& text : generator.of(type)) {
      const auto encoded = encode_key_text(type, text);
      ASSERT_TRUE(encoded) << name_of(type) << " " << text;
      const std::string shown = encoded_key_text(type, *encoded);
      const auto again = encode_key_text(type, shown);
      ASSERT_TRUE(again) << name_of(type) << " " << shown << ": " << again.error().message;
      EXPECT_EQ(*again, *encoded) << name_of(type) << ": " << text << " became " << shown;
    }
  }
}

TEST(KeyEncoding, TextIsWhatPostgresWrites) {
  const auto shown = [](ShardKeyType type, std::string_view text) {
    return encoded_key_text(type, *encode_key_text(type, text));
  };
  EXPECT_EQ(shown(ShardKeyType::kInt4, " -5 "), "-5");
  EXPECT_EQ(shown(ShardKeyType::kNumeric, "-00012.3400"), "-12.34");
  EXPECT_EQ(shown(ShardKeyType::kNumeric, "1e8"), "100000000");
  EXPECT_EQ(shown(ShardKeyType::kNumeric, "1e-5"), "0.00001");
  EXPECT_EQ(shown(ShardKeyType::kDate, "0044-03-15 BC"), "0044-03-15 BC");
  EXPECT_EQ(shown(ShardKeyType::kTimestamp, "1999-12-31T23:59:59.5"), "1999-12-31 23:59:59.500000");
  EXPECT_EQ(shown(ShardKeyType::kTimestamptz, "2000-01-01 00:30:00+01"), "1999-12-31 23:30:00+00");
  EXPECT_EQ(shown(ShardKeyType::kUuid, "A0EEBC999C0B4EF8BB6D6BB9BD380A11"),
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
  EXPECT_EQ(shown(ShardKeyType::kBytea, "a\\377"), "\\x61ff");
}

TEST(KeyEncoding, HashesAsTheValueDoes) {
  Texts generator;
  for (const ShardKeyType type : kAllTypes) {
    for (const std::string& text : generator.of(type)) {
      const KeyInput input{KeyInput::Form::kText, oid_of(type), text};
      const auto expected = hash_key(type, {}, input, KeyUse::kCompared);
      ASSERT_TRUE(expected) << name_of(type) << " " << text;
      const auto encoded = encode_key_text(type, text);
      EXPECT_EQ(hash_encoded_key(type, *encoded), expected->hash) << name_of(type) << " " << text;
    }
  }
}

TEST(KeyEncoding, BytesOnDiskAreFixed) {
  const auto bytes = [](ShardKeyType type, std::string_view text) {
    return encoded_key_text(ShardKeyType::kBytea, *encode_key_text(type, text));
  };
  EXPECT_EQ(bytes(ShardKeyType::kInt2, "-1"), "\\x7fffffffffffffff");
  EXPECT_EQ(bytes(ShardKeyType::kInt8, "258"), "\\x8000000000000102");
  EXPECT_EQ(bytes(ShardKeyType::kDate, "2000-01-02"), "\\x80000001");
  EXPECT_EQ(bytes(ShardKeyType::kTimestamp, "2000-01-01 00:00:01"), "\\x80000000000f4240");
  EXPECT_EQ(bytes(ShardKeyType::kNumeric, "0"), "\\x30");
  EXPECT_EQ(bytes(ShardKeyType::kNumeric, "12345.5"), "\\x408000010002092a13890000");
  EXPECT_EQ(bytes(ShardKeyType::kNumeric, "-1"), "\\x207ffffffffdffff");
}

TEST(KeyEncoding, WhatNoValueEncodesToIsTold) {
  using namespace std::string_literals;
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kInt8, "1234567"));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kInt2, *encode_key_text(ShardKeyType::kInt8, "32768")));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kUuid, "short"));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kText, "a\0b"s));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kNumeric, ""));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kNumeric, "\x30\x30"));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kNumeric, "\x40\x80\x00\x00\x00\x01\x00\x00"s));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kNumeric, "\x40\x80\x00\x00\x00\x02"s));
  EXPECT_FALSE(is_encoded_key(ShardKeyType::kDate, "\xff\xff\xff\xfe"));
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    // The weight's upper bytes stay: they make for long texts.
    std::string bytes("\x40\x80\x00\x00\x00\x02\x00\x00"s);
    bytes[3 + random() % 5] = static_cast<char>(random());
    if (!is_encoded_key(ShardKeyType::kNumeric, bytes)) continue;
    const std::string text = encoded_key_text(ShardKeyType::kNumeric, bytes);
    const auto again = encode_key_text(ShardKeyType::kNumeric, text);
    if (again) {
      EXPECT_EQ(*again, bytes) << text;
    }
  }
}

TEST(KeyEncoding, RefusesWhatIsNoKey) {
  EXPECT_EQ(encode_key_text(ShardKeyType::kInt4, "2147483648").error().code.view(), "22003");
  EXPECT_EQ(encode_key_text(ShardKeyType::kInt4, "x").error().code.view(), "22P02");
  EXPECT_EQ(encode_key_text(ShardKeyType::kText, std::string(9000, 'x')).error().code.view(),
            "54000");
  std::string out = "kept";
  const auto null = RowValue::decode(ValueType::kInt4, kFormatText, {});
  EXPECT_EQ(append_encoded_key(ShardKeyType::kInt4, *null, out).error().code.view(), "23502");
  EXPECT_EQ(out, "kept");
}

}  // namespace
}  // namespace pgshunt
