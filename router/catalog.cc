#include "router/catalog.h"

#include <charconv>
#include <utility>

namespace pgshunt {

// A default is the same everywhere only if it is visibly a constant; whatever calls a function
// counts as different. A domain may bring a default of its own. Collations that sort bytewise are C
// and its kin; 'd' stands for the database's.
const std::string_view kCatalogColumnsQuery = R"(
SELECT n.nspname::text, c.relname::text, a.attname::text, a.atttypid::oid::text, a.atttypmod::text,
       CASE WHEN a.attidentity <> '' THEN 'differs'
            WHEN a.attgenerated <> '' THEN 'generated'
            WHEN d.adbin IS NULL AND t.typdefault IS NULL THEN 'none'
            WHEN d.adbin IS NULL THEN 'differs'
            WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~
                 '^(NULL|true|false|-?[0-9.]+|\(-?[0-9.]+\)|''([^'']|'''')*'')(::[a-z0-9_ ."()\[\]]+)?$'
            THEN 'same'
            ELSE 'differs' END,
       CASE WHEN l.oid IS NULL THEN 'f'
            WHEN l.collprovider = 'c' AND l.collcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') THEN 't'
            WHEN l.collprovider = 'd' AND b.datlocprovider = 'c'
                 AND b.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') THEN 't'
            ELSE 'f' END,
       CASE WHEN coalesce(l.collisdeterministic, true) THEN 't' ELSE 'f' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database()
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1, 2, a.attnum)";

// Immutable functions read no tables by their own declaration. C code that is not immutable is an
// extension's, and reads none of ours either; functions in SQL and procedural languages do.
const std::string_view kCatalogFunctionsQuery = R"(
SELECT p.proname::text,
       CASE WHEN p.provolatile = 'i' AND p.prokind = 'f' AND NOT p.proretset THEN 'portable'
            WHEN l.lanname IN ('c', 'internal') AND p.prokind = 'f' THEN 'local'
            ELSE 'reads' END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema'))";

const std::string_view kCatalogRelationsQuery = R"(
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('v', 'm', 'f') OR c.relispartition)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))";

namespace {

template <class Int>
bool parse(std::string_view text, Int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

ColumnDefault default_of(std::string_view text) {
  if (text == "none") return ColumnDefault::kNone;
  return text == "same" || text == "generated" ? ColumnDefault::kSame : ColumnDefault::kDiffers;
}

Error not_understood() {
  return {sqlstate::kInternalError, "the catalog's answer is not understood", {}};
}

}  // namespace

Status CatalogReader::add_column_row(std::span<const std::string_view> row) {
  Column column;
  if (row.size() != 8 || !parse(row[3], column.type_oid) || !parse(row[4], column.type_modifier)) {
    return not_understood();
  }
  if (row[0] != schema_ || row[1] != table_) {
    finish_columns();
    schema_ = row[0];
    table_ = row[1];
  }
  column.name = row[2];
  column.fallback = default_of(row[5]);
  column.generated = row[5] == "generated";
  column.bytewise = row[6] == "t";
  column.deterministic = row[7] == "t";
  columns_.push_back(std::move(column));
  return Ok{};
}

void CatalogReader::finish_columns() {
  if (!columns_.empty()) builder_.set_columns(schema_, table_, std::exchange(columns_, {}));
}

Status CatalogReader::add_function_row(std::span<const std::string_view> row) {
  if (row.size() != 2) return not_understood();
  UserFunctionClass behaviour = UserFunctionClass::kMayRead;
  if (row[1] == "portable") behaviour = UserFunctionClass::kPortable;
  if (row[1] == "local") behaviour = UserFunctionClass::kLocal;
  builder_.add_user_function(row[0], behaviour);
  return Ok{};
}

Status CatalogReader::add_relation_row(std::span<const std::string_view> row) {
  if (row.size() != 2) return not_understood();
  builder_.add_opaque_relation(row[0], row[1]);
  return Ok{};
}

}  // namespace pgshunt
