#include "proxy/control_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>

namespace pgshunt {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

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

bool is_of_console(const Config& config, const std::string& user) {
  const auto has = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), user) != names.end();
  };
  return has(config.admin_users) || has(config.stats_users);
}

bool is_plain(const UserConfig& user) {
  return !user.secret.starts_with("md5") && !user.secret.starts_with("SCRAM-SHA-256$");
}

// False: time is up, or the process ends.
bool wait_for(int fd, short events, SteadyTime deadline, const std::atomic<bool>& stop) {
  constexpr auto kSlice = std::chrono::milliseconds(50);
  while (!stop) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd descriptor{fd, events, 0};
    if (poll(&descriptor, 1, static_cast<int>(std::min(left, kSlice).count())) > 0) return true;
  }
  return false;
}

std::string one_line(const char* message) {
  std::string text(message ? message : "");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

Error result_error(const PGresult* result) {
  const char* code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  return {code ? Sqlstate(code) : sqlstate::kConnectionFailure,
          message ? std::string(message) : one_line(PQresultErrorMessage(result)),
          {}};
}

std::optional<ControlUser> known_user(const Config& config, std::string_view name) {
  const auto found = config.users.find(std::string(name));
  if (found == config.users.end() || !is_plain(found->second)) return std::nullopt;
  return ControlUser{found->first, found->second.secret};
}

}  // namespace

std::optional<ControlUser> control_user(const Config& config, const DatabaseConfig& database) {
  auto users = known_users(config, database);
  if (users.empty()) return std::nullopt;
  return std::move(users.front());
}

std::vector<ControlUser> known_users(const Config& config, const DatabaseConfig& database) {
  std::vector<ControlUser> out;
  if (!database.force_user.empty()) {
    out.push_back({database.force_user, database.force_password});
    return out;
  }
  const std::string& preferred = database.auth_user.empty() ? config.auth_user : database.auth_user;
  if (auto user = known_user(config, preferred)) out.push_back(std::move(*user));
  for (const bool console : {false, true}) {
    for (const auto& [name, user] : config.users) {
      if (is_plain(user) && !user.secret.empty() && is_of_console(config, name) == console &&
          name != preferred) {
        out.push_back({name, user.secret});
      }
    }
  }
  return out;
}

ControlTarget control_target(const Config& config, const DatabaseConfig& database,
                             const ShardConfig& shard, ControlUser user) {
  const std::string& dbname = shard.dbname.empty() ? database.name : shard.dbname;
  return {shard.name, shard.primary.host, shard.primary.port,
          dbname,     std::move(user),    config.server_tls};
}

void ControlConnection::Closer::operator()(pg_conn* connection) const { PQfinish(connection); }

Result<ControlConnection> ControlConnection::open(const Config& config,
                                                  const DatabaseConfig& database,
                                                  const ShardConfig& shard, const ControlUser& user,
                                                  const char* purpose,
                                                  std::chrono::milliseconds patience,
                                                  const std::atomic<bool>& stop) {
  return open(control_target(config, database, shard, user), purpose, patience, stop);
}

Result<ControlConnection> ControlConnection::open(const ControlTarget& target, const char* purpose,
                                                  std::chrono::milliseconds patience,
                                                  const std::atomic<bool>& stop) {
  const std::string port = std::to_string(target.port);
  const char* const keys[] = {"host",     "port",    "dbname",           "user",
                              "password", "sslmode", "sslrootcert",      "sslcert",
                              "sslkey",   "options", "application_name", "client_encoding",
                              nullptr};
  const char* const values[] = {target.host.c_str(),
                                port.c_str(),
                                target.dbname.c_str(),
                                target.user.name.c_str(),
                                target.user.password.c_str(),
                                sslmode_name(target.tls.mode),
                                target.tls.ca_file.c_str(),
                                target.tls.cert_file.c_str(),
                                target.tls.key_file.c_str(),
                                "-c client_min_messages=error -c synchronous_commit=local",
                                purpose,
                                "UTF8",
                                nullptr};
  ControlConnection made(PQconnectStartParams(keys, values, 0), patience, stop);
  PGconn* connection = made.connection_.get();
  const auto failed = [&](const std::string& why) {
    const bool refused = connection && PQconnectionUsedPassword(connection) != 0 &&
                         PQstatus(connection) == CONNECTION_BAD;
    return Error{refused ? sqlstate::kInvalidAuthorization : sqlstate::kCannotConnect,
                 "shard \"" + target.shard + "\" cannot be reached as user \"" + target.user.name +
                     "\": " + why,
                 {}};
  };
  if (!connection || PQstatus(connection) == CONNECTION_BAD) {
    return failed(connection ? one_line(PQerrorMessage(connection)) : "out of memory");
  }
  const SteadyTime deadline = std::chrono::steady_clock::now() + patience;
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (state != PGRES_POLLING_OK) {
    const short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!wait_for(PQsocket(connection), events, deadline, stop)) return failed("no answer in time");
    state = PQconnectPoll(connection);
    if (state == PGRES_POLLING_FAILED) return failed(one_line(PQerrorMessage(connection)));
  }
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);
  return made;
}

bool ControlConnection::broken() const { return PQstatus(connection_.get()) != CONNECTION_OK; }

Result<std::vector<ControlConnection::Row>> ControlConnection::query(
    std::string_view sql, const std::vector<std::string>& values) {
  PGconn* connection = connection_.get();
  const std::string text(sql);
  std::vector<const char*> pointers;
  for (const std::string& value : values) pointers.push_back(value.c_str());
  const int sent =
      values.empty() ? PQsendQuery(connection, text.c_str())
                     : PQsendQueryParams(connection, text.c_str(), static_cast<int>(values.size()),
                                         nullptr, pointers.data(), nullptr, nullptr, 0);
  if (sent != 1)
    return Error{sqlstate::kConnectionFailure, one_line(PQerrorMessage(connection)), {}};
  const SteadyTime deadline = std::chrono::steady_clock::now() + patience_;
  std::vector<Row> rows;
  std::optional<Error> error;
  while (true) {
    while (PQisBusy(connection)) {
      if (!wait_for(PQsocket(connection), POLLIN, deadline, *stop_)) {
        // An answer may come yet: to nobody.
        connection_.reset();
        return Error{sqlstate::kConnectionFailure, "no answer in time", {}};
      }
      if (PQconsumeInput(connection) != 1) {
        return Error{sqlstate::kConnectionFailure, one_line(PQerrorMessage(connection)), {}};
      }
    }
    PGresult* result = PQgetResult(connection);
    if (!result) break;
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK) {
      rows.clear();
      for (int row = 0; row < PQntuples(result); ++row) {
        Row& out = rows.emplace_back();
        for (int column = 0; column < PQnfields(result); ++column) {
          out.emplace_back(PQgetvalue(result, row, column));
        }
      }
    } else if (status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY && !error) {
      error = result_error(result);
    }
    PQclear(result);
  }
  if (error) return *error;
  return rows;
}

}  // namespace pgshunt
