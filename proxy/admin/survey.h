// What one worker can tell the console about itself, as plain values that travel between threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/pool/pool.h"
#include "proxy/pool/statistics.h"
#include "proxy/worker.h"

namespace pgshunt {

// Clients and servers can be many: they are listed only for those who ask.
struct SurveyParts {
  bool clients = false;
  bool servers = false;
};

struct PoolReport {
  PoolKey key;
  std::string shard;  // empty: a plain database
  PoolMode mode = PoolMode::kTransaction;
  Pool::Counts counts;
  PoolStatistics totals;
  PoolStatistics last_period;  // what the last whole statistics period added
  std::uint32_t clients = 0;   // logged in, of this database and user; in shard 0's report only
  std::uint32_t waiting = 0;   // of those, waiting for a server
  std::uint32_t pinned = 0;    // servers that clients keep between transactions
};

struct ClientReport {
  std::uint64_t id = 0;
  std::string user;
  std::string database;
  std::string_view state;  // a literal
  std::string address;
  std::uint16_t port = 0;
  std::string local_address;
  std::uint16_t local_port = 0;
  TimePoint connected_at{};
  TimePoint last_request{};
  Clock::duration waiting{0};
  std::uint32_t remote_pid = 0;  // the process id we told it, for cancel requests
  std::string tls;
  std::string application_name;
  std::size_t prepared_statements = 0;
  std::size_t channels = 0;
  std::string pins;  // why it keeps its server, empty: it does not
  Clock::duration pinned_for{0};
};

struct ServerReport {
  std::uint64_t id = 0;
  PoolKey pool;
  std::string shard;
  std::string_view state;  // a literal
  std::string address;     // host:port
  std::string local_address;
  std::uint16_t local_port = 0;
  TimePoint connected_at{};
  TimePoint last_request{};
  bool close_needed = false;
  std::uint64_t client = 0;  // who holds it, 0: nobody
  std::uint32_t remote_pid = 0;
  std::string tls;
  std::size_t prepared_statements = 0;
};

struct WorkerReport {
  std::vector<PoolReport> pools;
  std::vector<ClientReport> clients;
  std::vector<ServerReport> servers;
  std::uint32_t clients_total = 0;
  std::uint32_t clients_in_login = 0;
  std::size_t statements = 0;
  // Length of the last whole statistics period; 0: there was none yet.
  double period_seconds = 0;
};

// On the worker's own thread.
WorkerReport survey(Worker& worker, SurveyParts parts);

PoolMode pool_mode_of(const Config& config, const DatabaseConfig* database,
                      const std::string& user);

}  // namespace pgshunt
