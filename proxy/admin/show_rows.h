// The makers of SHOW's rows, one for each topic or family, and what they share. Used by show.cc.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "proxy/admin/result_set.h"
#include "proxy/admin/survey.h"
#include "proxy/database.h"
#include "proxy/proxy.h"

namespace pgshunt {

using Reports = std::span<const WorkerReport>;

// One pool of the process: the workers' parts of it added up.
struct PoolTotal {
  std::string shard;
  PoolMode mode = PoolMode::kTransaction;
  Pool::Counts counts;
  PoolStatistics totals;
  PoolStatistics last_period;
  std::uint32_t clients = 0;
  std::uint32_t waiting = 0;
  std::uint32_t pinned = 0;

  std::uint32_t servers() const {
    return counts.idle + counts.used + counts.tested + counts.active + counts.login +
           counts.being_canceled;
  }
};
// By database, user, shard.
using PoolTotals = std::map<std::tuple<std::string, std::string, std::uint16_t>, PoolTotal>;
PoolTotals add_up_pools(Reports reports);

// "2026-01-31 12:00:00 UTC", as PgBouncer has it; empty for the epoch.
std::string show_time(TimePoint at);
std::string_view show_mode(PoolMode mode);
std::int64_t whole_seconds(Clock::duration duration);
std::int64_t micros_beyond_seconds(Clock::duration duration);

// show_pools.cc
void show_pools(ResultSet& out, Reports reports);
// show_stats.cc
void show_stats(ResultSet& out, Reports reports, bool totals, bool averages);
void show_totals(ResultSet& out, Reports reports);
// show_connections.cc
void show_clients(ResultSet& out, Reports reports);
void show_servers(ResultSet& out, Reports reports);
void show_sockets(ResultSet& out, Reports reports, bool only_active);
void show_pins(ResultSet& out, Reports reports);
// show_server_side.cc: the process and its configuration
void show_databases(ResultSet& out, const Proxy& proxy, const Snapshot& snapshot, Reports reports);
void show_users(ResultSet& out, const Config& config, Reports reports);
void show_lists(ResultSet& out, const Snapshot& snapshot, const Resolver& resolver,
                Reports reports);
void show_config(ResultSet& out, const Config& config);
void show_mem(ResultSet& out, Reports reports);
void show_state(ResultSet& out, const Proxy& proxy);
void show_dns_hosts(ResultSet& out, const Resolver& resolver);
// show_sharding.cc
void show_shards(ResultSet& out, const Snapshot& snapshot, Reports reports);
void show_keyspaces(ResultSet& out, const Snapshot& snapshot, const Directories& directories);
void show_tables(ResultSet& out, const Snapshot& snapshot);
void show_drift(ResultSet& out, const Snapshot& snapshot);
// show_transactions.cc
void show_transactions(ResultSet& out, const TwoPhase& two_phase);

}  // namespace pgshunt
