// Our hash of a key equals the server's own, for every key type, in text and in binary.

#include "router/pg_hash.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "router/key_value.h"
#include "tests/support/pg_client.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

struct Case {
  ShardKeyType type;
  const char* sql_type;
  const char* function;
  std::vector<std::string> values;
};

std::vector<std::string> integers(std::mt19937_64& random, int bits, int count) {
  const std::int64_t max = static_cast<std::int64_t>((std::uint64_t{1} << (bits - 1)) - 1);
  std::vector<std::string> out = {"0",
                                  "1",
                                  "-1",
                                  std::to_string(max),
                                  std::to_string(-max - 1),
                                  std::to_string(-max),
                                  "2",
                                  "-2",
                                  "10000",
                                  "-10000"};
  std::uniform_int_distribution<int> width(1, bits);
  for (int i = 0; i < count; ++i) {
    const auto value = static_cast<std::int64_t>(random()) >> (64 - width(random));
    out.push_back(std::to_string(value));
  }
  return out;
}

std::vector<std::string> texts(std::mt19937_64& random, int count) {
  std::vector<std::string> out = {"",
                                  " ",
                                  "a",
                                  "ab",
                                  "abc",
                                  "x ",
                                  " x",
                                  "\xc3\xa4\xc3\xb6",
                                  "\xf0\x9f\x98\x80",
                                  "O'Hara",
                                  "back\\slash",
                                  "100%"};
  std::uniform_int_distribution<std::size_t> length(0, 40);
  std::uniform_int_distribution<int> letter(1, 127);
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (std::size_t k = length(random); k > 0; --k) text += static_cast<char>(letter(random));
    out.push_back(text);
  }
  return out;
}

std::vector<std::string> uuids(std::mt19937_64& random, int count) {
  std::vector<std::string> out = {
      "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
      "a0eebc999c0b4ef8bb6d6bb9bd380a11"};
  for (int i = 0; i < count; ++i) {
    char text[40];
    std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(random()),
                  static_cast<unsigned>(random() & 0xffff),
                  static_cast<unsigned>(random() & 0xffff),
                  static_cast<unsigned>(random() & 0xffff),
                  static_cast<unsigned long long>(random() & 0xffffffffffffull));
    out.emplace_back(text);
  }
  return out;
}

std::vector<std::string> byteas(std::mt19937_64& random, int count) {
  std::vector<std::string> out = {"",    "\\x",    "\\x00",     "\\xDEADbeef", "\\x00 ff\n01",
                                  "abc", "a\\\\b", "\\000\\377"};
  std::uniform_int_distribution<std::size_t> length(0, 40);
  for (int i = 0; i < count; ++i) {
    std::string text = "\\x";
    for (std::size_t k = length(random); k > 0; --k) {
      char byte[3];
      std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned>(random() & 0xff));
      text += byte;
    }
    out.push_back(text);
  }
  return out;
}

std::vector<std::string> numerics(std::mt19937_64& random, int count) {
  std::vector<std::string> out = {
      "0",
      "-0",
      "0.000",
      "1",
      "-1",
      "10000",
      "100000000",
      "0.1",
      "0.0001",
      "0.00001",
      "1.5",
      "1.50",
      "1.5000000",
      "0100.00",
      "1e20",
      "1e-20",
      "1.5e3",
      "NaN",
      "Infinity",
      "-Infinity",
      "9223372036854775807",
      "9223372036854775808",
      "18446744073709551616",
      "99999999999999999999999999999999999999.00000000000000000000000000000000001"};
  std::uniform_int_distribution<int> length(1, 30);
  std::uniform_int_distribution<int> point(-12, 12);
  for (int i = 0; i < count; ++i) {
    std::string text = (random() & 1) != 0 ? "-" : "";
    for (int k = length(random); k > 0; --k) text += static_cast<char>('0' + random() % 10);
    if (random() % 3 != 0) {
      text += '.';
      for (int k = length(random); k > 0; --k) text += static_cast<char>('0' + random() % 10);
    }
    if (random() % 4 == 0) text += "e" + std::to_string(point(random));
    out.push_back(text);
  }
  return out;
}

std::string date(std::mt19937_64& random) {
  char text[40];
  std::snprintf(text, sizeof text, "%04u-%02u-%02u",
                static_cast<unsigned>(1 + random() % 4700),  // within range also BC
                static_cast<unsigned>(1 + random() % 12), static_cast<unsigned>(1 + random() % 28));
  return text;
}

std::string time_of_day(std::mt19937_64& random) {
  char text[40];
  std::snprintf(text, sizeof text, "%02u:%02u:%02u", static_cast<unsigned>(random() % 24),
                static_cast<unsigned>(random() % 60), static_cast<unsigned>(random() % 60));
  std::string out = text;
  if (random() % 2 == 0) out += "." + std::to_string(1 + random() % 999999);
  return out;
}

std::vector<std::string> dates(std::mt19937_64& random, int count) {
  std::vector<std::string> out = {"2000-01-01", "1999-12-31",    "infinity",      "-infinity",
                                  "0001-01-01", "0001-01-01 BC", "4713-01-01 BC", "5874897-12-31",
                                  "2024-02-29", "10000-01-01"};
  for (int i = 0; i < count; ++i) out.push_back(date(random) + (random() % 10 == 0 ? " BC" : ""));
  return out;
}

std::vector<std::string> timestamps(std::mt19937_64& random, int count, bool zone) {
  std::vector<std::string> out = {"infinity", "-infinity"};
  const char* const zones[] = {"+00", "-08", "+05:30", "+14", "-00:44:30", "Z"};
  for (int i = 0; i < count; ++i) {
    std::string text = date(random) + ((random() & 1) != 0 ? " " : "T") + time_of_day(random);
    if (zone) text += zones[random() % 6];
    if (random() % 10 == 0) text += " BC";
    out.push_back(text);
  }
  return out;
}

