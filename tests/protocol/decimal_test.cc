// Decimal arithmetic by what numeric does; tests/router/decimal_postgres_test.cc asks a server.
#include "protocol/decimal.h"

#include <gtest/gtest.h>

#include <string>

namespace pgshunt {
namespace {

std::string text(const Decimal& value) {
  std::string out;
  value.append_text(out);
  return out;
}

std::string sum(const char* a, const char* b) {
  Decimal out = *Decimal::from_text(a);
  EXPECT_TRUE(out.add(*Decimal::from_text(b)));
  std::string binary;
  out.append_binary(binary);
  EXPECT_EQ(text(*Decimal::from_binary(binary)), text(out));
  return text(out);
}

TEST(Decimal, AddsDigitByDigit) {
  EXPECT_EQ(sum("1", "2"), "3");
  EXPECT_EQ(sum("999", "1"), "1000");
  EXPECT_EQ(sum("0.999", "0.001"), "1.000");
  EXPECT_EQ(sum("1.5", "-1.50"), "0.00");
  EXPECT_EQ(sum("-1", "0.25"), "-0.75");
  EXPECT_EQ(sum("0.25", "-1"), "-0.75");
  EXPECT_EQ(sum("-0.5", "-0.5"), "-1.0");
  EXPECT_EQ(sum("100000000000000000000", "-0.0001"), "99999999999999999999.9999");
  EXPECT_EQ(sum("0", "-0.00"), "0.00");
}

TEST(Decimal, NotNumbersAndInfinities) {
  EXPECT_EQ(sum("NaN", "1"), "NaN");
  EXPECT_EQ(sum("Infinity", "1"), "Infinity");
  EXPECT_EQ(sum("1", "-Infinity"), "-Infinity");
  EXPECT_EQ(sum("Infinity", "-Infinity"), "NaN");
  EXPECT_EQ(sum("-Infinity", "-Infinity"), "-Infinity");
  EXPECT_EQ(sum("Infinity", "NaN"), "NaN");
  EXPECT_EQ(text(Decimal::from_text("NaN")->divided_by(3)), "NaN");
}

TEST(Decimal, DividesToSixteenDigits) {
  const auto quotient = [](const char* a, std::int64_t b) {
    return text(Decimal::from_text(a)->divided_by(b));
  };
  EXPECT_EQ(quotient("10", 3), "3.3333333333333333");
  EXPECT_EQ(quotient("20", 3), "6.6666666666666667");
  EXPECT_EQ(quotient("1", 7), "0.14285714285714285714");
  EXPECT_EQ(quotient("-1", 7), "-0.14285714285714285714");
  EXPECT_EQ(quotient("0", 5), "0.00000000000000000000");
  EXPECT_EQ(quotient("0.00", 1), "0.00000000000000000000");
  EXPECT_EQ(quotient("99999", 1), "99999.000000000000");
  EXPECT_EQ(quotient("1", 59), "0.01694915254237288136");  // ...81355
  EXPECT_EQ(quotient("-1", 59), "-0.01694915254237288136");
  EXPECT_EQ(quotient("7", 7), "1.00000000000000000000");
  EXPECT_EQ(quotient("8", 7), "1.1428571428571429");
}

TEST(Decimal, RefusesWhatIsNoNumber) {
  for (const char* bad : {"", "-", "1e5", "x", "1.2.3", " 1", "+1", "--1"}) {
    EXPECT_FALSE(Decimal::from_text(bad)) << bad;
  }
  EXPECT_FALSE(Decimal::from_binary("123"));
  EXPECT_FALSE(Decimal::from_binary(std::string("\0\1\0\0\x40\1\0\0\0\1", 10)));    // sign
  EXPECT_FALSE(Decimal::from_binary(std::string("\0\1\0\0\0\0\0\0\xff\xff", 10)));  // digit
  EXPECT_FALSE(Decimal::from_binary(std::string("\0\0\0\0\0\0\xff\xff", 8)));       // scale
}

TEST(Decimal, EndsWhereNumericDoes) {
  Decimal most = *Decimal::from_text(std::string(131072, '9'));
  EXPECT_TRUE(most.add(Decimal::from_integer(0)));
  const Status over = most.add(Decimal::from_integer(1));
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code.view(), "22003");
}

}  // namespace
}  // namespace pgshunt
