// Rows of the console and their form on the wire, in text or binary as the client asks.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/wire_value.h"

namespace pgshunt {

// Few on purpose: every driver knows these, and each has a one-line binary form.
enum class ColumnType : std::uint8_t { kText, kInt4, kInt8 };

struct AdminColumn {
  std::string_view name;
  ColumnType type = ColumnType::kText;
};

// A table of values, filled row by row: `rows.add(..).add(..)` in the order of the columns.
class ResultSet {
 public:
  explicit ResultSet(std::span<const AdminColumn> columns) : columns_(columns) {}

  ResultSet& add(std::string_view text) {
    cells_.emplace_back(std::string(text));
    return *this;
  }
  template <std::integral Number>
  ResultSet& add(Number value) {
    cells_.emplace_back(std::to_string(value));
    return *this;
  }
  ResultSet& add_null() {
    cells_.emplace_back(std::nullopt);
    return *this;
  }
  template <class Value>
  ResultSet& add_optional(const std::optional<Value>& value) {
    return value ? add(*value) : add_null();
  }

  std::span<const AdminColumn> columns() const { return columns_; }
  std::size_t rows() const { return columns_.empty() ? 0 : cells_.size() / columns_.size(); }
  // The cell as text; null if it is NULL.
  const std::string* cell(std::size_t row, std::size_t column) const {
    const auto& value = cells_[row * columns_.size() + column];
    return value ? &*value : nullptr;
  }

  // Appends rows [first, first + count) as DataRow messages.
  void append_rows(std::string& out, std::size_t first, std::size_t count,
                   std::span<const std::uint16_t> formats) const;

 private:
  std::span<const AdminColumn> columns_;
  std::vector<std::optional<std::string>> cells_;
};

// `formats`: as in Bind: none (all text), one for all, or one for each column.
void append_columns(std::string& out, std::span<const AdminColumn> columns,
                    std::span<const std::uint16_t> formats);

}  // namespace pgshunt
