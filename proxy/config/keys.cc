#include "proxy/config/keys.h"

namespace pgshunt {
namespace {

constexpr std::string_view kLogLevels[] = {"debug", "info", "warning", "error"};
constexpr std::string_view kTlsVersions[] = {"TLSv1.2", "TLSv1.3"};

constexpr ValueRules kTime{.unit = Unit::kSeconds, .max = kMaxSeconds};
constexpr ValueRules kCount{};
constexpr ValueRules kAtLeastOne{.min = 1};
constexpr ValueRules kAny{};
constexpr ValueRules kPath{.path = true};

// Sockets are opened, and workers started, once.
constexpr Change kOnce = Change::kRestart;
constexpr Change kReload = Change::kReload;

constexpr KeySpec<Config> kGeneral[] = {
    // Listening
    {"listen_addr", &Config::listen_addr, kAny, kOnce,
     "Addresses to listen on; * for all, none for the unix socket only."},
    {"listen_port",
     &Config::listen_port,
     {.min = 1, .max = 65535},
     kOnce,
     "Port of the TCP and unix sockets."},
    {"listen_backlog",
     &Config::listen_backlog,
     {.min = 1, .max = 65535},
     kOnce,
     "Connections the kernel holds until they are accepted."},
    {"unix_socket_dir", &Config::unix_socket_dir, kPath, kOnce,
     "Folder of the unix socket; empty for none."},
    {"unix_socket_mode",
     &Config::unix_socket_mode,
     {.unit = Unit::kFileMode, .max = 0777},
     kOnce,
     "File mode of the unix socket."},
    {"workers", &Config::workers, {.max = 1024}, kOnce, "Worker threads; 0 for one per core."},

    // Pools
    {"pool_mode", &Config::pool_mode, kAny, kReload,
     "When a server goes back to its pool: after the session, transaction or statement."},
    {"max_client_conn",
     &Config::max_client_conn,
     {.min = 1, .max = 10'000'000},
     kReload,
     "Client connections accepted in all."},
    {"default_pool_size", &Config::default_pool_size, kAtLeastOne, kReload,
     "Server connections per user, database and shard."},
    {"min_pool_size", &Config::min_pool_size, kCount, kReload,
     "Server connections kept open in a pool that is in use."},
    {"reserve_pool_size", &Config::reserve_pool_size, kCount, kReload,
     "Further server connections a pool may open under pressure."},
    {"reserve_pool_timeout", &Config::reserve_pool_timeout, kTime, kReload,
     "How long a client waits before the reserve is opened; 0 never opens it."},
    {"max_db_connections", &Config::max_db_connections, kCount, kReload,
     "Server connections per database, over all users; 0 for no limit."},
    {"max_user_connections", &Config::max_user_connections, kCount, kReload,
     "Server connections per user, over all databases; 0 for no limit."},
    {"server_lifetime", &Config::server_lifetime, kTime, kReload,
     "Age at which an unused server connection is closed; 0 closes it after each use."},
    {"server_idle_timeout", &Config::server_idle_timeout, kTime, kReload,
     "Idle time after which a server connection is closed; 0 for never."},
    {"server_connect_timeout", &Config::server_connect_timeout, kTime, kReload,
     "How long connecting and logging in to a server may take; 0 for no limit."},
    {"server_login_retry", &Config::server_login_retry, kTime, kReload,
     "Wait after a failed connection to a server before the next attempt."},
    {"server_round_robin", &Config::server_round_robin, kAny, kReload,
     "Use idle servers in turn rather than the last one used."},
    {"server_reset_query", &Config::server_reset_query, kAny, kReload,
     "Run on a server when a session ends, before another client gets it."},
    {"server_reset_query_always", &Config::server_reset_query_always, kAny, kReload,
     "Run the reset query in transaction mode too, after each transaction."},
    {"server_check_query", &Config::server_check_query, kAny, kReload,
     "Run on a server that was idle before a client gets it; empty for none."},
    {"server_check_delay", &Config::server_check_delay, kTime, kReload,
     "Idle time after which the check query is run."},
    {"query_timeout", &Config::query_timeout, kTime, kReload, "Longest query; 0 for no limit."},
    {"query_wait_timeout", &Config::query_wait_timeout, kTime, kReload,
     "How long a client may wait for a server; 0 for no limit."},
    {"cancel_wait_timeout", &Config::cancel_wait_timeout, kTime, kReload,
     "How long a cancel request may wait to reach its server; 0 for no limit."},
    {"client_idle_timeout", &Config::client_idle_timeout, kTime, kReload,
     "Idle clients are disconnected after this; 0 for never."},
    {"client_login_timeout", &Config::client_login_timeout, kTime, kReload,
     "How long a client's login may take; 0 for no limit."},
    {"idle_transaction_timeout", &Config::idle_transaction_timeout, kTime, kReload,
     "Clients idle in a transaction are disconnected after this; 0 for never."},
    {"transaction_timeout", &Config::transaction_timeout, kTime, kReload,
     "Longest transaction; 0 for no limit."},
    {"max_prepared_statements", &Config::max_prepared_statements, kCount, kReload,
     "Prepared statements kept on one server connection."},
    {"max_client_prepared_statements", &Config::max_client_prepared_statements, kAtLeastOne,
     kReload, "Prepared statements one client may hold."},
    {"pinning", &Config::pinning, kAny, kReload,
     "Whether a client may keep a server between transactions when its state needs it."},
    {"max_pinned_servers", &Config::max_pinned_servers, kCount, kReload,
     "Servers of a pool that may be pinned; 0 for as many as the pool holds."},
    {"pin_timeout", &Config::pin_timeout, kTime, kReload,
     "Idle clients that pin a server are disconnected after this; 0 for never."},
    {"ignore_startup_parameters", &Config::ignore_startup_parameters, kAny, kReload,
     "Startup parameters of clients to drop instead of passing them on."},

    // Transactions over several shards
    {"recovery_interval",
     &Config::recovery_interval,
     {.unit = Unit::kSeconds, .min = 1, .max = 3600},
     kReload,
     "How old a prepared transaction may get whose proxy is gone."},
    {"deadlock_timeout", &Config::deadlock_timeout, kTime, kReload,
     "How long a transaction over several shards waits before deadlocks are looked for; 0 for "
     "never."},

    // Memory
    {"client_output_limit",
     &Config::client_output_limit,
     {.unit = Unit::kBytes, .min = 4096, .max = 1 << 30},
     kReload,
     "Bytes queued for a slow client before its server is made to wait."},
    {"max_message_size",
     &Config::max_message_size,
     {.unit = Unit::kBytes, .min = 1024, .max = 0x3fffffff},
     kReload,
     "Largest single message taken from a client."},
    {"scatter_buffer",
     &Config::scatter_buffer,
     {.unit = Unit::kBytes, .min = 4096, .max = 1 << 30},
     kReload,
     "Bytes of result one shard may be ahead of the others in a merge."},
    {"merge_rows", &Config::merge_rows, kAtLeastOne, kReload,
     "Rows that one statement may bring to the merge node."},
    {"merge_bytes",
     &Config::merge_bytes,
     {.unit = Unit::kBytes, .min = 4096, .max = 0x7fffffff},
     kReload,
     "Bytes that one statement may bring to the merge node."},
    {"sort_memory",
     &Config::sort_memory,
     {.unit = Unit::kBytes, .min = 64 * 1024, .max = 0x7fffffff},
     kReload,
     "Bytes of groups that one statement may sort in memory; more goes through a temporary file."},
    {"spill_directory", &Config::spill_directory, kPath, kReload,
     "Folder of these temporary files; empty for what TMPDIR says."},

    // Authentication
    {"auth_file", &Config::auth_file, kPath, kReload, "PgBouncer's userlist.txt; empty for none."},
    {"auth_hba_file", &Config::auth_hba_file, kPath, kReload,
     "Rules in the format of pg_hba.conf, tried before [[hba]]; empty for none."},
    {"auth_type", &Config::auth_type, kAny, kReload, "Authentication where there are no rules."},
    {"auth_user", &Config::auth_user, kAny, kReload,
     "User who runs auth_query; empty switches it off."},
    {"auth_dbname", &Config::auth_dbname, kAny, kReload,
     "Database auth_query runs in; empty for the one the client asked for."},
    {"auth_query", &Config::auth_query, kAny, kReload,
     "Gives name and secret of the user $1 that is not configured."},

    // Admin console
    {"admin_users", &Config::admin_users, kAny, kReload,
     "Users who may run every command of the admin console."},
    {"stats_users", &Config::stats_users, kAny, kReload,
     "Users who may run its SHOW commands only."},
    {"stats_period",
     &Config::stats_period,
     {.unit = Unit::kSeconds, .min = 1, .max = 86400},
     kReload,
     "Seconds the averages of SHOW STATS stand for."},

    // Sockets
    {"tcp_keepalive", &Config::tcp_keepalive, kAny, kReload, "Whether TCP keepalive is on."},
    {"tcp_keepidle",
     &Config::tcp_keepidle,
     {.unit = Unit::kSeconds, .max = 32767},
     kReload,
     "Idle seconds before the first probe; 0 for the system's default."},
    {"tcp_keepintvl",
     &Config::tcp_keepintvl,
     {.unit = Unit::kSeconds, .max = 32767},
     kReload,
     "Seconds between probes; 0 for the system's default."},
    {"tcp_keepcnt",
     &Config::tcp_keepcnt,
     {.max = 127},
     kReload,
     "Probes lost before the connection is; 0 for the system's default."},
    {"tcp_user_timeout",
     &Config::tcp_user_timeout,
     {.unit = Unit::kMilliseconds, .max = 2'147'483'647},
     kReload,
     "Milliseconds sent data may stay unacknowledged; 0 for the system's default."},
    {"dns_max_ttl", &Config::dns_max_ttl, kTime, kReload,
     "How long the address found for a host name is used."},

    // Logging
    {"log_format", &Config::log_format, kAny, kReload, "Text for people or JSON for machines."},
    {"log_level", &Config::log_level, {.choices = kLogLevels}, kReload, "Least level logged."},
    {"log_file", &Config::log_file, kPath, kReload, "File to log to; empty for standard error."},
    {"log_connections", &Config::log_connections, kAny, kReload, "Log each login."},
    {"log_disconnections", &Config::log_disconnections, kAny, kReload,
     "Log each client's end, and why."},
    {"log_pooler_errors", &Config::log_pooler_errors, kAny, kReload,
     "Log errors the proxy itself sends to clients."},
};

constexpr KeySpec<TlsConfig> kTls[] = {
    {"mode", &TlsConfig::mode, kAny, kReload, "As libpq's sslmode."},
    {"cert_file", &TlsConfig::cert_file, kPath, kReload, "Certificate shown to the peer, PEM."},
    {"key_file", &TlsConfig::key_file, kPath, kReload, "Private key of the certificate, PEM."},
    {"ca_file", &TlsConfig::ca_file, kPath, kReload,
     "Certificates trusted to sign the peer's, PEM."},
    {"protocols_min",
     &TlsConfig::protocols_min,
     {.choices = kTlsVersions},
     kReload,
     "Lowest version of TLS taken."},
    {"ciphers", &TlsConfig::ciphers, kAny, kReload,
     "Ciphers of TLS 1.2 in OpenSSL's notation; empty for its default."},
};

constexpr KeySpec<UserConfig> kUser[] = {
    {"pool_mode", &UserConfig::pool_mode, kAny, kReload, "Overrides the database's."},
    {"pool_size", &UserConfig::pool_size, kAtLeastOne, kReload, "Overrides the database's."},
    {"max_user_connections", &UserConfig::max_user_connections, kCount, kReload,
     "Server connections of this user; 0 for the general limit."},
    {"max_user_client_connections", &UserConfig::max_user_client_connections, kCount, kReload,
     "Client connections of this user; 0 for no limit."},
};

constexpr KeySpec<DatabaseConfig> kDatabase[] = {
    {"pool_mode", &DatabaseConfig::pool_mode, kAny, kReload, "Overrides the general one."},
    {"pool_size", &DatabaseConfig::pool_size, kAtLeastOne, kReload, "Overrides default_pool_size."},
    {"min_pool_size", &DatabaseConfig::min_pool_size, kCount, kReload,
     "Overrides the general one."},
    {"reserve_pool_size", &DatabaseConfig::reserve_pool_size, kCount, kReload,
     "Overrides the general one."},
    {"max_db_connections", &DatabaseConfig::max_db_connections, kCount, kReload,
     "Server connections of this database; 0 for the general limit."},
    {"max_db_client_connections", &DatabaseConfig::max_db_client_connections, kCount, kReload,
     "Client connections of this database; 0 for no limit."},
    {"force_user", &DatabaseConfig::force_user, kAny, kReload,
     "Servers are entered as this user, whatever the client's."},
    {"auth_query", &DatabaseConfig::auth_query, kAny, kReload, "Overrides the general one."},
    {"auth_user", &DatabaseConfig::auth_user, kAny, kReload, "Overrides the general one."},
    {"connect_query", &DatabaseConfig::connect_query, kAny, kReload,
     "Run on every new server connection."},
    {"application_name", &DatabaseConfig::application_name, kAny, kReload,
     "Of server connections whose client names none."},
    {"on_cross_shard_write", &DatabaseConfig::on_cross_shard_write, kAny, kReload,
     "What a transaction that writes on a second shard meets."},
    {"on_shard_key_update", &DatabaseConfig::on_shard_key_update, kAny, kReload,
     "What an UPDATE that sets the shard key meets."},
    {"default_shard", &DatabaseConfig::default_shard, kAny, kReload,
     "Where tables live that are not listed; empty refuses them."},
    {"merge_node", &DatabaseConfig::merge_node, kAny, kReload,
     "The shard that runs what cannot be merged row by row; empty for the first."},
};

}  // namespace

std::span<const KeySpec<Config>> general_keys() { return kGeneral; }
std::span<const KeySpec<TlsConfig>> tls_keys() { return kTls; }
std::span<const KeySpec<UserConfig>> user_keys() { return kUser; }
std::span<const KeySpec<DatabaseConfig>> database_keys() { return kDatabase; }

}  // namespace pgshunt
