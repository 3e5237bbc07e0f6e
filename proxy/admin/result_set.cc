#include "proxy/admin/result_set.h"

#include "protocol/backend.h"
#include "protocol/frame.h"
#include "router/key_type.h"

namespace pgshunt {
namespace {

std::uint32_t oid_of(ColumnType type) {
  switch (type) {
    case ColumnType::kText:
      return type_oid::kText;
    case ColumnType::kInt4:
      return type_oid::kInt4;
    case ColumnType::kInt8:
      return type_oid::kInt8;
  }
  return type_oid::kText;
}

std::int16_t size_of(ColumnType type) {
  switch (type) {
    case ColumnType::kText:
      return -1;
    case ColumnType::kInt4:
      return 4;
    case ColumnType::kInt8:
      return 8;
  }
  return -1;
}

std::uint16_t format_of(std::span<const std::uint16_t> formats, std::size_t column) {
  if (formats.empty()) return kFormatText;
  return formats[formats.size() == 1 ? 0 : column];
}

// Text is the same in both forms.
void to_binary(std::string& value, ColumnType type) {
  if (type == ColumnType::kText) return;
  std::int64_t number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  if (type == ColumnType::kInt4) {
    value.resize(4);
    store_be32(value.data(), static_cast<std::uint32_t>(number));
  } else {
    value.resize(8);
    store_be64(value.data(), static_cast<std::uint64_t>(number));
  }
}

}  // namespace

void append_columns(std::string& out, std::span<const AdminColumn> columns,
                    std::span<const std::uint16_t> formats) {
  std::vector<FieldDescription> fields;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    FieldDescription field;
    field.name = columns[i].name;
    field.type_oid = oid_of(columns[i].type);
    field.type_size = size_of(columns[i].type);
    field.format = format_of(formats, i);
    fields.push_back(field);
  }
  append_row_description(out, fields);
}

void ResultSet::append_rows(std::string& out, std::size_t first, std::size_t count,
                            std::span<const std::uint16_t> formats) const {
  std::vector<std::string> texts(columns_.size());
  std::vector<WireValue> values(columns_.size());
  for (std::size_t row = first; row < first + count; ++row) {
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      values[column] = {};
      const std::string* text = cell(row, column);
      if (!text) continue;
      texts[column] = *text;
      if (format_of(formats, column) == kFormatBinary) {
        to_binary(texts[column], columns_[column].type);
      }
      values[column] = {false, texts[column]};
    }
    append_data_row(out, values);
  }
}

}  // namespace pgshunt
