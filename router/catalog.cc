#include "router/catalog.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <utility>

#include "router/shared_sequences.h"

namespace pgshunt {
namespace {

// Temporary tables and types are their sessions' own.
#define PGSHUNT_OURS                                       \
  "n.nspname NOT IN ('pg_catalog', 'information_schema') " \
  "AND n.nspname !~ '^pg_(toast|temp)'"

constexpr std::string_view kServerQuery = R"(
SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_encoding'),
       coalesce((SELECT pg_catalog.substring(p.prosrc, 'SELECT ([0-9]{1,3})::bigint')
                 FROM pg_catalog.pg_proc p
                 WHERE p.oid = pg_catalog.to_regprocedure('pgshunt.shard_slot()')
                   AND pg_catalog.to_regprocedure('pgshunt.unique_id()') IS NOT NULL), ''))";

// A default is the same everywhere only if it is visibly a constant; whatever calls a function
// counts as different. A domain may bring a default of its own. Collations that sort bytewise are C
// and its kin; 'd' stands for the database's.
constexpr std::string_view kColumnsQuery = R"(
WITH b AS MATERIALIZED (
  SELECT d.datlocprovider, d.datcollate,
         pg_catalog.concat_ws(':', d.datlocprovider, d.datcollate, d.datctype,
                              pg_catalog.to_jsonb(d)->>'daticulocale',
                              pg_catalog.to_jsonb(d)->>'datlocale') AS locale,
         coalesce(pg_catalog.pg_database_collation_actual_version(d.oid), '') AS version
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
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
       CASE WHEN coalesce(l.collisdeterministic, true) THEN 't' ELSE 'f' END,
       CASE WHEN a.attnotnull THEN 't' ELSE 'f' END,
       tn.nspname || '.' || t.typname,
       coalesce(ln.nspname || '.' || l.collname, ''),
       CASE WHEN l.oid IS NULL THEN ''
            WHEN l.collprovider = 'd' THEN b.locale
            ELSE pg_catalog.concat_ws(':', l.collprovider, l.collcollate, l.collctype,
                                      pg_catalog.to_jsonb(l)->>'colliculocale',
                                      pg_catalog.to_jsonb(l)->>'colllocale') END,
       CASE WHEN l.oid IS NULL THEN ''
            WHEN l.collprovider = 'd' THEN b.version
            ELSE coalesce(pg_catalog.pg_collation_actual_version(l.oid), '') END,
       coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),
       coalesce(q.name, ''),
       CASE WHEN a.attidentity <> '' THEN a.attidentity::text
            WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\(''([^'']|'''')*''::regclass\)$'
            THEN 't' ELSE 'f' END,
       CASE WHEN q.readable THEN 't' ELSE 'f' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
CROSS JOIN b
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
  SELECT pg_catalog.quote_ident(sn.nspname) || '.' || pg_catalog.quote_ident(sc.relname) AS name,
         pg_catalog.has_table_privilege(sc.oid, 'SELECT') AS readable
  FROM pg_catalog.pg_depend p
  JOIN pg_catalog.pg_class sc ON sc.relkind = 'S' AND sc.oid =
    CASE WHEN p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN p.refobjid ELSE p.objid END
  JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace
  WHERE p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND (p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
         OR a.attidentity <> '' AND p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND p.deptype = 'i' AND p.refobjid = c.oid AND p.refobjsubid = a.attnum)
  ORDER BY 1 LIMIT 1) q ON true
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace
WHERE c.relkind IN ('r', 'p') AND )" PGSHUNT_OURS R"(
ORDER BY 1, 2, a.attnum)";

constexpr std::string_view kKeysQuery = R"(
SELECT n.nspname::text, c.relname::text, ic.relname::text,
       CASE WHEN i.indisprimary THEN 't' ELSE 'f' END, a.attname::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.place <= i.indnkeyatts AND )" PGSHUNT_OURS R"(
ORDER BY 1, 2, 3, k.place)";

// Immutable functions read no tables by their own declaration. C code that is not immutable is an
// extension's, and reads none of ours either; functions in SQL and procedural languages do, but for
// those whose code has no word by which SQL or PL/pgSQL could, nor one that tells the time, a
// setting or who asks, and that name no other such function. What their operators and casts call is
// immutable.
constexpr std::string_view kFunctionsQuery = R"(
WITH others AS (
  SELECT p.oid, pg_catalog.lower(p.proname) AS name FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.provolatile <> 'i' AND )" PGSHUNT_OURS R"(),
hidden AS (
  SELECT EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN others f ON f.oid = o.oprcode)
      OR EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN others f ON f.oid = c.castfunc) AS calls)
SELECT n.nspname::text, p.proname::text, pg_catalog.oidvectortypes(p.proargtypes),
       p.proargtypes::text, p.provolatile::text, p.prokind::text, l.lanname::text,
       CASE WHEN p.provolatile = 'i' AND p.prokind = 'f' AND NOT p.proretset THEN 'portable'
            WHEN l.lanname IN ('c', 'internal') AND p.prokind = 'f' THEN 'local'
            WHEN l.lanname IN ('sql', 'plpgsql') AND p.prokind = 'f' AND p.prosrc <> ''
                 AND p.proargdefaults IS NULL AND p.prosrc !~* 'u&' AND p.prosrc !~* '\m(from|table|execute|perform|insert|update|delete|merge|copy|call|do|truncate|lock|listen|unlisten|notify|open|fetch|move|close|cursor|query|set|reset|prepare|create|alter|drop|grant|revoke|vacuum|analyze|cluster|refresh|reindex|import|load|checkpoint|discard|commit|rollback|savepoint|returning|with|now|age|today|tomorrow|yesterday|timeofday|current_\w+|session_user|user|local\w*|\w*timestamp|\w+_to_xml\w*|ts_\w+|nextval|setval|currval|lastval|pg_\w+|has_\w+|to_reg\w+|reg(class|type|proc|oper|role|namespace|config|dictionary|collation)\w*|oid|txid_\w+|\w*_description|lo_\w+|\w*config|format_type|inet_\w+|version|dblink\w*|crosstab\w*|connectby|xpath_table)\M'
                 AND NOT hidden.calls
                 AND NOT EXISTS (SELECT FROM others o WHERE o.oid <> p.oid
                                 AND pg_catalog.strpos(pg_catalog.lower(p.prosrc), o.name) > 0)
            THEN 'local'
            WHEN p.prokind = 'a' AND NOT EXISTS (
                 SELECT FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc f ON f.oid IN (
                   a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                   a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
                 WHERE a.aggfnoid = p.oid AND f.provolatile <> 'i') THEN 'aggregate'
            ELSE 'reads' END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
CROSS JOIN hidden
WHERE )" PGSHUNT_OURS;

// An array has the subscripting of one; a base type of fixed length may have an element too
// (point).
constexpr std::string_view kTypesQuery = R"(
SELECT n.nspname::text, t.typname::text, t.oid::text, t.typtype::text,
       CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem::text
            WHEN t.typtype = 'd' THEN t.typbasetype::text
            ELSE coalesce((SELECT r.rngsubtype::text FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid), '0') END,
       CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN 't' ELSE 'f' END,
       coalesce((SELECT pg_catalog.string_agg(a.atttypid::pg_catalog.text, ' ' ORDER BY a.attnum)
                 FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), ''),
       coalesce((SELECT pg_catalog.string_agg(e.enumlabel, pg_catalog.chr(31) ORDER BY e.enumsortorder)
                 FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), '')
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r', 'm') AND )" PGSHUNT_OURS;

constexpr std::string_view kRelationsQuery = R"(
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('v', 'm', 'f') OR c.relispartition) AND )" PGSHUNT_OURS R"(
ORDER BY 1, 2)";

// What would make a row that moves to another shard different from one that is updated.
constexpr std::string_view kObstaclesQuery = R"(
SELECT n.nspname::text, c.relname::text, o.what, o.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT 'has triggers' AS what, '' AS attname
  WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
  UNION ALL SELECT 'has rules', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)
  UNION ALL SELECT 'has row security', '' WHERE c.relrowsecurity
  UNION ALL SELECT 'has partitions or children', '' WHERE c.relhassubclass
  UNION ALL SELECT 'is referred to by foreign keys', ''
  WHERE EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.confrelid = c.oid AND k.contype = 'f')
  UNION ALL
  SELECT 'has a foreign key of which the shard key is a part', a.attname::text
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
  WHERE k.conrelid = c.oid AND k.contype = 'f'
  UNION ALL
  SELECT 'has defaults or checks that may read tables or the time of the statement', '*'
  WHERE EXISTS (SELECT FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_depend d ON d.objid = k.oid
                WHERE k.conrelid = c.oid AND k.contype = 'c' AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                  AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
     OR EXISTS (SELECT FROM pg_catalog.pg_attrdef f, pg_catalog.pg_get_expr(f.adbin, f.adrelid) text
                WHERE f.adrelid = c.oid AND text <> 'pgshunt.unique_id()' AND
                  (text ~ 'statement_timestamp|currval|lastval|pg_|(query|table|schema|database|cursor)_'
                   OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                              WHERE d.objid = f.oid AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                                AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass)))) o
WHERE c.relkind IN ('r', 'p') AND )" PGSHUNT_OURS R"(
ORDER BY 1, 2, 3, 4)";

#undef PGSHUNT_OURS

template <class Int>
bool parse(std::string_view text, Int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_oids(std::string_view text, std::vector<std::uint32_t>& out) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    std::uint32_t oid = 0;
    if (!parse(text.substr(0, end), oid)) return false;
    out.push_back(oid);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return true;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  for (;;) {
    const std::size_t end = text.find(separator);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

ColumnDefault default_of(std::string_view text) {
  if (text == "none") return ColumnDefault::kNone;
  return text == "same" || text == "generated" ? ColumnDefault::kSame : ColumnDefault::kDiffers;
}

Error not_understood() {
  return {sqlstate::kInternalError, "the catalog's answer is not understood", {}};
}

constexpr std::array kQueries = {
    CatalogQuery{kServerQuery, &CatalogReader::add_server_row},
    CatalogQuery{kColumnsQuery, &CatalogReader::add_column_row},
    CatalogQuery{kKeysQuery, &CatalogReader::add_key_row},
    CatalogQuery{kFunctionsQuery, &CatalogReader::add_function_row},
    CatalogQuery{kTypesQuery, &CatalogReader::add_type_row},
    CatalogQuery{kRelationsQuery, &CatalogReader::add_relation_row},
    CatalogQuery{kObstaclesQuery, &CatalogReader::add_obstacle_row},
};

}  // namespace

const std::span<const CatalogQuery> kCatalogQueries = kQueries;

Status CatalogReader::add_server_row(Row row) {
  if (row.size() != 3 || !parse(row[0], catalog_.server_version)) return not_understood();
  catalog_.encoding = row[1];
  catalog_.id_slot = row[2];
  return Ok{};
}

Status CatalogReader::add_column_row(Row row) {
  CatalogColumn read;
  Column& column = read.column;
  if (row.size() != 17 || !parse(row[3], column.type_oid) || !parse(row[4], column.type_modifier)) {
    return not_understood();
  }
  auto& tables = catalog_.tables;
  if (tables.empty() || tables.back().schema != row[0] || tables.back().name != row[1]) {
    tables.emplace_back();
    tables.back().schema = row[0];
    tables.back().name = row[1];
  }
  column.name = row[2];
  column.fallback = default_of(row[5]);
  column.generated = row[5] == "generated";
  column.bytewise = row[6] == "t";
  column.deterministic = row[7] == "t";
  column.not_null = row[8] == "t";
  read.type = row[9];
  read.collation = row[10];
  read.locale = row[11];
  read.locale_version = row[12];
  read.fallback = row[13];
  column.sequence = row[14];
  read.sequence_readable = row[16] == "t";
  column.takes_number = !column.sequence.empty() && row[15] != "f";
  if (row[15] == "d") column.identity = Identity::kByDefault;
  if (row[15] == "a") column.identity = Identity::kAlways;
  column.unique_id = read.fallback == "pgshunt.unique_id()";
  tables.back().columns.push_back(std::move(read));
  return Ok{};
}

Status CatalogReader::add_key_row(Row row) {
  if (row.size() != 5) return not_understood();
  for (CatalogTable& table : catalog_.tables) {
    if (table.name != row[1] || table.schema != row[0]) continue;
    if (table.keys.empty() || table.keys.back().name != row[2]) {
      table.keys.push_back({std::string(row[2]), {}, row[3] == "t"});
    }
    table.keys.back().columns.emplace_back(row[4]);
  }
  return Ok{};
}

Status CatalogReader::add_obstacle_row(Row row) {
  if (row.size() != 4) return not_understood();
  for (CatalogTable& table : catalog_.tables) {
    if (table.name != row[1] || table.schema != row[0]) continue;
    table.move_obstacles.push_back({std::string(row[2]), std::string(row[3])});
  }
  return Ok{};
}

Status CatalogReader::add_function_row(Row row) {
  if (row.size() != 8 || row[4].size() != 1 || row[5].size() != 1) return not_understood();
  UserFunctionOverload function;
  function.schema = row[0];
  function.name = row[1];
  function.arguments = row[2];
  if (!parse_oids(row[3], function.argument_types)) return not_understood();
  function.volatility = row[4][0];
  function.kind = row[5][0];
  function.language = row[6];
  if (row[7] == "portable") function.behaviour = UserFunctionClass::kPortable;
  if (row[7] == "aggregate") function.behaviour = UserFunctionClass::kAggregate;
  if (row[7] == "local") function.behaviour = UserFunctionClass::kLocal;
  catalog_.functions.push_back(std::move(function));
  return Ok{};
}

Status CatalogReader::add_type_row(Row row) {
  if (row.size() != 8 || row[3].size() != 1) return not_understood();
  CatalogType type;
  type.schema = row[0];
  type.name = row[1];
  type.kind = row[3][0];
  type.array = row[5] == "t";
  type.labels = split(row[7], '\x1f');
  if (!parse(row[2], type.oid) || !parse(row[4], type.element) ||
      !parse_oids(row[6], type.fields)) {
    return not_understood();
  }
  catalog_.types.push_back(std::move(type));
  return Ok{};
}

Status CatalogReader::add_relation_row(Row row) {
  if (row.size() != 2) return not_understood();
  catalog_.opaque.push_back({std::string(row[0]), std::string(row[1])});
  return Ok{};
}

// Numbers of a sequence are in itself: each is read by a query of its own.
std::string CatalogReader::sequences_query() const {
  std::set<std::string> names;
  for (const CatalogTable& table : catalog_.tables) {
    for (const CatalogColumn& read : table.columns) {
      if (read.sequence_readable) names.insert(read.column.sequence);
    }
  }
  std::string sql;
  for (const std::string& name : names) {
    std::string literal = "'";
    for (const char each : name) literal.append(each == '\'' ? 2 : 1, each);
    literal += "'";
    sql.append(sql.empty() ? "SELECT " : " UNION ALL SELECT ").append(literal);
    sql.append(
        ", s.seqincrement::text, r.last_value::text, CASE WHEN r.is_called THEN 't' ELSE 'f' "
        "END, CASE WHEN s.seqcycle THEN 't' ELSE 'f' END FROM ");
    sql.append(name).append(" r, pg_catalog.pg_sequence s WHERE s.seqrelid = ");
    sql.append(literal).append("::pg_catalog.regclass");
  }
  return sql;
}

Status CatalogReader::add_sequence_row(Row row) {
  CatalogSequence sequence;
  std::int64_t value = 0;
  if (row.size() != 5 || !parse(row[1], sequence.increment) || !parse(row[2], value) ||
      sequence.increment == 0) {
    return not_understood();
  }
  sequence.name = row[0];
  sequence.residue = value % sequence.increment;
  sequence.used = row[3] == "t";
  sequence.cycles = row[4] == "t";
  catalog_.sequences.push_back(std::move(sequence));
  return Ok{};
}

// Servers sort names by collations of their own.
ShardCatalog CatalogReader::finish() {
  ShardCatalog catalog = std::exchange(catalog_, {});
  const auto by = [](const auto& key) {
    return [key](const auto& a, const auto& b) { return key(a) < key(b); };
  };
  const auto name = [](const auto& each) { return std::tie(each.schema, each.name); };
  std::sort(catalog.tables.begin(), catalog.tables.end(), by(name));
  std::sort(catalog.types.begin(), catalog.types.end(), by(name));
  std::sort(catalog.opaque.begin(), catalog.opaque.end(), by(name));
  std::sort(catalog.sequences.begin(), catalog.sequences.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::sort(catalog.functions.begin(), catalog.functions.end(),
            by([](const auto& each) { return std::tie(each.schema, each.name, each.arguments); }));
  for (CatalogTable& table : catalog.tables) {
    std::sort(table.keys.begin(), table.keys.end(),
              [](const UniqueKey& a, const UniqueKey& b) { return a.name < b.name; });
  }
  return catalog;
}

namespace {

// Every shard that is known has a slot, and no two the same.
bool have_id_slots(std::span<const ShardCatalog* const> catalogs) {
  std::set<std::string_view> slots;
  return std::all_of(catalogs.begin(), catalogs.end(), [&](const ShardCatalog* catalog) {
    return catalog == nullptr ||
           (!catalog->id_slot.empty() && slots.insert(catalog->id_slot).second);
  });
}

}  // namespace

void describe_catalogs(TopologyBuilder& builder, std::span<const ShardCatalog* const> catalogs) {
  if (catalogs.empty() || catalogs.front() == nullptr) return;
  const ShardCatalog& home = *catalogs.front();
  Topology& topology = builder.declared();
  topology.catalog_known = true;
  topology.unique_ids = have_id_slots(catalogs);
  topology.drift = compare_catalogs(topology, catalogs);
  for (const ShardCatalog* catalog : catalogs) {
    topology.knowledge.push_back(
        {catalog != nullptr, catalog == nullptr ? nullptr : TypeMap::between(*catalog, home)});
  }
  for (Table& table : topology.tables) {
    // An unsharded table may be on its own shard alone.
    const std::size_t where = table.placement == TablePlacement::kUnsharded ? table.home : 0;
    const ShardCatalog* catalog = where < catalogs.size() ? catalogs[where] : nullptr;
    const CatalogTable* found =
        catalog == nullptr ? nullptr : catalog->find_table(table.schema, table.name);
    if (found == nullptr) continue;
    std::vector<Column> columns;
    for (const CatalogColumn& column : found->columns) columns.push_back(column.column);
    if (table.placement == TablePlacement::kSharded) {
      const Keyspace& keyspace = topology.keyspaces[table.keyspace];
      if (!check_key_column(keyspace, table, columns)) continue;  // nothing may use it
    }
    table.columns = std::move(columns);
    table.keys = found->keys;
    if (table.placement == TablePlacement::kSharded) {
      for (Column& column : table.columns) {
        column.numbers = compare_sequences(column, catalogs);
        if (column.numbers != SequenceNumbers::kCollide || column.name == table.key_column)
          continue;
        // It is told of the last shard, which may have come last.
        topology.drift.push_back(
            {DriftEffect::kNumbers, static_cast<std::uint16_t>(topology.shards.size() - 1),
             table.schema, table.name, column.name,
             "takes numbers of sequence " + column.sequence + ", which other shards give too"});
      }
    }
    for (const ShardCatalog* each : catalogs) {
      const CatalogTable* there =
          each == nullptr ? nullptr : each->find_table(table.schema, table.name);
      if (there == nullptr) continue;
      for (const MoveObstacle& obstacle : there->move_obstacles) {
        table.move_obstacles.push_back(obstacle);
      }
    }
  }
  topology.overloads = home.functions;
  for (const UserFunctionOverload& function : home.functions) {
    builder.add_user_function(function.name, function.behaviour);
  }
  for (const CatalogType& type : home.types) {
    if (type.kind == 'e') {
      topology.enums.push_back({type.schema, type.name, type.oid, type.labels});
    }
  }
  for (const RelationName& relation : home.opaque) {
    builder.add_opaque_relation(relation.schema, relation.name);
  }
}

}  // namespace pgshunt
