// In which order rows come: the columns of ORDER BY as they stand in a shard's rows, and how two
// rows compare by them. Only by types and collations whose order is proven to be PostgreSQL's.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/backend.h"
#include "protocol/result.h"
#include "protocol/row_value.h"
#include "router/merge_spec.h"

namespace pgshunt {

// Has a column of this type, sent in that format, an order known here? `bytewise`: as in SortKey.
// 0A000 if not. `purpose`: what it is wanted for, "ORDER BY".
Result<ValueType> ordered_type(const FieldDescription& field, std::uint16_t format, bool bytewise,
                               const RowWindow& settings, std::string_view purpose);

class RowOrder {
 public:
  // Of rows that are described by `columns`, of which `visible` are the client's. `formats`: of the
  // Bind sent to the shards; null for a simple query, where everything is text. 42P10 for an
  // ordinal past the client's columns.
  static Result<RowOrder> create(const std::vector<SortKey>& keys, const RowWindow& settings,
                                 const RowDescriptionView& columns, std::uint16_t visible,
                                 const FormatList* formats);

  std::size_t size() const { return columns_.size(); }
  bool empty() const { return columns_.empty(); }

  // What a row's place depends on, size() values. Texts are views into the row.
  using Values = std::vector<RowValue>;
  Values no_values() const;
  Status read(const ValueList& row, RowValue* values) const;

  // By values that read() made.
  std::weak_ordering compare(const RowValue* a, const RowValue* b) const;
  // Do two rows agree in the first `keys` columns?
  Result<bool> agree(const ValueList& a, const ValueList& b, std::size_t keys) const;

 private:
  struct SortColumn {
    std::uint16_t position;  // in the shards' rows
    ValueType type;
    std::uint16_t format;
    bool descending;
    bool nulls_first;
  };
  std::vector<SortColumn> columns_;
};

}  // namespace pgshunt
