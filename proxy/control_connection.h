// A connection of the proxy's own to one shard, for what is not a client's: catalogs, recovery,
// checks, the schema. libpq, on threads where waiting harms nobody; it never waits longer than it
// is told, and not at all once `stop` is set.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "proxy/config/config.h"

struct pg_conn;

namespace pgshunt {

struct ControlUser {
  std::string name;
  std::string password;
};

// The users of the database whose passwords are known: its own (then there is no other), else
// auth_user and the configured ones, those of the console last: they need not be known to any
// server. Clients' own credentials are not kept for this.
std::vector<ControlUser> known_users(const Config& config, const DatabaseConfig& database);
// The first of them.
std::optional<ControlUser> control_user(const Config& config, const DatabaseConfig& database);

// Where a connection goes, and as whom.
struct ControlTarget {
  std::string shard;  // its name
  std::string host;
  std::uint16_t port = 0;
  std::string dbname;
  ControlUser user;
  TlsConfig tls;

  // The same database, whoever enters it.
  bool same_place(const ControlTarget& other) const {
    return host == other.host && port == other.port && dbname == other.dbname;
  }
};
ControlTarget control_target(const Config& config, const DatabaseConfig& database,
                             const ShardConfig& shard, ControlUser user);

class ControlConnection {
 public:
  using Row = std::vector<std::string>;  // NULL: empty

  // `purpose` is its application_name. `patience`: for the opening, and for each query. Error
  // 28000: the server does not let this user in.
  static Result<ControlConnection> open(const ControlTarget& target, const char* purpose,
                                        std::chrono::milliseconds patience,
                                        const std::atomic<bool>& stop);
  static Result<ControlConnection> open(const Config& config, const DatabaseConfig& database,
                                        const ShardConfig& shard, const ControlUser& user,
                                        const char* purpose, std::chrono::milliseconds patience,
                                        const std::atomic<bool>& stop);

  // Rows of the last result. Parameters are text; with any, only one statement.
  Result<std::vector<Row>> query(std::string_view sql, const std::vector<std::string>& values = {});
  // Nothing can be asked any more.
  bool broken() const;

 private:
  struct Closer {
    void operator()(pg_conn* connection) const;
  };
  ControlConnection(pg_conn* connection, std::chrono::milliseconds patience,
                    const std::atomic<bool>& stop)
      : connection_(connection), patience_(patience), stop_(&stop) {}

  std::unique_ptr<pg_conn, Closer> connection_;
  std::chrono::milliseconds patience_;
  const std::atomic<bool>* stop_;
};

}  // namespace pgshunt
