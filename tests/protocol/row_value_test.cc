#include "protocol/row_value.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "protocol/frame.h"

namespace pgshunt {
namespace {

using namespace std::string_view_literals;

constexpr ValueType kAllTypes[] = {
    ValueType::kBool,   ValueType::kInt2,      ValueType::kInt4,        ValueType::kInt8,
    ValueType::kFloat4, ValueType::kFloat8,    ValueType::kNumeric,     ValueType::kDate,
    ValueType::kTime,   ValueType::kTimestamp, ValueType::kTimestamptz, ValueType::kUuid,
    ValueType::kBytea,  ValueType::kText};

RowValue text(ValueType type, std::string_view bytes) {
  auto value = RowValue::decode(type, kFormatText, {false, bytes});
  EXPECT_TRUE(value) << bytes << ": " << value.error().message;
  return *value;
}

RowValue binary(ValueType type, std::string_view bytes) {
  auto value = RowValue::decode(type, kFormatBinary, {false, bytes});
  EXPECT_TRUE(value) << value.error().message;
  return *value;
}

// The SQLSTATE it is refused with.
std::string refused(ValueType type, std::string_view bytes, std::uint16_t format = kFormatText) {
  auto value = RowValue::decode(type, format, {false, bytes});
  return value ? "accepted" : std::string(value.error().code.view());
}

TEST(RowValue, TypesAreFoundByOid) {
  for (const auto& [oid, type] :
       std::vector<std::pair<std::uint32_t, ValueType>>{{16, ValueType::kBool},
                                                        {17, ValueType::kBytea},
                                                        {20, ValueType::kInt8},
                                                        {21, ValueType::kInt2},
                                                        {23, ValueType::kInt4},
                                                        {25, ValueType::kText},
                                                        {700, ValueType::kFloat4},
                                                        {701, ValueType::kFloat8},
                                                        {1043, ValueType::kText},
                                                        {1082, ValueType::kDate},
                                                        {1083, ValueType::kTime},
                                                        {1114, ValueType::kTimestamp},
                                                        {1184, ValueType::kTimestamptz},
                                                        {1700, ValueType::kNumeric},
                                                        {2950, ValueType::kUuid}}) {
    EXPECT_EQ(value_type_of(oid), type) << oid;
  }
  for (const std::uint32_t other : {0u, 18u, 26u, 114u, 1042u, 1266u, 3802u, 16384u}) {
    EXPECT_FALSE(value_type_of(other)) << other;
  }
}

TEST(RowValue, NullIsAboveAllAndEqualsItself) {
  const auto null = *RowValue::decode(ValueType::kInt4, kFormatText, {});
  EXPECT_TRUE(null.is_null());
  EXPECT_EQ(null, *RowValue::decode(ValueType::kInt4, kFormatBinary, {}));
  EXPECT_GT(null, text(ValueType::kInt4, "2147483647"));
  EXPECT_FALSE(text(ValueType::kText, "").is_null());
}

TEST(RowValue, UnknownFormatsAreRefused) { EXPECT_EQ(refused(ValueType::kInt4, "1", 2), "22023"); }

TEST(RowValue, IntegersKeepTheirRange) {
  EXPECT_EQ(text(ValueType::kInt2, "-32768").integer(), -32768);
  EXPECT_EQ(refused(ValueType::kInt2, "32768"), "22003");
  EXPECT_EQ(refused(ValueType::kInt2, "-32769"), "22003");
  EXPECT_EQ(text(ValueType::kInt8, "-9223372036854775808").integer(), INT64_MIN);
  EXPECT_EQ(refused(ValueType::kInt8, "9223372036854775808"), "22003");
  EXPECT_EQ(refused(ValueType::kInt8, "-9223372036854775809"), "22003");
  EXPECT_EQ(refused(ValueType::kInt8, "99999999999999999999999"), "22003");
  for (const char* bad : {"", " ", "-", "+", "1x", "x", "1.0", "--1", "1 2", "+-1", "1e3", "0x"}) {
    EXPECT_EQ(refused(ValueType::kInt4, bad), "22P02") << bad;
  }
}

TEST(RowValue, IntegersOfNewerServersAreRead) {
  EXPECT_EQ(text(ValueType::kInt4, "0x1F").integer(), 31);
  EXPECT_EQ(text(ValueType::kInt4, "-0b101").integer(), -5);
  EXPECT_EQ(text(ValueType::kInt4, "0o17").integer(), 15);
  EXPECT_EQ(text(ValueType::kInt4, "1_000_000").integer(), 1000000);
  EXPECT_EQ(text(ValueType::kInt4, "0x_ff").integer(), 255);
  for (const char* bad : {"_1", "1_", "1__0", "0x_", "0b2", "0o8", "0xg"}) {
    EXPECT_EQ(refused(ValueType::kInt4, bad), "22P02") << bad;
  }
}

TEST(RowValue, BinarySizesAreExact) {
  for (const ValueType type : kAllTypes) {
    if (type == ValueType::kText || type == ValueType::kBytea) continue;
    EXPECT_EQ(refused(type, "", kFormatBinary), "22P03") << sql_name(type);
    EXPECT_EQ(refused(type, "123", kFormatBinary), "22P03") << sql_name(type);
    EXPECT_EQ(refused(type, std::string(17, '\0'), kFormatBinary), "22P03") << sql_name(type);
  }
}

TEST(RowValue, BooleansAreWordsOrTheirBeginnings) {
  for (const char* yes : {"t", "TRUE", "tru", "y", "yes", "on", "1", " on "}) {
    EXPECT_TRUE(text(ValueType::kBool, yes).boolean()) << yes;
  }
  for (const char* no : {"f", "False", "n", "no", "of", "off", "0"}) {
    EXPECT_FALSE(text(ValueType::kBool, no).boolean()) << no;
  }
  for (const char* bad : {"", "o", "truest", "2", "yess", "10"}) {
    EXPECT_EQ(refused(ValueType::kBool, bad), "22P02") << bad;
  }
}

TEST(RowValue, FloatsRefuseWhatDoesNotFit) {
  EXPECT_EQ(refused(ValueType::kFloat4, "1e39"), "22003");
  EXPECT_EQ(refused(ValueType::kFloat4, "1e-60"), "22003");
  EXPECT_EQ(refused(ValueType::kFloat8, "1e400"), "22003");
  EXPECT_EQ(text(ValueType::kFloat8, "4.9406564584124654e-324").real(), 5e-324);
  for (const char* bad : {"", "e5", "1e", "1..2", "--1", "nanx", "infin", "0x1p3", "1 2", "."}) {
    EXPECT_EQ(refused(ValueType::kFloat8, bad), "22P02") << bad;
  }
}

TEST(RowValue, ZerosAreEqualAndNanIsHighest) {
  EXPECT_EQ(text(ValueType::kFloat8, "-0"), text(ValueType::kFloat8, "0"));
  EXPECT_EQ(text(ValueType::kFloat8, "NaN"), binary(ValueType::kFloat8, "\xff\xf8\0\0\0\0\0\1"sv));
  EXPECT_GT(text(ValueType::kFloat8, "NaN"), text(ValueType::kFloat8, "Infinity"));
}

TEST(Numeric, EqualValuesHaveOneForm) {
  for (const char* same : {"1000", "1000.00", "1e3", "+1_000", "0x3e8", "10000e-1", " 001000 "}) {
    EXPECT_EQ(text(ValueType::kNumeric, same), text(ValueType::kNumeric, "1000")) << same;
  }
  for (const char* zero : {"0", "-0", "0.00", "0e5", "-0e-7", "000"}) {
    const RowValue value = text(ValueType::kNumeric, zero);
    EXPECT_TRUE(value.numeric().digits().empty());
    EXPECT_FALSE(value.numeric().negative());
    EXPECT_EQ(value.numeric().weight(), 0);
  }
}

TEST(Numeric, DigitsAreThoseTheServerStores) {
  const RowValue value = text(ValueType::kNumeric, "-1234567.00089");
  EXPECT_TRUE(value.numeric().negative());
  EXPECT_EQ(value.numeric().weight(), 1);
  EXPECT_EQ(value.numeric().digits(), (std::u16string{123, 4567, 8, 9000}));
  EXPECT_EQ(text(ValueType::kNumeric, "0.00012").numeric().weight(), -1);
  EXPECT_EQ(text(ValueType::kNumeric, "0.00001").numeric().weight(), -2);
}

TEST(Numeric, RefusesWhatIsNoNumber) {
  for (const char* bad :
       {"",     ".",  "-",  "e5",   "1e",   "1e+",  "1.2.3", "1x", "+-1", "nanx", "infin",
        "-nan", "1_", "_1", "1__0", "1_.5", "1._5", "1e_5",  "0x", "0xg", "1 2"}) {
    EXPECT_EQ(refused(ValueType::kNumeric, bad), "22P02") << bad;
  }
}

TEST(Numeric, KeepsTheServersLimits) {
  EXPECT_EQ(refused(ValueType::kNumeric, "1e131071"), "accepted");
  EXPECT_EQ(refused(ValueType::kNumeric, "1e131072"), "22003");
  EXPECT_EQ(refused(ValueType::kNumeric, "1e-16383"), "accepted");
  EXPECT_EQ(refused(ValueType::kNumeric, "1e-16384"), "22003");
  EXPECT_EQ(refused(ValueType::kNumeric, "1e99999999999999999999"), "22003");
  EXPECT_EQ(refused(ValueType::kNumeric, "0e-99999999999999999999"), "22003");
  EXPECT_EQ(refused(ValueType::kNumeric, "0x1ffffffffffffffff"), "0A000");
  EXPECT_EQ(refused(ValueType::kNumeric, std::string(131072, '9')), "accepted");
  EXPECT_EQ(refused(ValueType::kNumeric, std::string(131073, '9')), "22003");
}

TEST(Numeric, BinaryIsCheckedAsTheServerChecksIt) {
  EXPECT_EQ(binary(ValueType::kNumeric, "\0\2\0\0\0\0\0\1\0\1\x13\x88"sv),
            text(ValueType::kNumeric, "1.5"));
  EXPECT_EQ(binary(ValueType::kNumeric, "\0\3\0\1\0\0\0\0\0\0\0\7\0\0"sv),
            text(ValueType::kNumeric, "7"))
      << "zeros at both ends";
  EXPECT_EQ(binary(ValueType::kNumeric, "\0\2\0\0\0\0\0\1\0\1\x14\xb4"sv),
            text(ValueType::kNumeric, "1.5"))
      << "1.53 with a scale of 1 is cut";
  EXPECT_EQ(binary(ValueType::kNumeric, "\0\1\0\0\0\0\0\0\0\1"sv), text(ValueType::kNumeric, "1"));
  EXPECT_EQ(refused(ValueType::kNumeric, "\0\1\0\0\0\0\0\0\x27\x10"sv, kFormatBinary), "22P03");
  EXPECT_EQ(refused(ValueType::kNumeric, "\0\1\0\0\x12\x34\0\0\0\1"sv, kFormatBinary), "22P03");
  EXPECT_EQ(refused(ValueType::kNumeric, "\0\1\0\0\0\0\x40\0\0\1"sv, kFormatBinary), "22P03");
  EXPECT_EQ(refused(ValueType::kNumeric, "\0\2\0\0\0\0\0\0\0\1"sv, kFormatBinary), "22P03");
}

// Integers through numeric order as integers do.
TEST(Numeric, OrdersLikeIntegers) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 20000; ++i) {
    const auto a = static_cast<std::int64_t>(random()) >> (random() % 64);
    const auto b = random() % 4 == 0 ? a : static_cast<std::int64_t>(random()) >> (random() % 64);
    const std::string shift = "e" + std::to_string(static_cast<int>(random() % 40) - 20);
    const auto x = *NumericValue::from_text(std::to_string(a) + shift);
    const auto y = *NumericValue::from_text(std::to_string(b) + ".0" + shift);
    ASSERT_EQ(x <=> y, a <=> b) << a << " " << b << shift;
  }
}

