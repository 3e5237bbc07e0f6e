// The whole configuration as plain data: what configs/pgshunt.toml says, checked and completed with
// defaults. Immutable once loaded; a reload makes a new one. Names are PgBouncer's wherever the
// meaning is the same, so that people's knowledge and dashboards keep their worth.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/result.h"

namespace pgshunt {

using Seconds = std::chrono::duration<double>;  // 0 switches a time-out off

enum class PoolMode : std::uint8_t { kSession, kTransaction, kStatement };
enum class SslMode : std::uint8_t { kDisable, kAllow, kPrefer, kRequire, kVerifyCa, kVerifyFull };
enum class AuthMethod : std::uint8_t { kTrust, kReject, kPassword, kMd5, kScramSha256, kCert };
enum class LogFormat : std::uint8_t { kText, kJson };
// What to do with a client whose statement needs a server of its own in transaction mode.
enum class PinPolicy : std::uint8_t { kAllow, kRefuse };
// What a transaction that writes on a second shard meets.
enum class CrossShardWrite : std::uint8_t { kTwoPhase, kRefuse, kOnePhase };
enum class ShardKeyUpdate : std::uint8_t { kRefuse, kMove };

struct TlsConfig {
  SslMode mode = SslMode::kPrefer;
  std::string cert_file;
  std::string key_file;
  std::string ca_file;
  std::string protocols_min = "TLSv1.2";
  std::string ciphers;  // empty: OpenSSL's default list
};

struct HbaRule {
  enum class Connection : std::uint8_t { kAny, kLocal, kHost, kHostSsl, kHostNoSsl };
  Connection connection = Connection::kAny;
  std::vector<std::string> databases;  // "all", names, "/regex", "sameuser"
  std::vector<std::string> users;      // "all", names, "/regex"
  std::string address;                 // "all", CIDR, or empty for local
  AuthMethod method = AuthMethod::kScramSha256;
  std::map<std::string, std::string> options;  // cert: map = "cn" | a user name
  std::string origin;                          // "file:line", for messages
};

struct UserConfig {
  std::string name;
  std::string secret;  // plain, md5..., or SCRAM-SHA-256$...; already read from file or environment
  std::optional<PoolMode> pool_mode;
  std::optional<std::uint32_t> pool_size;
  std::uint32_t max_user_connections = 0;  // server connections, 0: no limit
  std::uint32_t max_user_client_connections = 0;
};

struct HostConfig {
  std::string host;  // name, address, or a directory with a unix socket
  std::uint16_t port = 5432;
};

// What the shard of a plain database is called.
inline constexpr const char* kOnlyShard = "main";

struct ShardConfig {
  std::string name;    // unique in its database
  std::string dbname;  // empty in the fallback database: the name the client asked for
  HostConfig primary;
  std::vector<HostConfig>
      replicas;  // known to the demo and the admin console; reads stay on the primary
};

enum class KeyType : std::uint8_t {
  kInt2,
  kInt4,
  kInt8,
  kText,
  kVarchar,
  kUuid,
  kBytea,
  kNumeric,
  kDate,
  kTimestamp,
  kTimestamptz,
};

// How a keyspace's keys are placed on shards.
enum class Strategy : std::uint8_t { kHash, kRange, kList, kDirectory, kSchema };
// What a directory does with a key it has not seen.
enum class NewKeys : std::uint8_t { kHash, kLeastLoaded, kRefuse, kFixed };

// Keys stand here as they are written: checked, not yet encoded.
struct KeyspaceConfig {
  std::string name;
  Strategy strategy = Strategy::kHash;
  KeyType key_type = KeyType::kInt8;  // of all but kSchema
  // Bucket ranges to shard names, covering 0..4095 exactly once. Empty: dealt evenly over all
  // shards.
  struct BucketRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    std::string shard;
    bool operator==(const BucketRange&) const = default;
  };
  std::vector<BucketRange> buckets;  // kHash
  // kHash: keys with a shard of their own, whatever their bucket.
  struct PlacedKey {
    std::string key;
    std::string shard;
    bool operator==(const PlacedKey&) const = default;
  };
  std::vector<PlacedKey> overrides;
  // kRange: [from, to); an end that is not there is unbounded. Without overlaps.
  struct KeyRange {
    std::optional<std::string> from;
    std::optional<std::string> to;
    std::string shard;
    bool operator==(const KeyRange&) const = default;
  };
  std::vector<KeyRange> ranges;
  std::vector<PlacedKey> values;      // kList: no key twice
  std::string default_shard;          // kList: of all other keys; empty: they are refused
  NewKeys new_keys = NewKeys::kHash;  // kDirectory
  std::string new_keys_shard;         // kDirectory, NewKeys::kFixed
  std::vector<PlacedKey> schemas;     // kSchema: key is the schema's name
  bool operator==(const KeyspaceConfig&) const = default;
};

