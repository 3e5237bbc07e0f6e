// A connection of the proxy's own to one shard, for what is not a client's: recovery, checks, the
// schema. libpq, on threads where waiting harms nobody; it never waits longer than it is told, and
// not at all once `stop` is set.
#pragma once

#include <atomic>
#include <chrono>
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

// The database's own user, auth_user, or the first configured user whose password is known.
std::optional<ControlUser> control_user(const Config& config, const DatabaseConfig& database);
// That user, if its password is known.
std::optional<ControlUser> known_user(const Config& config, const DatabaseConfig& database,
                                      std::string_view name);

class ControlConnection {
 public:
  using Row = std::vector<std::string>;  // NULL: empty

  // What it is for is in application_name.
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
