// From configuration to what a pool needs to know.
#include "proxy/auth/credentials.h"
#include "proxy/database.h"
#include "proxy/pool/pool.h"
#include "proxy/worker.h"

namespace pgshunt {

std::shared_ptr<const PoolSpec> make_pool_spec(const PoolKey& key, const Database& database,
                                               std::shared_ptr<const Config> config) {
  const ShardConfig& shard = database.config.shards[key.shard];
  auto spec = std::make_shared<PoolSpec>();
  spec->database = key.database;
  spec->user = key.user;
  spec->shard = database.topology ? shard.name : std::string();
  spec->shard_index = key.shard;
  // The fallback database "*" passes the client's name on.
  spec->server_database = shard.dbname.empty() || database.fallback ? key.database : shard.dbname;
  spec->host = shard.primary;
  spec->tls_mode = config->server_tls.mode;
  spec->tls = database.server_tls;
  if (!database.config.application_name.empty()) {
    spec->startup_parameters.emplace_back("application_name", database.config.application_name);
  }
  spec->connect_query = database.config.connect_query;
  PoolMode mode = database.config.pool_mode.value_or(config->pool_mode);
  if (const auto user = config->users.find(key.user); user != config->users.end()) {
    mode = user->second.pool_mode.value_or(mode);
  }
  spec->watches_routines = mode != PoolMode::kSession;
  spec->config = std::move(config);
  return spec;
}

ServerCredentials server_credentials(const Database& database, const ServerCredentials& client) {
  if (database.config.force_user.empty()) return client;
  ServerCredentials forced;
  forced.user = database.config.force_user;
  if (!database.config.force_password.empty()) forced.password = database.config.force_password;
  return forced;
}

KeepaliveOptions keepalive_options(const Config& config) {
  KeepaliveOptions options;
  options.enabled = config.tcp_keepalive;
  options.idle = static_cast<int>(config.tcp_keepidle);
  options.interval = static_cast<int>(config.tcp_keepintvl);
  options.count = static_cast<int>(config.tcp_keepcnt);
  options.user_timeout = static_cast<int>(config.tcp_user_timeout);
  return options;
}

}  // namespace pgshunt
