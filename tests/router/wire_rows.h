// Rows and their descriptions as shards send them, for tests that make them up.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/backend.h"

namespace pgshunt {

using Cell = std::optional<std::string>;

// The body of a RowDescription with columns a, b, c, ... of these types.
inline std::string wire_description(const std::vector<std::uint32_t>& types) {
  static const std::vector<std::string> kNames = {"a", "b", "c", "d", "e", "f", "g"};
  std::vector<FieldDescription> fields;
  for (std::size_t i = 0; i < types.size(); ++i) {
    FieldDescription field;
    field.name = kNames.at(i);
    field.type_oid = types[i];
    fields.push_back(field);
  }
  std::string out;
  append_row_description(out, fields);
  return out.substr(kFrameHeaderSize);
}

// The body of a DataRow.
inline std::string wire_row(const std::vector<Cell>& cells) {
  std::vector<WireValue> values;
  for (const Cell& cell : cells) values.push_back(cell ? WireValue{false, *cell} : WireValue{});
  std::string out;
  append_data_row(out, values);
  return out.substr(kFrameHeaderSize);
}

inline std::vector<Cell> cells_of(std::string_view body) {
  std::vector<Cell> out;
  const auto row = decode_data_row(body);
  for (const WireValue& value : *row) {
    out.push_back(value.is_null ? Cell() : Cell(std::string(value.bytes)));
  }
  return out;
}

}  // namespace pgshunt
