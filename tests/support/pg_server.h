// A real PostgreSQL server of a test's own: temporary data directory, unix socket, gone with the
// test, however it ends.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace pgshunt {

class PgServer {
 public:
  struct Options {
    bool tcp = false;                   // listen on 127.0.0.1 too
    std::vector<std::string> settings;  // "name=value"
    // Passed to initdb, in place of --locale=C.UTF-8 --encoding=UTF8 --auth=trust.
    std::vector<std::string> initdb_options;
  };

  // initdb and start; returns once connections are accepted. Null if the server's programs are not
  // installed (looked for in $PG_BIN and /usr/lib/postgresql/*/bin) or it does not start; the
  // reason goes to standard error. As root the server runs as user postgres.
  static std::unique_ptr<PgServer> start(const Options& options);
  static std::unique_ptr<PgServer> start() { return start(Options{}); }
  // One server for all tests of this process, with default options. Null as above.
  static PgServer* shared();

  ~PgServer();
  PgServer(const PgServer&) = delete;
  PgServer& operator=(const PgServer&) = delete;

  const std::string& socket_dir() const { return directory_; }
  std::uint16_t port() const { return port_; }
  pid_t pid() const { return pid_; }
  // The superuser; every database named in the startup packet may be entered without a password.
  static constexpr const char* kUser = "postgres";

 private:
  PgServer() = default;

  std::string directory_;  // data in data/, the socket beside it
  std::uint16_t port_ = 5432;
  pid_t pid_ = -1;
};

}  // namespace pgshunt
