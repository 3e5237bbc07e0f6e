// Sums and quotients as a server's own, digit by digit, in text and binary.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "protocol/decimal.h"
#include "tests/support/pg_client.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

std::vector<std::string> numbers(std::mt19937_64& random, int count) {
  std::vector<std::string> out = {"0",
                                  "0.000",
                                  "-0",
                                  "NaN",
                                  "Infinity",
                                  "-Infinity",
                                  "1",
                                  "9999",
                                  "10000",
                                  "0.0001",
                                  "0.00001",
                                  "-9999.9999",
                                  "99999999",
                                  "100000000",
                                  "1e-20",
                                  "1e20",
                                  "1e300",
                                  "1e-300",
                                  "0.99999999999999999999",
                                  "5e-17",
                                  "-5e-21",
                                  "1e15",
                                  "1e16"};
  std::uniform_int_distribution<int> length(1, 30);
  for (int i = 0; i < count; ++i) {
    std::string text = random() % 2 == 0 ? "-" : "";
    for (int k = length(random); k > 0; --k) text += static_cast<char>('0' + random() % 10);
    if (random() % 3 != 0) {
      text += '.';
      if (random() % 4 == 0) text += "0000";
      for (int k = length(random); k > 0; --k) text += static_cast<char>('0' + random() % 10);
    }
    out.push_back(text);
  }
  return out;
}

std::string hex_of(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\\x";
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

TEST(DecimalPostgres, IsNumeric) {
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  auto client = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  std::mt19937_64 random(5);
  const std::vector<std::string> all = numbers(random, 300);
  std::uniform_int_distribution<int> bits(0, 62);
  for (int i = 0; i < 3000; ++i) {
    const std::string& a = all[random() % all.size()];
    const std::string& b = all[random() % all.size()];
    const auto count = static_cast<std::int64_t>(random() >> (1 + bits(random))) | 1;
    const std::string sum = "('" + a + "'::numeric + '" + b + "'::numeric)";
    const std::string quotient = "(" + sum + " / " + std::to_string(count) + "::int8)";
    const PgResult said = client->query("SELECT '" + a + "'::numeric, '" + b + "'::numeric, " +
                                        sum + ", numeric_send(" + sum + "), " + quotient +
                                        ", numeric_send(" + quotient + ")");
    ASSERT_TRUE(said.ok()) << said.error;
    Decimal value = *Decimal::from_text(*said.value(0, 0));
    ASSERT_TRUE(value.add(*Decimal::from_text(*said.value(0, 1))));
    const Decimal divided = value.divided_by(count);
    std::string text, binary, divided_text, divided_binary;
    value.append_text(text);
    value.append_binary(binary);
    divided.append_text(divided_text);
    divided.append_binary(divided_binary);
    ASSERT_EQ(text, *said.value(0, 2)) << sum;
    ASSERT_EQ(hex_of(binary), *said.value(0, 3)) << sum;
    ASSERT_EQ(divided_text, *said.value(0, 4)) << quotient;
    ASSERT_EQ(hex_of(divided_binary), *said.value(0, 5)) << quotient;
    std::string again;
    Decimal::from_binary(divided_binary)->append_text(again);
    ASSERT_EQ(again, divided_text);
  }
}

}  // namespace
}  // namespace pgshunt