TEST(Datetime, OtherFormsAreUnsupportedNotGuessed) {
  for (const char* date :
       {"01/02/2024", "2024/01/02", "1/2/24", "24-01-02", "Jan 2 2024", "today", "20240102",
        "2024-1-2", "02.01.2024", "", "epoch", "2024-01-02 AD", "2024-01-02 10:00:00"}) {
    EXPECT_EQ(refused(ValueType::kDate, date), "0A000") << date;
  }
  for (const char* stamp : {"Fri Jan 05 10:11:12 2024", "05/01/2024 10:11:12.00 CET", "now",
                            "2024-01-05 10", "2024-01-05 10:11:12.1234567", "2024-01-05 1:00:00",
                            "2024-01-05 10:11:12+00", "2024-01-05 10:11 PM"}) {
    EXPECT_EQ(refused(ValueType::kTimestamp, stamp), "0A000") << stamp;
  }
  for (const char* stamp : {"2024-01-05 10:11:12", "2024-01-05", "2024-01-05 10:11:12 UTC",
                            "2024-01-05 10:11:12 Europe/Berlin", "2024-01-05 10:11:12+1"}) {
    EXPECT_EQ(refused(ValueType::kTimestamptz, stamp), "0A000") << stamp;
  }
  EXPECT_EQ(refused(ValueType::kTime, "10:11 PM"), "0A000");
  EXPECT_EQ(refused(ValueType::kTime, "infinity"), "0A000");
}

