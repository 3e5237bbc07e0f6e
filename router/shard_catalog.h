// One shard's catalog as far as routing asks: plain data, comparable, read by the queries of
// router/catalog.h.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "router/topology.h"

namespace pgshunt {

struct CatalogColumn {
  Column column;
  std::string type;                // "schema.name"; OIDs of the application's types differ by shard
  bool sequence_readable = false;  // by who reads the catalog
  std::string fallback;            // the default's or the generated column's expression
  std::string collation;           // "schema.name"; empty: none
  // How the collation sorts: provider, locale and the version of the library that does it.
  std::string locale;
  std::string locale_version;
  friend bool operator==(const CatalogColumn&, const CatalogColumn&) = default;
};

struct CatalogTable {
  std::string schema;
  std::string name;
  std::vector<CatalogColumn> columns;  // in attribute order, dropped ones left out
  std::vector<UniqueKey> keys;         // by name
  std::vector<MoveObstacle> move_obstacles;
  friend bool operator==(const CatalogTable&, const CatalogTable&) = default;
};

// A type outside pg_catalog.
struct CatalogType {
  std::string schema;
  std::string name;
  std::uint32_t oid = 0;
  char kind = 'b';            // pg_type.typtype
  std::uint32_t element = 0;  // of an array; a domain's base; a range's subtype
  bool array = false;
  std::vector<std::uint32_t> fields;  // of a composite
  std::vector<std::string> labels;    // of an enum, in their order
  friend bool operator==(const CatalogType&, const CatalogType&) = default;
};

// What a sequence gives is `residue`, or that and a multiple of `increment`.
struct CatalogSequence {
  std::string name;  // as SQL names it
  std::int64_t increment = 1;
  std::int64_t residue = 0;
  bool used = false;
  bool cycles = false;
  friend bool operator==(const CatalogSequence&, const CatalogSequence&) = default;
};

struct ShardCatalog {
  std::uint32_t server_version = 0;  // 150004
  std::string encoding;
  std::string id_slot;  // pgshunt.shard_slot(); empty: pgshunt.unique_id() is not there
  std::vector<CatalogTable> tables;             // by schema and name
  std::vector<UserFunctionOverload> functions;  // by schema, name and arguments
  std::vector<CatalogType> types;               // by schema and name
  std::vector<RelationName> opaque;
  std::vector<CatalogSequence> sequences;  // by name
  friend bool operator==(const ShardCatalog&, const ShardCatalog&) = default;

  const CatalogTable* find_table(const std::string& schema, const std::string& name) const {
    for (const CatalogTable& table : tables) {
      if (table.name == name && table.schema == schema) return &table;
    }
    return nullptr;
  }
};

}  // namespace pgshunt
