#include "proxy/catalog/shard_reader.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <vector>

#include "router/catalog.h"

namespace pgshunt {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kCatalogTimeout = std::chrono::seconds(10);
// How soon a thread that waits for a server hears that it is to stop.
constexpr int kPollMs = 100;

struct PgConnDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct PgResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
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

bool choose_user(const Config& config, const DatabaseConfig& database, CatalogSource& source) {
  if (!database.force_user.empty()) {
    source.user = database.force_user;
    source.password = database.force_password;
    return true;
  }
  const auto plain = [](const UserConfig& candidate) {
    return !candidate.secret.starts_with("md5") && !candidate.secret.starts_with("SCRAM-SHA-256$");
  };
  const std::string& preferred = database.auth_user.empty() ? config.auth_user : database.auth_user;
  if (const auto found = config.users.find(preferred);
      found != config.users.end() && plain(found->second)) {
    source.user = preferred;
    source.password = found->second.secret;
    return true;
  }
  // Those of the console come last: they need not be known to any server.
  const auto of_console = [&](const std::string& name) {
    return std::find(config.admin_users.begin(), config.admin_users.end(), name) !=
               config.admin_users.end() ||
           std::find(config.stats_users.begin(), config.stats_users.end(), name) !=
               config.stats_users.end();
  };
  for (const bool console : {false, true}) {
    for (const auto& [name, candidate] : config.users) {
      if (!plain(candidate) || candidate.secret.empty() || of_console(name) != console) continue;
      source.user = name;
      source.password = candidate.secret;
      return true;
    }
  }
  return false;
}

class Reading {
 public:
  Reading(const CatalogSource& source, const std::atomic<bool>& stop)
      : source_(source), stop_(stop) {}

  Result<ShardCatalog> read() {
    if (const Status opened = connect(); !opened) return opened.error();
    if (auto begun = run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); !begun) {
      return begun.error();
    }
    CatalogReader reader;
    std::vector<std::string_view> row;
    for (const CatalogQuery& query : kCatalogQueries) {
      const auto result = run(query.sql);
      if (!result) return result.error();
      for (int i = 0; i < PQntuples(result->get()); ++i) {
        row.clear();
        for (int column = 0; column < PQnfields(result->get()); ++column) {
          row.emplace_back(PQgetvalue(result->get(), i, column),
                           static_cast<std::size_t>(PQgetlength(result->get(), i, column)));
        }
        if (const Status added = (reader.*query.add)(row); !added) return added.error();
      }
    }
    return reader.finish();
  }

 private:
  Status connect() {
    const std::string port = std::to_string(source_.port);
    const char* const keys[] = {"host",
                                "port",
                                "dbname",
                                "user",
                                "password",
                                "sslmode",
                                "sslrootcert",
                                "sslcert",
                                "sslkey",
                                "application_name",
                                "client_encoding",
                                nullptr};
    const char* const values[] = {source_.host.c_str(),
                                  port.c_str(),
                                  source_.dbname.c_str(),
                                  source_.user.c_str(),
                                  source_.password.c_str(),
                                  source_.sslmode.c_str(),
                                  source_.sslrootcert.c_str(),
                                  source_.sslcert.c_str(),
                                  source_.sslkey.c_str(),
                                  "pgshunt catalog",
                                  "UTF8",
                                  nullptr};
    connection_.reset(PQconnectStartParams(keys, values, 0));
    if (!connection_ || PQstatus(connection_.get()) == CONNECTION_BAD) return lost();
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
      if (next == PGRES_POLLING_FAILED) return refused();
      if (const Status ready = wait(next == PGRES_POLLING_READING ? POLLIN : POLLOUT); !ready) {
        return ready.error();
      }
      next = PQconnectPoll(connection_.get());
    }
    return Ok{};
  }

  Result<QueryResult> run(std::string_view query) {
    if (PQsendQuery(connection_.get(), std::string(query).c_str()) == 0) return lost();
    QueryResult answer;
    while (true) {
      while (PQisBusy(connection_.get()) != 0) {
        if (const Status ready = wait(POLLIN); !ready) return ready.error();
        if (PQconsumeInput(connection_.get()) == 0) return lost();
      }
      QueryResult next(PQgetResult(connection_.get()));
      if (!next) break;
      answer = std::move(next);
    }
    const ExecStatusType status = PQresultStatus(answer.get());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return answer;
    return lost();
  }

  Status wait(short events) {
    while (true) {
      if (stop_.load(std::memory_order_relaxed)) {
        return Error{sqlstate::kCannotConnect, "the proxy is shutting down", {}};
      }
      if (SteadyClock::now() > deadline_) {
        return Error{sqlstate::kCannotConnect, "the server does not answer in time", {}};
      }
      pollfd socket{PQsocket(connection_.get()), events, 0};
      if (socket.fd < 0) return lost();
      if (::poll(&socket, 1, kPollMs) > 0) return Ok{};
    }
  }

  // The server asked for a password and did not like what it got.
  Error refused() const {
    Error error = lost();
    if (PQconnectionUsedPassword(connection_.get()) != 0) {
      error.code = sqlstate::kInvalidAuthorization;
    }
    return error;
  }

  // libpq's messages end with a new line, and may have several.
  Error lost() const {
    std::string text = connection_ ? PQerrorMessage(connection_.get()) : "out of memory";
    while (!text.empty() && text.back() == '\n') text.pop_back();
    for (char& c : text) {
      if (c == '\n') c = ' ';
    }
    return {sqlstate::kCannotConnect, std::move(text), {}};
  }

  const CatalogSource& source_;
  const std::atomic<bool>& stop_;
  const SteadyClock::time_point deadline_ = SteadyClock::now() + kCatalogTimeout;
  std::unique_ptr<PGconn, PgConnDeleter> connection_;
};

}  // namespace

CatalogSource catalog_source(const Config& config, const DatabaseConfig& database,
                             std::size_t shard) {
  const ShardConfig& place = database.shards[shard];
  CatalogSource source;
  source.shard = place.name;
  source.host = place.primary.host;
  source.port = place.primary.port;
  source.dbname = place.dbname.empty() ? database.name : place.dbname;
  source.sslmode = sslmode_name(config.server_tls.mode);
  source.sslrootcert = config.server_tls.ca_file;
  source.sslcert = config.server_tls.cert_file;
  source.sslkey = config.server_tls.key_file;
  if (!choose_user(config, database, source)) {
    source.problem =
        "there is no user with a known password to read catalogs as: give the database a "
        "force_user, or auth_user a password under [users]";
  }
  return source;
}

Result<ShardCatalog> read_shard_catalog(const CatalogSource& source,
                                        const std::atomic<bool>& stop) {
  return Reading(source, stop).read();
}

}  // namespace pgshunt