TEST(Datetime, DaysThatAreNotAreOutOfRange) {
  for (const char* date :
       {"2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-00", "2024-04-31",
        "0000-01-01", "0000-01-01 BC", "4714-11-23 BC", "5874898-01-01", "9999999-01-01"}) {
    EXPECT_EQ(refused(ValueType::kDate, date), "22008") << date;
  }
  for (const char* stamp : {"294277-01-01 00:00:00", "9999999-12-31 00:00:00",
                            "2024-01-05 25:00:00", "2024-01-05 24:00:01", "2024-01-05 10:60:00",
                            "2024-01-05 10:11:61", "4714-11-23 23:59:59 BC"}) {
    EXPECT_EQ(refused(ValueType::kTimestamp, stamp), "22008") << stamp;
  }
  EXPECT_EQ(refused(ValueType::kTimestamptz, "2024-01-05 00:00:00+16"), "22008");
  EXPECT_EQ(refused(ValueType::kTimestamptz, "4714-11-24 00:00:00+01 BC"), "22008");
  EXPECT_EQ(refused(ValueType::kTimestamptz, "294276-12-31 23:59:59-01"), "22008");
  EXPECT_EQ(refused(ValueType::kDate, "\x7f\xff\xff\xfe"sv, kFormatBinary), "22008");
  EXPECT_EQ(refused(ValueType::kTime, "\xff\xff\xff\xff\xff\xff\xff\xff"sv, kFormatBinary),
            "22008");
  EXPECT_EQ(refused(ValueType::kTimestamp, "\x7f\xff\xff\xff\xff\xff\xff\xfe"sv, kFormatBinary),
            "22008");
}

