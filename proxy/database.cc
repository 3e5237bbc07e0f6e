#include "proxy/database.h"

#include <atomic>
#include <fstream>
#include <iterator>

#include "proxy/auth/userlist.h"
#include "proxy/config/declare_keyspace.h"
#include "proxy/config/report.h"
#include "proxy/net/tls.h"

namespace pgshunt {
namespace {

std::uint64_t next_scope() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

// The salt shown to a stranger must outlast a restart, as those of stored secrets do: it would give
// away that there is no such user. Nothing else that is kept secret is beyond guessing; without a
// key it is random.
std::string mock_secret_seed(const Config& config) {
  std::ifstream key(config.client_tls.key_file, std::ios::binary);
  return {std::istreambuf_iterator<char>(key), {}};
}

std::shared_ptr<const ClientLoginPolicy> make_login_policy(const Config& config) {
  auto policy = std::make_shared<ClientLoginPolicy>();
  std::vector<HbaRule> rules = config.hba;
  if (rules.empty()) {
    HbaRule everybody;
    everybody.databases = {"all"};
    everybody.users = {"all"};
    everybody.address = "all";
    everybody.method = config.auth_type;
    everybody.origin = "auth_type";
    rules.push_back(std::move(everybody));
  }
  policy->hba = std::make_shared<const Hba>(rules);
  auto users = std::make_shared<UserTable>();
  for (const auto& [name, user] : config.users) users->add(name, user.secret);
  policy->users = std::move(users);
  policy->tls = config.client_tls.mode;
  policy->lookup_unknown_users = !config.auth_user.empty();
  for (const auto& [name, database] : config.databases) {
    policy->lookup_unknown_users |= !database.auth_user.empty();
  }
  static const std::string kSecret = make_mock_secret(mock_secret_seed(config));
  policy->mock_secret = kSecret;
  return policy;
}

// In the form of the other problems of a configuration, but without a line: that is forgotten here.
Error issue_of(const Config& config, std::string key, const Error& error) {
  return {error.code, ConfigIssue{config.file, 0, std::move(key), error.message}.to_string(),
          error.hint};
}

}  // namespace

std::uint64_t next_epoch() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

Status declare_topology(const DatabaseConfig& config, TopologyBuilder& builder) {
  for (const ShardConfig& shard : config.shards) {
    if (auto added = builder.add_shard(shard.name); !added) return added.error();
  }
  for (const KeyspaceConfig& keyspace : config.keyspaces) {
    if (auto added = declare_keyspace(config, keyspace, builder); !added) return added.error();
  }
  for (const TableConfig& table : config.tables) {
    Status added = Ok{};
    switch (table.kind) {
      case TableKind::kSharded:
        added = builder.add_sharded_table(table.schema, table.name, table.keyspace, table.key);
        break;
      case TableKind::kReference:
        added = builder.add_reference_table(table.schema, table.name);
        break;
      case TableKind::kUnsharded:
        added = builder.add_unsharded_table(table.schema, table.name, table.shard);
        break;
    }
    if (!added) return added.error();
  }
  builder.declared().moves_rows = config.on_shard_key_update == ShardKeyUpdate::kMove;
  if (!config.default_shard.empty()) {
    if (auto set = builder.set_default_home(config.default_shard); !set) return set.error();
  }
  return Ok{};
}

std::shared_ptr<const Database> Snapshot::find(std::string_view name) const {
  if (const auto found = databases.find(name); found != databases.end()) return found->second;
  const auto fallback = databases.find("*");
  if (fallback == databases.end()) return nullptr;
  auto made = std::make_shared<Database>(*fallback->second);
  made->config.name = name;
  made->fallback = true;
  return made;
}

Result<std::shared_ptr<const Snapshot>> make_snapshot(std::shared_ptr<const Config> config,
                                                      std::uint64_t version) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->version = version;
  if (config->client_tls.mode != SslMode::kDisable) {
    auto context = TlsContext::server(config->client_tls);
    if (!context) return issue_of(*config, "client_tls", context.error());
    snapshot->client_tls = std::move(*context);
  }
  std::shared_ptr<const TlsContext> server_tls;
  if (config->server_tls.mode != SslMode::kDisable) {
    auto context = TlsContext::client(config->server_tls);
    if (!context) return issue_of(*config, "server_tls", context.error());
    server_tls = std::move(*context);
  }
  for (const auto& [name, database_config] : config->databases) {
    auto database = std::make_shared<Database>();
    database->scope = next_scope();
    database->config = database_config;
    database->server_tls = server_tls;
    if (database_config.sharded()) {
      TopologyBuilder builder;
      const Status declared = declare_topology(database_config, builder);
      auto topology = declared ? builder.build(next_epoch()) : declared.error();
      if (!topology) return issue_of(*config, join_key("databases", name), topology.error());
      database->topology = std::move(*topology);
    }
    snapshot->databases.emplace(name, std::move(database));
  }
  snapshot->login_policy = make_login_policy(*config);
  snapshot->config = std::move(config);
  return std::shared_ptr<const Snapshot>(std::move(snapshot));
}

}  // namespace pgshunt
