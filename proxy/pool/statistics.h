// Counters of one worker's pool, as PgBouncer's SHOW STATS has them. Written by the worker only;
// read by the admin console on the same thread.
#pragma once

#include <cstdint>

namespace pgshunt {

struct PoolStatistics {
  std::uint64_t transactions = 0;
  std::uint64_t queries = 0;
  std::uint64_t bytes_received = 0;  // from clients
  std::uint64_t bytes_sent = 0;      // to clients
  std::uint64_t transaction_time_us = 0;
  std::uint64_t query_time_us = 0;
  std::uint64_t wait_time_us = 0;  // clients waiting for a server
  std::uint64_t server_assignments = 0;
  std::uint64_t client_parses = 0;  // Parse messages from clients
  std::uint64_t server_parses = 0;  // of those, sent to a server
  std::uint64_t binds = 0;

  PoolStatistics& operator+=(const PoolStatistics& other) {
    transactions += other.transactions;
    queries += other.queries;
    bytes_received += other.bytes_received;
    bytes_sent += other.bytes_sent;
    transaction_time_us += other.transaction_time_us;
    query_time_us += other.query_time_us;
    wait_time_us += other.wait_time_us;
    server_assignments += other.server_assignments;
    client_parses += other.client_parses;
    server_parses += other.server_parses;
    binds += other.binds;
    return *this;
  }
  PoolStatistics& operator-=(const PoolStatistics& earlier) {
    transactions -= earlier.transactions;
    queries -= earlier.queries;
    bytes_received -= earlier.bytes_received;
    bytes_sent -= earlier.bytes_sent;
    transaction_time_us -= earlier.transaction_time_us;
    query_time_us -= earlier.query_time_us;
    wait_time_us -= earlier.wait_time_us;
    server_assignments -= earlier.server_assignments;
    client_parses -= earlier.client_parses;
    server_parses -= earlier.server_parses;
    binds -= earlier.binds;
    return *this;
  }
};

}  // namespace pgshunt