// Every day of five thousand years, counted one by one.
TEST(Datetime, DaysFollowEachOther) {
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  std::int64_t expected = *parse_date("2501-01-01 BC");
  for (int year = -2500; year < 2500; ++year) {
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    for (int month = 1; month <= 12; ++month) {
      const int last = kDays[month - 1] + (month == 2 && leap);
      for (int day = 1; day <= last; ++day, ++expected) {
        char written[32];
        std::snprintf(written, sizeof written, "%04d-%02d-%02d%s", year > 0 ? year : 1 - year,
                      month, day, year > 0 ? "" : " BC");
        ASSERT_EQ(*parse_date(written), expected) << written;
      }
    }
  }
  EXPECT_EQ(*parse_date("2000-01-01"), 0);
}

TEST(Bytea, RefusesBrokenEscapes) {
  EXPECT_EQ(text(ValueType::kBytea, "\\x6162"), text(ValueType::kBytea, "ab"));
  EXPECT_EQ(text(ValueType::kBytea, "\\141b"), binary(ValueType::kBytea, "ab"));
  EXPECT_EQ(text(ValueType::kBytea, "\\\\x61").bytea(), "\\x61");
  for (const char* bad :
       {"\\x6", "\\x6g", "\\x6 1", "\\", "a\\", "\\4", "\\400", "\\18", "\\0a0"}) {
    const bool hex = std::string_view(bad).starts_with("\\x");
    EXPECT_EQ(refused(ValueType::kBytea, bad), hex ? "22023" : "22P02") << bad;
  }
}

TEST(Uuid, HyphensStandBehindGroupsOfFour) {
  const std::string plain = "a0eebc999c0b4ef8bb6d6bb9bd380a11";
  EXPECT_EQ(text(ValueType::kUuid, plain),
            text(ValueType::kUuid, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"));
  for (const std::string& bad : std::vector<std::string>{
           plain.substr(1), plain + "0", "a-0eebc999c0b4ef8bb6d6bb9bd380a11", "{" + plain,
           plain + "}", plain + "-", "a0ee--bc999c0b4ef8bb6d6bb9bd380a11",
           "a0-eebc999c0b4ef8bb6d6bb9bd380a11", " " + plain, ""}) {
    EXPECT_EQ(refused(ValueType::kUuid, bad), "22P02") << bad;
  }
}

TEST(RowValue, MessagesQuoteNoMoreThanABeginning) {
  auto value = RowValue::decode(ValueType::kInt4, kFormatText, {false, std::string(5000, 'x')});
  ASSERT_FALSE(value);
  EXPECT_LT(value.error().message.size(), 200u);
}

// Whatever the bytes are: a value that compares with itself as equal, or an error.
TEST(RowValue, SurvivesAnyBytes) {
  std::mt19937 random(6);
  static constexpr std::string_view kAlphabet = "0123456789-+:. eEinfBCTZx_\\{}\0\1\xff"sv;
  for (int i = 0; i < 200000; ++i) {
    std::string bytes(random() % 24, '\0');
    for (char& c : bytes) c = kAlphabet[random() % kAlphabet.size()];
    const ValueType type = kAllTypes[random() % std::size(kAllTypes)];
    auto value = RowValue::decode(type, static_cast<std::uint16_t>(random() % 2), {false, bytes});
    if (value) {
      ASSERT_EQ(*value, *value);
    }
  }
}

}  // namespace
}  // namespace pgshunt
