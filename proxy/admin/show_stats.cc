#include "proxy/admin/show_rows.h"

namespace pgshunt {
namespace {

struct DatabaseStatistics {
  PoolStatistics totals;
  PoolStatistics last_period;
};

std::map<std::string, DatabaseStatistics> by_database(Reports reports) {
  std::map<std::string, DatabaseStatistics> out;
  for (const auto& [key, pool] : add_up_pools(reports)) {
    DatabaseStatistics& database = out[std::get<0>(key)];
    database.totals += pool.totals;
    database.last_period += pool.last_period;
  }
  return out;
}

// The workers' periods begin and end together but for a tick.
double period_seconds(Reports reports) {
  double longest = 0;
  for (const WorkerReport& report : reports) longest = std::max(longest, report.period_seconds);
  return longest;
}

void add_totals(ResultSet& out, const PoolStatistics& s) {
  out.add(s.server_assignments).add(s.transactions).add(s.queries);
  out.add(s.bytes_received).add(s.bytes_sent);
  out.add(s.transaction_time_us).add(s.query_time_us).add(s.wait_time_us);
  out.add(s.client_parses).add(s.server_parses).add(s.binds);
}

// Counts and bytes a second, times for each transaction, query or assignment, as PgBouncer's
// calc_average() has them (stats.c).
PoolStatistics averages_of(const PoolStatistics& added, double seconds) {
  const auto a_second = [&](std::uint64_t count) {
    return seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(count) / seconds) : 0;
  };
  const auto each = [](std::uint64_t sum, std::uint64_t count) {
    return count > 0 ? sum / count : 0;
  };
  PoolStatistics out;
  out.server_assignments = a_second(added.server_assignments);
  out.transactions = a_second(added.transactions);
  out.queries = a_second(added.queries);
  out.bytes_received = a_second(added.bytes_received);
  out.bytes_sent = a_second(added.bytes_sent);
  out.transaction_time_us = each(added.transaction_time_us, added.transactions);
  out.query_time_us = each(added.query_time_us, added.queries);
  out.wait_time_us = a_second(added.wait_time_us);
  out.client_parses = a_second(added.client_parses);
  out.server_parses = a_second(added.server_parses);
  out.binds = a_second(added.binds);
  return out;
}

}  // namespace

void show_stats(ResultSet& out, Reports reports, bool totals, bool averages) {
  const double seconds = period_seconds(reports);
  for (const auto& [name, database] : by_database(reports)) {
    out.add(name);
    if (totals) add_totals(out, database.totals);
    if (averages) add_totals(out, averages_of(database.last_period, seconds));
  }
}

void show_totals(ResultSet& out, Reports reports) {
  DatabaseStatistics all;
  for (const auto& [name, database] : by_database(reports)) {
    all.totals += database.totals;
    all.last_period += database.last_period;
  }
  // Here PgBouncer has the names of its variables, not those of SHOW STATS.
  const auto add = [&](const std::string& prefix, const PoolStatistics& s) {
    out.add(prefix + "server_assignment_count").add(s.server_assignments);
    out.add(prefix + "xact_count").add(s.transactions);
    out.add(prefix + "query_count").add(s.queries);
    out.add(prefix + "client_bytes").add(s.bytes_received);
    out.add(prefix + "server_bytes").add(s.bytes_sent);
    out.add(prefix + "xact_time").add(s.transaction_time_us);
    out.add(prefix + "query_time").add(s.query_time_us);
    out.add(prefix + "wait_time").add(s.wait_time_us);
    out.add(prefix + "ps_client_parse_count").add(s.client_parses);
    out.add(prefix + "ps_server_parse_count").add(s.server_parses);
    out.add(prefix + "ps_bind_count").add(s.binds);
  };
  add("total_", all.totals);
  add("avg_", averages_of(all.last_period, period_seconds(reports)));
}

}  // namespace pgshunt
