#include "proxy/catalog_loader.h"

#include <libpq-fe.h>

#include <chrono>
#include <span>
#include <string_view>
#include <vector>

#include "proxy/log/log.h"
#include "router/catalog.h"

namespace pgshunt {
namespace {

constexpr auto kRetryAfter = std::chrono::seconds(1);

struct PgConnDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct PgResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, PgConnDeleter>;
using QueryResult = std::unique_ptr<PGresult, PgResultDeleter>;

const char* sslmode_name(SslMode mode) {
  switch (mode) {
    case SslMode::kDisable:
      return "disable";
    case SslMode::kAllow:
      return "allow";
    case SslMode::kPrefer:
      return "prefer";
    case SslMode::kRequire:
      return "require";
    case SslMode::kVerifyCa:
      return "verify-ca";
    case SslMode::kVerifyFull:
      return "verify-full";
  }
  return "prefer";
}

// Whom the catalogs are read as: the database's own user, auth_user, or the first configured user
// whose password is known. Reading pg_catalog takes no privilege.
bool choose_user(const Config& config, const DatabaseConfig& database, std::string& user,
                 std::string& password) {
  if (!database.force_user.empty()) {
    user = database.force_user;
    password = database.force_password;
    return true;
  }
  const auto plain = [](const UserConfig& candidate) {
    return !candidate.secret.starts_with("md5") && !candidate.secret.starts_with("SCRAM-SHA-256$");
  };
  const std::string& preferred = database.auth_user.empty() ? config.auth_user : database.auth_user;
  if (const auto found = config.users.find(preferred);
      found != config.users.end() && plain(found->second)) {
    user = preferred;
    password = found->second.secret;
    return true;
  }
  for (const auto& [name, candidate] : config.users) {
    if (!plain(candidate) || candidate.secret.empty()) continue;
    user = name;
    password = candidate.secret;
    return true;
  }
  return false;
}

Result<QueryResult> run(PGconn* connection, std::string_view query) {
  QueryResult result(PQexec(connection, std::string(query).c_str()));
  if (PQresultStatus(result.get()) == PGRES_TUPLES_OK) return result;
  return Error{sqlstate::kConnectionFailure, PQerrorMessage(connection), {}};
}

Result<std::shared_ptr<const Topology>> read_catalog(const Config& config,
                                                     const Database& database) {
  std::string user;
  std::string password;
  if (!choose_user(config, database.config, user, password)) {
    return Error{sqlstate::kInvalidAuthorization,
                 "no user with a known password to read the catalogs with",
                 "Give the database a force_user, or auth_user a password under [users]."};
  }
  const ShardConfig& shard = database.config.shards.front();
  const std::string port = std::to_string(shard.primary.port);
  const std::string& dbname = shard.dbname.empty() ? database.config.name : shard.dbname;
  const char* const keys[] = {"host",
                              "port",
                              "dbname",
                              "user",
                              "password",
                              "sslmode",
                              "sslrootcert",
                              "sslcert",
                              "sslkey",
                              "connect_timeout",
                              "application_name",
                              nullptr};
  const char* const values[] = {shard.primary.host.c_str(),
                                port.c_str(),
                                dbname.c_str(),
                                user.c_str(),
                                password.c_str(),
                                sslmode_name(config.server_tls.mode),
                                config.server_tls.ca_file.c_str(),
                                config.server_tls.cert_file.c_str(),
                                config.server_tls.key_file.c_str(),
                                "5",
                                "pgshunt catalog",
                                nullptr};
  const Connection connection(PQconnectdbParams(keys, values, 0));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return Error{sqlstate::kCannotConnect, PQerrorMessage(connection.get()), {}};
  }
  TopologyBuilder builder;
  if (auto declared = declare_topology(database.config, builder); !declared) {
    return declared.error();
  }
  CatalogReader reader(builder);
  using AddRow = Status (CatalogReader::*)(std::span<const std::string_view>);
  const auto pour = [&](std::string_view query, AddRow add) -> Status {
    auto result = run(connection.get(), query);
    if (!result) return result.error();
    std::vector<std::string_view> row;
    for (int i = 0; i < PQntuples(result->get()); ++i) {
      row.clear();
      for (int column = 0; column < PQnfields(result->get()); ++column) {
        row.emplace_back(PQgetvalue(result->get(), i, column));
      }
      if (auto added = (reader.*add)(row); !added) return added;
    }
    return Ok{};
  };
  if (auto read = pour(kCatalogColumnsQuery, &CatalogReader::add_column_row); !read) {
    return read.error();
  }
  reader.finish_columns();
  if (auto read = pour(kCatalogFunctionsQuery, &CatalogReader::add_function_row); !read) {
    return read.error();
  }
  if (auto read = pour(kCatalogRelationsQuery, &CatalogReader::add_relation_row); !read) {
    return read.error();
  }
  return builder.build(database.topology->epoch + 1);
}

}  // namespace

CatalogLoader::CatalogLoader(Loaded loaded)
    : loaded_(std::move(loaded)), thread_([this] { work(); }) {}

CatalogLoader::~CatalogLoader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void CatalogLoader::load(std::shared_ptr<const Snapshot> snapshot) {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = std::move(snapshot);
  }
  wake_.notify_all();
}

void CatalogLoader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || wanted_; });
    if (stopping_) return;
    const std::shared_ptr<const Snapshot> snapshot = wanted_;
    lock.unlock();
    auto known = std::make_shared<Snapshot>(*snapshot);
    bool complete = true;
    for (auto& [name, database] : known->databases) {
      if (!database->topology) continue;
      auto topology = read_catalog(*snapshot->config, *database);
      if (!topology) {
        complete = false;
        log_event(LogLevel::kWarning, "catalog_not_read",
                  {.database = name, .shard = database->config.shards.front().name},
                  topology.error().message);
        continue;
      }
      auto informed = std::make_shared<Database>(*database);
      informed->topology = std::move(*topology);
      database = std::move(informed);
    }
    if (complete) loaded_(known);
    lock.lock();
    if (wanted_ != snapshot) continue;
    if (complete) {
      wanted_.reset();
    } else {
      wake_.wait_for(lock, kRetryAfter, [&] { return stopping_ || wanted_ != snapshot; });
    }
  }
}

}  // namespace pgshunt
