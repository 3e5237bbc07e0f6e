// What the router wants to know of a database's catalog, and how to ask for it. The router opens no
// connections: the proxy runs the queries on the first shard and pours the rows in.
#pragma once

#include <span>
#include <string_view>

#include "protocol/result.h"
#include "router/topology.h"

namespace pgshunt {

// Columns of every user table, in attribute order. Eight text columns: schema, table, column, type
// OID, type modifier, default ('none', 'same', 'differs', 'generated'), bytewise ('t', 'f'),
// deterministic.
extern const std::string_view kCatalogColumnsQuery;
// Functions outside pg_catalog. Two text columns: name, behaviour ('portable', 'local', 'reads').
extern const std::string_view kCatalogFunctionsQuery;
// Views, foreign tables and partitions. Two text columns: schema, name.
extern const std::string_view kCatalogRelationsQuery;

// Takes the queries' rows, each query's in any chunks, and hands what they say to a builder. Errors
// are XX000: the answer does not look like one.
class CatalogReader {
 public:
  explicit CatalogReader(TopologyBuilder& builder) : builder_(builder) {}

  Status add_column_row(std::span<const std::string_view> row);
  // After the last column's row.
  void finish_columns();
  Status add_function_row(std::span<const std::string_view> row);
  Status add_relation_row(std::span<const std::string_view> row);

 private:
  TopologyBuilder& builder_;
  std::string schema_;
  std::string table_;
  std::vector<Column> columns_;
};

}  // namespace pgshunt
