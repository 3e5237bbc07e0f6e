#include "proxy/admin/show.h"

#include <ctime>

#include "proxy/admin/show_rows.h"

namespace pgshunt {

SurveyParts survey_parts(ShowTopic topic) {
  SurveyParts parts;
  switch (topic) {
    case ShowTopic::kClients:
    case ShowTopic::kServers:  // each names the other
    case ShowTopic::kSockets:
    case ShowTopic::kActiveSockets:
    case ShowTopic::kPins:
      parts.clients = parts.servers = true;
      break;
    default:
      break;
  }
  return parts;
}

ResultSet show_rows(ShowTopic topic, Worker& worker, const std::vector<WorkerReport>& reports) {
  ResultSet out(show_columns(topic));
  const Snapshot& snapshot = *worker.snapshot();
  const Proxy& proxy = worker.proxy();
  switch (topic) {
    case ShowTopic::kPools:
      show_pools(out, reports);
      break;
    case ShowTopic::kClients:
      show_clients(out, reports);
      break;
    case ShowTopic::kServers:
      show_servers(out, reports);
      break;
    case ShowTopic::kSockets:
      show_sockets(out, reports, false);
      break;
    case ShowTopic::kActiveSockets:
      show_sockets(out, reports, true);
      break;
    case ShowTopic::kStats:
      show_stats(out, reports, true, true);
      break;
    case ShowTopic::kStatsTotals:
      show_stats(out, reports, true, false);
      break;
    case ShowTopic::kStatsAverages:
      show_stats(out, reports, false, true);
      break;
    case ShowTopic::kTotals:
      show_totals(out, reports);
      break;
    case ShowTopic::kDatabases:
      show_databases(out, proxy, snapshot, reports);
      break;
    case ShowTopic::kUsers:
      show_users(out, *snapshot.config, reports);
      break;
    case ShowTopic::kLists:
      show_lists(out, snapshot, worker.resolver(), reports);
      break;
    case ShowTopic::kConfig:
      show_config(out, *snapshot.config);
      break;
    case ShowTopic::kMem:
      show_mem(out, reports);
      break;
    case ShowTopic::kVersion:
      out.add("pgshunt " PGSHUNT_VERSION);
      break;
    case ShowTopic::kState:
      show_state(out, proxy);
      break;
    case ShowTopic::kDnsHosts:
      show_dns_hosts(out, worker.resolver());
      break;
    case ShowTopic::kDnsZones:
      break;  // whole zones are not watched: there is none
    case ShowTopic::kPins:
      show_pins(out, reports);
      break;
    case ShowTopic::kShards:
      show_shards(out, snapshot, reports);
      break;
    case ShowTopic::kKeyspaces:
      show_keyspaces(out, snapshot, worker.proxy().directories());
      break;
    case ShowTopic::kTables:
      show_tables(out, snapshot);
      break;
    case ShowTopic::kDrift:
      show_drift(out, snapshot);
      break;
    case ShowTopic::kTransactions:
      show_transactions(out, worker.proxy().two_phase());
      break;
  }
  return out;
}

PoolTotals add_up_pools(Reports reports) {
  PoolTotals pools;
  for (const WorkerReport& report : reports) {
    for (const PoolReport& part : report.pools) {
      PoolTotal& pool = pools[{part.key.database, part.key.user, part.key.shard}];
      pool.shard = part.shard;
      pool.mode = part.mode;
      pool.counts.idle += part.counts.idle;
      pool.counts.used += part.counts.used;
      pool.counts.tested += part.counts.tested;
      pool.counts.active += part.counts.active;
      pool.counts.login += part.counts.login;
      pool.counts.being_canceled += part.counts.being_canceled;
      pool.counts.waiting += part.counts.waiting;
      pool.counts.longest_wait = std::max(pool.counts.longest_wait, part.counts.longest_wait);
      pool.totals += part.totals;
      pool.last_period += part.last_period;
      pool.clients += part.clients;
      pool.waiting += part.waiting;
      pool.pinned += part.pinned;
    }
  }
  return pools;
}

std::string show_time(TimePoint at) {
  if (at == TimePoint{}) return {};
  // Only differences are known of a steady clock; it is placed by what both show now.
  const auto age =
      std::chrono::duration_cast<std::chrono::system_clock::duration>(Clock::now() - at);
  const std::time_t seconds =
      std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() - age);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

std::string_view show_mode(PoolMode mode) {
  switch (mode) {
    case PoolMode::kSession:
      return "session";
    case PoolMode::kTransaction:
      return "transaction";
    case PoolMode::kStatement:
      return "statement";
  }
  return "";
}

std::int64_t whole_seconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

std::int64_t micros_beyond_seconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration).count() % 1'000'000;
}

}  // namespace pgshunt
