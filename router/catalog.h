// What the router wants to know of a shard's catalog, and how to ask for it. The router opens no
// connections: the proxy runs the queries and pours the rows in.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/shard_catalog.h"

namespace pgshunt {

// Takes the rows of kCatalogQueries, each query's in any chunks. Errors are XX000: the answer does
// not look like one.
class CatalogReader {
 public:
  using Row = std::span<const std::string_view>;

  Status add_server_row(Row row);
  Status add_column_row(Row row);
  Status add_key_row(Row row);
  Status add_function_row(Row row);
  Status add_type_row(Row row);
  Status add_relation_row(Row row);
  // After the others: what to ask of the sequences that were found; empty if there are none.
  std::string sequences_query() const;
  Status add_sequence_row(Row row);
  Status add_obstacle_row(Row row);

  // After the last row; leaves the reader empty.
  ShardCatalog finish();

 private:
  ShardCatalog catalog_;
};

// In this order, best under one snapshot (REPEATABLE READ). All columns are text, none is NULL.
struct CatalogQuery {
  std::string_view sql;
  Status (CatalogReader::*add)(CatalogReader::Row);
};
extern const std::span<const CatalogQuery> kCatalogQueries;

// Hands the catalogs of a database's shards to the builder that has them declared: what the first
// shard's says counts, where others differ becomes Drift. Null: not known, then nothing is said of
// that shard. Without the first one there is nothing to compare with, and nothing happens.
void describe_catalogs(TopologyBuilder& builder, std::span<const ShardCatalog* const> catalogs);

// Where the shards differ in what bears on the declared tables, and on functions and types.
std::vector<Drift> compare_catalogs(const Topology& declared,
                                    std::span<const ShardCatalog* const> catalogs);

}  // namespace pgshunt