enum class TableKind : std::uint8_t { kSharded, kReference, kUnsharded };

struct TableConfig {
  std::string schema = "public";
  std::string name;
  TableKind kind = TableKind::kSharded;
  std::string keyspace;  // kSharded
  std::string key;       // kSharded: the key column
  std::string shard;     // kUnsharded: where it lives
};

struct DatabaseConfig {
  std::string name;  // as clients name it; "*" is the fallback for names not listed
  // A plain database has no keyspaces and exactly one shard, named kOnlyShard unless it was given
  // as one of [[databases.NAME.shards]].
  std::vector<ShardConfig> shards;
  std::vector<KeyspaceConfig> keyspaces;
  std::vector<TableConfig> tables;
  std::optional<PoolMode> pool_mode;
  std::optional<std::uint32_t> pool_size;
  std::optional<std::uint32_t> min_pool_size;
  std::optional<std::uint32_t> reserve_pool_size;
  std::uint32_t max_db_connections = 0;         // server connections, 0: no limit
  std::uint32_t max_db_client_connections = 0;  // 0: no limit
  std::string force_user;  // servers are entered as this user whatever the client's
  std::string force_password;
  std::string auth_query;  // overrides the general one
  std::string auth_user;
  std::string connect_query;  // run on every new server connection
  std::string application_name;
  CrossShardWrite on_cross_shard_write = CrossShardWrite::kTwoPhase;
  ShardKeyUpdate on_shard_key_update = ShardKeyUpdate::kRefuse;
  // Where a table that `tables` does not name lives; empty: such a table is an error.
  std::string default_shard;
  // The shard where statements run that no merging of rows can answer; empty: the first.
  std::string merge_node;
  std::string directory;  // folder of the keys of its directory keyspaces, if it has any

  bool sharded() const { return !keyspaces.empty(); }
  bool uses_directory() const {
    return std::any_of(keyspaces.begin(), keyspaces.end(), [](const KeyspaceConfig& keyspace) {
      return keyspace.strategy == Strategy::kDirectory;
    });
  }
};

struct Config {
  std::string file;  // where it was read from

  // Listening
  std::vector<std::string> listen_addr = {"127.0.0.1"};  // "*": all
  std::uint16_t listen_port = 6432;
  std::uint32_t listen_backlog = 1024;
  std::string unix_socket_dir;  // empty: none
  std::uint32_t unix_socket_mode = 0777;
  std::uint32_t workers = 0;  // 0: one per core
  TlsConfig client_tls{SslMode::kDisable, {}, {}, {}, "TLSv1.2", {}};
  TlsConfig server_tls;

