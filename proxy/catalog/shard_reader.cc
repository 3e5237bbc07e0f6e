#include "proxy/catalog/shard_reader.h"

#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "router/catalog.h"

namespace pgshunt {
namespace {

constexpr auto kCatalogTimeout = std::chrono::seconds(10);

}  // namespace

CatalogSource catalog_source(const Config& config, const DatabaseConfig& database,
                             std::size_t shard) {
  auto user = control_user(config, database);
  CatalogSource source;
  if (!user) {
    source.problem =
        "there is no user with a known password to read catalogs as: give the database a "
        "force_user, or auth_user a password under [users]";
    user.emplace();
  }
  source.target = control_target(config, database, database.shards[shard], std::move(*user));
  return source;
}

Result<ShardCatalog> read_shard_catalog(const ControlTarget& target,
                                        const std::atomic<bool>& stop) {
  auto connection = ControlConnection::open(target, "pgshunt catalog", kCatalogTimeout, stop);
  if (!connection) return connection.error();
  if (auto begun = connection->query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); !begun) {
    return begun.error();
  }
  CatalogReader reader;
  std::vector<std::string_view> views;
  const auto ask = [&](std::string_view sql,
                       Status (CatalogReader::*add)(CatalogReader::Row)) -> Status {
    const auto rows = connection->query(sql);
    if (!rows) return rows.error();
    for (const ControlConnection::Row& row : *rows) {
      views.assign(row.begin(), row.end());
      if (const Status added = (reader.*add)(views); !added) return added.error();
    }
    return Ok{};
  };
  for (const CatalogQuery& query : kCatalogQueries) {
    if (const Status asked = ask(query.sql, query.add); !asked) return asked.error();
  }
  if (const std::string sql = reader.sequences_query(); !sql.empty()) {
    if (const Status asked = ask(sql, &CatalogReader::add_sequence_row); !asked) {
      return asked.error();
    }
  }
  return reader.finish();
}

}  // namespace pgshunt
