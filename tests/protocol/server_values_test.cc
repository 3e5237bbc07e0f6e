// The typed values against a PostgreSQL 15 server's own: server_values.tsv holds what it accepted,
// what it sent in binary and how it sorted (make_server_values.py).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "protocol/row_value.h"

namespace pgshunt {
namespace {

struct ServerValue {
  int rank = 0;
  std::string binary;
  std::string text;
};

ValueType type_named(const std::string& name) {
  static const std::map<std::string, ValueType> kTypes = {{"bool", ValueType::kBool},
                                                          {"int2", ValueType::kInt2},
                                                          {"int4", ValueType::kInt4},
                                                          {"int8", ValueType::kInt8},
                                                          {"float4", ValueType::kFloat4},
                                                          {"float8", ValueType::kFloat8},
                                                          {"numeric", ValueType::kNumeric},
                                                          {"date", ValueType::kDate},
                                                          {"time", ValueType::kTime},
                                                          {"timestamp", ValueType::kTimestamp},
                                                          {"timestamptz", ValueType::kTimestamptz},
                                                          {"uuid", ValueType::kUuid},
                                                          {"bytea", ValueType::kBytea},
                                                          {"text", ValueType::kText}};
  return kTypes.at(name);
}

std::map<ValueType, std::vector<ServerValue>> server_values() {
  std::map<ValueType, std::vector<ServerValue>> values;
  std::ifstream file("tests/protocol/server_values.tsv");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string type, rank, hex;
    ServerValue value;
    std::getline(fields, type, '\t');
    std::getline(fields, rank, '\t');
    std::getline(fields, hex, '\t');
    std::getline(fields, value.text);
    value.rank = std::stoi(rank);
    value.binary = *parse_bytea("\\x" + hex);
    values[type_named(type)].push_back(value);
  }
  return values;
}

TEST(ServerValues, TextAndBinaryAreTheSameValueInTheServersOrder) {
  const auto all = server_values();
  ASSERT_EQ(all.size(), 14u) << "run in the source folder";
  for (const auto& [type, values] : all) {
    std::vector<RowValue> decoded;
    std::vector<int> ranks;
    for (const ServerValue& value : values) {
      for (const std::uint16_t format : {kFormatText, kFormatBinary}) {
        const std::string& bytes = format == kFormatText ? value.text : value.binary;
        auto row_value = RowValue::decode(type, format, {false, bytes});
        ASSERT_TRUE(row_value) << sql_name(type) << " " << value.text << ": "
                               << row_value.error().message;
        decoded.push_back(*row_value);
        ranks.push_back(value.rank);
      }
    }
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      for (std::size_t j = 0; j < decoded.size(); ++j) {
        ASSERT_EQ(decoded[i] <=> decoded[j], ranks[i] <=> ranks[j])
            << sql_name(type) << ": " << values[i / 2].text << " and " << values[j / 2].text;
      }
    }
  }
}

}  // namespace
}  // namespace pgshunt