  // Pools
  PoolMode pool_mode = PoolMode::kTransaction;
  std::uint32_t max_client_conn = 1000;
  std::uint32_t default_pool_size = 20;
  std::uint32_t min_pool_size = 0;
  std::uint32_t reserve_pool_size = 0;
  Seconds reserve_pool_timeout{5};
  std::uint32_t max_db_connections = 0;
  std::uint32_t max_user_connections = 0;
  Seconds server_lifetime{3600};
  Seconds server_idle_timeout{600};
  Seconds server_connect_timeout{15};
  Seconds server_login_retry{15};
  bool server_round_robin = false;
  std::string server_reset_query = "DISCARD ALL";
  bool server_reset_query_always = false;
  std::string server_check_query = "select 1";
  Seconds server_check_delay{30};
  Seconds query_timeout{0};
  Seconds query_wait_timeout{120};
  Seconds cancel_wait_timeout{10};
  Seconds client_idle_timeout{0};
  Seconds client_login_timeout{60};
  Seconds idle_transaction_timeout{0};
  Seconds transaction_timeout{0};
  std::uint32_t max_prepared_statements = 200;  // per server connection
  std::uint32_t max_client_prepared_statements = 65536;
  PinPolicy pinning = PinPolicy::kAllow;
  std::uint32_t max_pinned_servers = 0;  // per pool, 0: up to the pool's size
  Seconds pin_timeout{0};                // a pinned, idle client loses its connection after this
  std::vector<std::string> ignore_startup_parameters;

  // Transactions over several shards
  Seconds recovery_interval{10};
  Seconds deadlock_timeout{1};

  // Memory
  std::uint32_t client_output_limit =
      256 * 1024;  // bytes queued for a slow client before its server waits
  std::uint32_t max_message_size = 0x3fffffff;  // one client message
  std::uint32_t scatter_buffer = 256 * 1024;    // bytes a shard may be ahead in a merge
  // What one statement may bring to the merge node.
  std::uint32_t merge_rows = 10'000'000;
  std::uint32_t merge_bytes = 1 << 30;
  std::uint32_t sort_memory = 16 * 1024 * 1024;  // bytes of rows that one statement sorts here
  std::string spill_directory;                   // what exceeds it; empty: TMPDIR

  // Authentication
  std::string auth_file;  // PgBouncer's userlist.txt
  std::string auth_hba_file;
  std::vector<HbaRule> hba;  // rules of the file and of the configuration, in order
  AuthMethod auth_type = AuthMethod::kScramSha256;  // where there are no rules
  std::string auth_user;
  std::string auth_dbname;
  std::string auth_query = "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1";
  std::map<std::string, UserConfig> users;

  // Admin console
  std::vector<std::string> admin_users;
  std::vector<std::string> stats_users;
  std::uint32_t stats_period = 60;

  // Sockets
  bool tcp_keepalive = true;
  std::uint32_t tcp_keepidle = 0;
  std::uint32_t tcp_keepintvl = 0;
  std::uint32_t tcp_keepcnt = 0;
  std::uint32_t tcp_user_timeout = 0;  // milliseconds
  Seconds dns_max_ttl{15};

  // Logging
  LogFormat log_format = LogFormat::kText;
  std::string log_level = "info";
  std::string log_file;  // empty: standard error
  bool log_connections = true;
  bool log_disconnections = true;
  bool log_pooler_errors = true;

  std::map<std::string, DatabaseConfig> databases;
};

// One thing wrong with a configuration, where and what was expected.
struct ConfigIssue {
  std::string file;
  std::uint32_t line = 0;
  std::string key;      // dotted path, e.g. databases.app.pool_size
  std::string problem;  // "is 3.5, expected a whole number from 0 to 65535"

  std::string to_string() const;  // "pgshunt.toml:12: databases.app.pool_size: is ..."
};

// All issues at once, or the configuration. Reads the file and those it names (auth_file,
// auth_hba_file, secrets, certificates are only checked to be readable).
struct ConfigResult {
  std::shared_ptr<const Config> config;  // null when there are issues
  std::vector<ConfigIssue> issues;
  std::vector<ConfigIssue> warnings;  // suspect, but no reason to refuse
};
ConfigResult load_config(const std::string& file);

// One row of SHOW CONFIG, and what a reload may change.
struct ConfigKey {
  std::string key;
  std::string value;  // secrets never appear here
  std::string default_value;
  bool changeable;  // by RELOAD, without a restart
  std::string description;
};
std::vector<ConfigKey> describe_config(const Config& config);

// Keys that differ and need a restart to take effect.
std::vector<std::string> restart_needed(const Config& running, const Config& loaded);

// What a reload may run with: `loaded`, but with everything restart_needed() names as it was.
std::shared_ptr<const Config> reloaded_config(const Config& running, const Config& loaded);

}  // namespace pgshunt
