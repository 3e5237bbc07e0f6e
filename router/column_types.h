// What the catalog says of the columns that an expression names: its type, as far as that shows,
// and whether texts sort and compare as their bytes.
#pragma once

#include <cstdint>
#include <optional>

#include "router/sql_tree.h"
#include "router/table_scope.h"
#include "router/topology.h"

namespace pgshunt {

class ColumnTypes {
 public:
  explicit ColumnTypes(const TableScope& scope) : scope_(scope) {}

  // The column that a reference means, if it can be told and is known; else null.
  const Column* find(const Expr& reference) const;
  // OID of the expression's type; nothing where only a server could say. Of arithmetic it is told
  // apart no further than floats from other numbers (numeric).
  std::optional<std::uint32_t> type_of(const Expr& expr) const;
  // If it is text, does it sort as its bytes do? Every text column in it must, and there must be
  // one: the collation of constants and of casts from other types is the database's, which is not
  // known by itself.
  bool is_bytewise(const Expr& expr) const;
  // If it is text, are only equal bytes equal?
  bool is_deterministic(const Expr& expr) const;

 private:
  bool collects_bytewise(const Expr& expr, bool& any) const;

  const TableScope& scope_;
};

bool is_text_type(std::uint32_t oid);

}  // namespace pgshunt
