// The process and its configuration: DATABASES, USERS, LISTS, CONFIG, MEM, STATE, DNS_HOSTS.
#include <unistd.h>

#include <fstream>
#include <set>

#include "proxy/admin/show_rows.h"
#include "proxy/session/session.h"

namespace pgshunt {
namespace {

std::optional<std::string_view> mode_or_null(const std::optional<PoolMode>& mode) {
  if (!mode) return std::nullopt;
  return show_mode(*mode);
}

std::uint64_t resident_bytes() {
  // /proc/self/statm: pages in all, then resident (proc(5)).
  std::ifstream statm("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

void show_databases(ResultSet& out, const Proxy& proxy, const Snapshot& snapshot, Reports reports) {
  const Config& config = *snapshot.config;
  const PoolTotals pools = add_up_pools(reports);
  // The listed databases, and those that "*" stood in for.
  std::set<std::string> names;
  for (const auto& [name, database] : snapshot.databases) names.insert(name);
  for (const auto& [key, pool] : pools) {
    if (snapshot.find(std::get<0>(key))) names.insert(std::get<0>(key));
  }
  for (const std::string& name : names) {
    const auto listed = snapshot.databases.find(name);
    const auto found = listed != snapshot.databases.end() ? listed->second : snapshot.find(name);
    const DatabaseConfig& database = found->config;
    const std::uint32_t limit =
        database.max_db_connections != 0 ? database.max_db_connections : config.max_db_connections;
    std::uint32_t clients = 0;
    std::map<std::uint16_t, std::uint32_t> servers;
    for (const auto& [key, pool] : pools) {
      if (std::get<0>(key) != name) continue;
      clients += pool.clients;
      servers[std::get<2>(key)] += pool.servers();
    }
    for (std::uint16_t index = 0; index < database.shards.size(); ++index) {
      const ShardConfig& shard = database.shards[index];
      out.add(name).add(shard.primary.host).add(shard.primary.port);
      out.add(shard.dbname.empty() ? name : shard.dbname);
      database.force_user.empty() ? out.add_null() : out.add(database.force_user);
      out.add(database.pool_size.value_or(config.default_pool_size));
      out.add(database.min_pool_size.value_or(config.min_pool_size));
      out.add(database.reserve_pool_size.value_or(config.reserve_pool_size));
      out.add(static_cast<std::int64_t>(config.server_lifetime.count()));
      out.add_optional(mode_or_null(database.pool_mode)).add_null();
      out.add(limit).add(servers[index]);
      out.add(database.max_db_client_connections).add(index == 0 ? clients : 0);
      out.add(proxy.paused(name) ? 1 : 0).add(proxy.disabled(name) ? 1 : 0);
      out.add(found->topology ? shard.name : "");
    }
  }
}

void show_users(ResultSet& out, const Config& config, Reports reports) {
  struct Use {
    std::uint32_t servers = 0;
    std::uint32_t clients = 0;
  };
  std::map<std::string, Use> users;
  for (const auto& [name, user] : config.users) users[name];
  for (const auto& [key, pool] : add_up_pools(reports)) {
    Use& use = users[std::get<1>(key)];
    use.servers += pool.servers();
    use.clients += pool.clients;
  }
  for (const auto& [name, use] : users) {
    const auto found = config.users.find(name);
    const UserConfig user = found != config.users.end() ? found->second : UserConfig{};
    out.add(name).add_optional(user.pool_size).add_null();
    out.add_optional(mode_or_null(user.pool_mode));
    out.add(user.max_user_connections != 0 ? user.max_user_connections
                                           : config.max_user_connections);
    out.add(use.servers).add(user.max_user_client_connections).add(use.clients);
  }
}

void show_lists(ResultSet& out, const Snapshot& snapshot, const Resolver& resolver,
                Reports reports) {
  const PoolTotals pools = add_up_pools(reports);
  std::uint32_t free_servers = 0;
  std::uint32_t used_servers = 0;
  for (const auto& [key, pool] : pools) {
    free_servers += pool.counts.idle;
    used_servers += pool.servers() - pool.counts.idle;
  }
  std::uint32_t clients = 0;
  std::uint32_t in_login = 0;
  for (const WorkerReport& report : reports) {
    clients += report.clients_total;
    in_login += report.clients_in_login;
  }
  out.add("databases").add(snapshot.databases.size());
  out.add("users").add(snapshot.config->users.size());
  out.add("peers").add(0);
  out.add("pools").add(pools.size());
  out.add("peer_pools").add(0);
  out.add("free_clients").add(0);
  out.add("used_clients").add(clients - in_login);
  out.add("login_clients").add(in_login);
  out.add("free_servers").add(free_servers);
  out.add("used_servers").add(used_servers);
  out.add("dns_names").add(resolver.known().size());
  out.add("dns_zones").add(0);
  out.add("dns_queries").add(resolver.queries());
  out.add("dns_pending").add(0);
  out.add("workers").add(reports.size());
}

void show_config(ResultSet& out, const Config& config) {
  for (const ConfigKey& key : describe_config(config)) {
    out.add(key.key).add(key.value).add(key.default_value).add(key.changeable ? "yes" : "no");
  }
}

void show_mem(ResultSet& out, Reports reports) {
  std::size_t clients = 0;
  std::size_t servers = 0;
  std::size_t pools = 0;
  std::size_t statements = 0;
  for (const WorkerReport& report : reports) {
    clients += report.clients_total;
    pools += report.pools.size();
    statements += report.statements;
  }
  for (const auto& [key, pool] : add_up_pools(reports)) servers += pool.servers();
  // The objects themselves; what hangs on them is in the process's line only.
  const auto add = [&](std::string_view name, std::size_t size, std::size_t used) {
    out.add(name).add(size).add(used).add(0).add(size * used);
  };
  add("client_cache", sizeof(Session), clients);
  add("server_cache", sizeof(Backend), servers);
  add("pool_cache", sizeof(Pool), pools);
  add("statement_cache", sizeof(Statement), statements);
  add("process_resident", 1, resident_bytes());
}

void show_dns_hosts(ResultSet& out, const Resolver& resolver) {
  for (const Resolver::Known& known : resolver.known()) {
    std::string addresses;
    for (const SocketAddress& address : known.addresses) {
      addresses += (addresses.empty() ? "" : ",") + address.host();
    }
    out.add(known.host).add(whole_seconds(known.time_left)).add(addresses);
  }
}

void show_state(ResultSet& out, const Proxy& proxy) {
  const bool paused = proxy.paused("");
  out.add("active").add(paused ? "no" : "yes");
  out.add("paused").add(paused ? "yes" : "no");
  out.add("suspended").add("no");
}

}  // namespace pgshunt
