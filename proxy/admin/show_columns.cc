// The columns of every topic. Those of PgBouncer (1.24) come first, by its names and in its order;
// ours follow. Its numeric columns are int8 here.
#include <array>

#include "proxy/admin/show.h"

namespace pgshunt {
namespace {

constexpr ColumnType kText = ColumnType::kText;
constexpr ColumnType kInt4 = ColumnType::kInt4;
constexpr ColumnType kInt8 = ColumnType::kInt8;

constexpr AdminColumn kPools[] = {
    {"database", kText},
    {"user", kText},
    {"cl_active", kInt4},
    {"cl_waiting", kInt4},
    {"cl_active_cancel_req", kInt4},
    {"cl_waiting_cancel_req", kInt4},
    {"sv_active", kInt4},
    {"sv_active_cancel", kInt4},
    {"sv_being_canceled", kInt4},
    {"sv_idle", kInt4},
    {"sv_used", kInt4},
    {"sv_tested", kInt4},
    {"sv_login", kInt4},
    {"maxwait", kInt4},
    {"maxwait_us", kInt4},
    {"pool_mode", kText},
    {"load_balance_hosts", kText},
    {"shard", kText},
    {"sv_pinned", kInt4},
};

constexpr AdminColumn kClients[] = {
    {"type", kText},
    {"user", kText},
    {"database", kText},
    {"replication", kText},
    {"state", kText},
    {"addr", kText},
    {"port", kInt4},
    {"local_addr", kText},
    {"local_port", kInt4},
    {"connect_time", kText},
    {"request_time", kText},
    {"wait", kInt4},
    {"wait_us", kInt4},
    {"close_needed", kInt4},
    {"ptr", kText},
    {"link", kText},
    {"remote_pid", kInt4},
    {"tls", kText},
    {"application_name", kText},
    {"prepared_statements", kInt4},
    {"id", kInt8},
    {"channels", kInt4},
    {"pinned_by", kText},
    {"pinned_s", kInt4},
};

constexpr AdminColumn kServers[] = {
    {"type", kText},
    {"user", kText},
    {"database", kText},
    {"replication", kText},
    {"state", kText},
    {"addr", kText},
    {"port", kInt4},
    {"local_addr", kText},
    {"local_port", kInt4},
    {"connect_time", kText},
    {"request_time", kText},
    {"wait", kInt4},
    {"wait_us", kInt4},
    {"close_needed", kInt4},
    {"ptr", kText},
    {"link", kText},
    {"remote_pid", kInt4},
    {"tls", kText},
    {"application_name", kText},
    {"prepared_statements", kInt4},
    {"id", kInt8},
    {"shard", kText},
};

constexpr AdminColumn kSockets[] = {
    {"type", kText},         {"user", kText},       {"database", kText},
    {"state", kText},        {"addr", kText},       {"port", kInt4},
    {"local_addr", kText},   {"local_port", kInt4}, {"connect_time", kText},
    {"request_time", kText}, {"wait", kInt4},       {"wait_us", kInt4},
    {"close_needed", kInt4}, {"ptr", kText},        {"link", kText},
    {"remote_pid", kInt4},   {"tls", kText},        {"application_name", kText},
};

constexpr AdminColumn kStats[] = {
    {"database", kText},
    {"total_server_assignment_count", kInt8},
    {"total_xact_count", kInt8},
    {"total_query_count", kInt8},
    {"total_received", kInt8},
    {"total_sent", kInt8},
    {"total_xact_time", kInt8},
    {"total_query_time", kInt8},
    {"total_wait_time", kInt8},
    {"total_client_parse_count", kInt8},
    {"total_server_parse_count", kInt8},
    {"total_bind_count", kInt8},
    {"avg_server_assignment_count", kInt8},
    {"avg_xact_count", kInt8},
    {"avg_query_count", kInt8},
    {"avg_recv", kInt8},
    {"avg_sent", kInt8},
    {"avg_xact_time", kInt8},
    {"avg_query_time", kInt8},
    {"avg_wait_time", kInt8},
    {"avg_client_parse_count", kInt8},
    {"avg_server_parse_count", kInt8},
    {"avg_bind_count", kInt8},
};

// STATS_TOTALS and STATS_AVERAGES.
constexpr AdminColumn kHalfStats[] = {
    {"database", kText},           {"server_assignment_count", kInt8},
    {"xact_count", kInt8},         {"query_count", kInt8},
    {"bytes_received", kInt8},     {"bytes_sent", kInt8},
    {"xact_time", kInt8},          {"query_time", kInt8},
    {"wait_time", kInt8},          {"client_parse_count", kInt8},
    {"server_parse_count", kInt8}, {"bind_count", kInt8},
};

constexpr AdminColumn kTotals[] = {{"name", kText}, {"value", kInt8}};

constexpr AdminColumn kDatabases[] = {
    {"name", kText},
    {"host", kText},
    {"port", kInt4},
    {"database", kText},
    {"force_user", kText},
    {"pool_size", kInt4},
    {"min_pool_size", kInt4},
    {"reserve_pool_size", kInt4},
    {"server_lifetime", kInt4},
    {"pool_mode", kText},
    {"load_balance_hosts", kText},
    {"max_connections", kInt4},
    {"current_connections", kInt4},
    {"max_client_connections", kInt4},
    {"current_client_connections", kInt4},
    {"paused", kInt4},
    {"disabled", kInt4},
    {"shard", kText},
};

constexpr AdminColumn kUsers[] = {
    {"name", kText},
    {"pool_size", kInt4},
    {"reserve_pool_size", kInt4},
    {"pool_mode", kText},
    {"max_user_connections", kInt4},
    {"current_connections", kInt4},
    {"max_user_client_connections", kInt4},
    {"current_client_connections", kInt4},
};

constexpr AdminColumn kLists[] = {{"list", kText}, {"items", kInt4}};

constexpr AdminColumn kConfig[] = {
    {"key", kText}, {"value", kText}, {"default", kText}, {"changeable", kText}};

constexpr AdminColumn kMem[] = {
    {"name", kText}, {"size", kInt4}, {"used", kInt8}, {"free", kInt8}, {"memtotal", kInt8}};

constexpr AdminColumn kVersion[] = {{"version", kText}};
constexpr AdminColumn kState[] = {{"key", kText}, {"value", kText}};

constexpr AdminColumn kDnsHosts[] = {{"hostname", kText}, {"ttl", kInt8}, {"addrs", kText}};
constexpr AdminColumn kDnsZones[] = {{"zonename", kText}, {"serial", kInt8}, {"count", kInt4}};

constexpr AdminColumn kPins[] = {
    {"database", kText},    {"user", kText},       {"client_id", kInt8}, {"client_addr", kText},
    {"client_port", kInt4}, {"shard", kText},      {"server_id", kInt8}, {"server_addr", kText},
    {"server_port", kInt4}, {"server_pid", kInt4}, {"pinned_by", kText}, {"pinned_s", kInt4},
    {"idle_s", kInt4},
};

constexpr AdminColumn kShards[] = {
    {"database", kText}, {"shard", kText},    {"host", kText},       {"port", kInt4},
    {"dbname", kText},   {"replicas", kText}, {"buckets", kInt4},    {"sv_active", kInt4},
    {"sv_idle", kInt4},  {"sv_login", kInt4}, {"cl_waiting", kInt4}, {"query_count", kInt8},
};

constexpr AdminColumn kKeyspaces[] = {
    {"database", kText}, {"keyspace", kText}, {"strategy", kText}, {"key_type", kText},
    {"shard", kText},    {"buckets", kInt4},  {"holds", kText},    {"overrides", kText},
};

constexpr AdminColumn kTables[] = {
    {"database", kText}, {"schema", kText}, {"table", kText}, {"kind", kText},
    {"keyspace", kText}, {"key", kText},    {"shard", kText},
};

constexpr AdminColumn kDrift[] = {
    {"database", kText},   {"object", kText},      {"shard", kText},
    {"difference", kText}, {"consequence", kText},
};

constexpr AdminColumn kTransactions[] = {
    {"database", kText}, {"gid", kText},      {"shard", kText},   {"age", kInt4},
    {"owner", kText},    {"decision", kText}, {"problem", kText},
};

}  // namespace

std::span<const std::string_view> show_topic_names() {
  static constexpr std::array<std::string_view, 24> kNames = {
      "POOLS",     "CLIENTS",      "SERVERS",        "SOCKETS",     "ACTIVE_SOCKETS",
      "STATS",     "STATS_TOTALS", "STATS_AVERAGES", "TOTALS",      "DATABASES",
      "USERS",     "LISTS",        "CONFIG",         "MEM",         "VERSION",
      "STATE",     "DNS_HOSTS",    "DNS_ZONES",      "PINS",        "SHARDS",
      "KEYSPACES", "TABLES",       "DRIFT",          "TRANSACTIONS"};
  static_assert(kNames.size() == static_cast<std::size_t>(ShowTopic::kTransactions) + 1);
  return kNames;
}

std::span<const AdminColumn> show_columns(ShowTopic topic) {
  switch (topic) {
    case ShowTopic::kPools:
      return kPools;
    case ShowTopic::kClients:
      return kClients;
    case ShowTopic::kServers:
      return kServers;
    case ShowTopic::kSockets:
    case ShowTopic::kActiveSockets:
      return kSockets;
    case ShowTopic::kStats:
      return kStats;
    case ShowTopic::kStatsTotals:
    case ShowTopic::kStatsAverages:
      return kHalfStats;
    case ShowTopic::kTotals:
      return kTotals;
    case ShowTopic::kDatabases:
      return kDatabases;
    case ShowTopic::kUsers:
      return kUsers;
    case ShowTopic::kLists:
      return kLists;
    case ShowTopic::kConfig:
      return kConfig;
    case ShowTopic::kMem:
      return kMem;
    case ShowTopic::kVersion:
      return kVersion;
    case ShowTopic::kState:
      return kState;
    case ShowTopic::kDnsHosts:
      return kDnsHosts;
    case ShowTopic::kDnsZones:
      return kDnsZones;
    case ShowTopic::kPins:
      return kPins;
    case ShowTopic::kShards:
      return kShards;
    case ShowTopic::kKeyspaces:
      return kKeyspaces;
    case ShowTopic::kTables:
      return kTables;
    case ShowTopic::kDrift:
      return kDrift;
    case ShowTopic::kTransactions:
      return kTransactions;
  }
  return {};
}

}  // namespace pgshunt