std::vector<Case> all_cases() {
  constexpr int kCount = 2000;
  std::mt19937_64 random(20240229);
  return {
      {ShardKeyType::kInt2, "int2", "hashint2extended", integers(random, 16, kCount)},
      {ShardKeyType::kInt4, "int4", "hashint4extended", integers(random, 32, kCount)},
      {ShardKeyType::kInt8, "int8", "hashint8extended", integers(random, 64, kCount)},
      {ShardKeyType::kText, "text", "hashtextextended", texts(random, kCount)},
      {ShardKeyType::kVarchar, "varchar", "hashtextextended", texts(random, kCount)},
      {ShardKeyType::kUuid, "uuid", "uuid_hash_extended", uuids(random, kCount)},
      {ShardKeyType::kBytea, "bytea", nullptr, byteas(random, kCount)},
      {ShardKeyType::kNumeric, "numeric", "hash_numeric_extended", numerics(random, kCount)},
      {ShardKeyType::kDate, "date", nullptr, dates(random, kCount)},
      {ShardKeyType::kTimestamp, "timestamp", "timestamp_hash_extended",
       timestamps(random, kCount, false)},
      {ShardKeyType::kTimestamptz, "timestamptz", nullptr, timestamps(random, kCount, true)},
  };
}

std::string quoted(const std::string& text) {
  std::string out = " E'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string values_list(const std::vector<std::string>& values) {
  std::string out = "(VALUES";
  for (std::size_t i = 0; i < values.size(); ++i) {
    out += (i == 0 ? " (" : ", (") + std::to_string(i) + "," + quoted(values[i]) + ")";
  }
  return out + ") AS x(n, v)";
}

std::uint64_t hash_as(const Case& test, KeyInput::Form form, std::string_view bytes) {
  KeySource source;
  source.kind = KeySource::Kind::kParameter;
  const std::uint32_t type = form == KeyInput::Form::kBinary ? oid_of(test.type) : 0;
  const auto hash = hash_key(test.type, source, {form, type, bytes}, KeyUse::kCompared);
  EXPECT_TRUE(hash) << test.sql_type << " " << bytes << ": " << hash.error().message;
  return hash ? hash->hash : 0;
}

TEST(PgHash, EqualsTheServersFunction) {
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  auto client = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  ASSERT_NE(client, nullptr);
  for (const Case& test : all_cases()) {
    if (test.function == nullptr) continue;
    const PgResult theirs =
        client->query("SELECT " + std::string(test.function) + "(v::" + test.sql_type +
                      ", 8816678312871386365) FROM " + values_list(test.values) + " ORDER BY n");
    ASSERT_TRUE(theirs.ok()) << test.sql_type << ": " << theirs.error;
    ASSERT_EQ(theirs.rows.size(), test.values.size());
    for (std::size_t i = 0; i < test.values.size(); ++i) {
      const auto expected = static_cast<std::uint64_t>(std::stoll(*theirs.value(i, 0)));
      ASSERT_EQ(hash_as(test, KeyInput::Form::kText, test.values[i]), expected)
          << test.sql_type << " " << test.values[i];
    }
  }
}

// Some of the functions cannot be called from SQL, and which one a type uses is the server's own
// choice, so ask what it would do with a partitioned table: remainder and all. Partitioning
// combines the hashes of its columns (hash_combine64), which for one column adds a constant.
TEST(PgHash, EqualsWhatPartitioningUses) {
  constexpr std::uint64_t kCombine = 0x49a0f4dd15e5a8e3u;
  constexpr std::uint64_t kModulus = 2147483647;
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  auto client = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(client->query("SET timezone = 'America/St_Johns'").ok());
  for (const Case& test : all_cases()) {
    const std::string type = test.sql_type;
    const std::string list = values_list(test.values);
    ASSERT_TRUE(
        client->query("CREATE TEMP TABLE p_" + type + " (k " + type + ") PARTITION BY HASH (k)")
            .ok());
    // The values as the server itself sends them in binary.
    const PgResult binary =
        client->execute("SELECT v::" + type + " FROM " + list + " ORDER BY n", {}, 1);
    ASSERT_TRUE(binary.ok()) << type << ": " << binary.error;
    std::string remainders;
    for (std::size_t i = 0; i < test.values.size(); ++i) {
      const std::uint64_t ours = hash_as(test, KeyInput::Form::kText, test.values[i]);
      ASSERT_EQ(hash_as(test, KeyInput::Form::kBinary, *binary.value(i, 0)), ours)
          << type << " " << test.values[i];
      remainders += (i == 0 ? "" : ",") + std::to_string((ours + kCombine) % kModulus);
    }
    const PgResult wrong = client->query(
        "SELECT v FROM " + list + " JOIN unnest('{" + remainders +
        "}'::int[]) WITH ORDINALITY AS r(remainder, place) ON place = n + 1 WHERE NOT "
        "satisfies_hash_partition('p_" +
        type + "'::regclass, 2147483647, remainder, v::" + type + ")");
    ASSERT_TRUE(wrong.ok()) << type << ": " << wrong.error;
    for (std::size_t i = 0; i < wrong.rows.size(); ++i) {
      ADD_FAILURE() << type << " " << *wrong.value(i, 0);
    }
  }
}

TEST(PgHash, EqualIntegersHashEquallyInEveryWidth) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 10000; ++i) {
    const auto value = static_cast<std::int32_t>(random());
    EXPECT_EQ(hash_int4(value), hash_int8(value));
  }
}

}  // namespace
}  // namespace pgshunt
