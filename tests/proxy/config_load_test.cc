// What a good configuration becomes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/proxy/config_test_support.h"

namespace pgshunt {
namespace {

std::shared_ptr<const Config> load_good(ConfigWorld& world, const std::string& text) {
  ConfigResult result = world.load(text);
  EXPECT_EQ(lines_of(result.issues), "");
  return result.config ? result.config : std::make_shared<Config>();
}

std::shared_ptr<const Config> load_good(const std::string& text) {
  ConfigWorld world;
  return load_good(world, text);
}

TEST(ConfigLoad, LeavesEverythingElseAtItsDefault) {
  const auto config = load_good(kSomeDatabase);
  const Config defaults;
  for (const ConfigKey& key : describe_config(*config)) EXPECT_EQ(key.value, key.default_value);
  EXPECT_EQ(config->file, "/etc/pgshunt/x.toml");
  EXPECT_EQ(config->users.size(), 0U);
  ASSERT_EQ(config->databases.size(), 1U);
}

TEST(ConfigLoad, ReadsGeneralKeysOfEveryType) {
  const auto config = load_good(R"(
[pgshunt]
listen_addr = ["10.0.0.1", "::1"]
listen_port = 7000
unix_socket_mode = "0750"
pool_mode = "session"
server_round_robin = true
client_output_limit = "1MB"
query_timeout = "250ms"
query_wait_timeout = 2.5
stats_period = "2min"
tcp_user_timeout = "5s"
log_format = "json"
ignore_startup_parameters = "extra_float_digits, search_path"
[server_tls]
mode = "require"
)" + kSomeDatabase);
  EXPECT_EQ(config->listen_addr, (std::vector<std::string>{"10.0.0.1", "::1"}));
  EXPECT_EQ(config->listen_port, 7000);
  EXPECT_EQ(config->unix_socket_mode, 0750U);
  EXPECT_EQ(config->pool_mode, PoolMode::kSession);
  EXPECT_TRUE(config->server_round_robin);
  EXPECT_EQ(config->client_output_limit, 1024U * 1024U);
  EXPECT_DOUBLE_EQ(config->query_timeout.count(), 0.25);
  EXPECT_DOUBLE_EQ(config->query_wait_timeout.count(), 2.5);
  EXPECT_EQ(config->stats_period, 120U);
  EXPECT_EQ(config->tcp_user_timeout, 5000U);
  EXPECT_EQ(config->log_format, LogFormat::kJson);
  EXPECT_EQ(config->ignore_startup_parameters,
            (std::vector<std::string>{"extra_float_digits", "search_path"}));
  EXPECT_EQ(config->server_tls.mode, SslMode::kRequire);
}

TEST(ConfigLoad, AcceptsEveryUnitOfTime) {
  const std::pair<const char*, double> times[] = {
      {"0", 0},           {"\"1500us\"", 0.0015}, {"\"7ms\"", 0.007}, {"\"7 s\"", 7},
      {"\"1.5min\"", 90}, {"\"2h\"", 7200},       {"\"3d\"", 259200}, {"31536000", 31536000},
  };
  for (const auto& [text, seconds] : times) {
    const auto config =
        load_good(std::string("[pgshunt]\nquery_timeout = ") + text + kSomeDatabase);
    EXPECT_DOUBLE_EQ(config->query_timeout.count(), seconds) << text;
  }
}

TEST(ConfigLoad, ReadsUsersWithTheirLimits) {
  const auto config = load_good(R"(
[users.bob]
password = "s"
pool_mode = "session"
pool_size = 3
max_user_connections = 4
max_user_client_connections = 5
[users."o'neil"]
[users."zoë"]
)" + kSomeDatabase);
  const UserConfig& bob = config->users.at("bob");
  EXPECT_EQ(bob.name, "bob");
  EXPECT_EQ(bob.secret, "s");
  EXPECT_EQ(bob.pool_mode, PoolMode::kSession);
  EXPECT_EQ(bob.pool_size, 3U);
  EXPECT_EQ(bob.max_user_connections, 4U);
  EXPECT_EQ(bob.max_user_client_connections, 5U);
  EXPECT_EQ(config->users.at("o'neil").secret, "");
  EXPECT_EQ(config->users.at("zoë").name, "zoë");
  EXPECT_FALSE(config->users.at("o'neil").pool_size.has_value());
}

TEST(ConfigLoad, TakesSecretsFromFilesAndTheEnvironment) {
  ConfigWorld world;
  world.files["/etc/pgshunt/a.secret"] = "from file\r\n";
  world.files["/run/b"] = "absolute";
  world.variables["SECRET_C"] = "from environment";
  const auto config = load_good(world, R"(
[users.a]
password_file = "a.secret"
[users.b]
password_file = "/run/b"
[users.c]
password_env = "SECRET_C"
[databases.app]
host = "h"
force_user = "x"
force_password_env = "SECRET_C"
)");
  EXPECT_EQ(config->users.at("a").secret, "from file");
  EXPECT_EQ(config->users.at("b").secret, "absolute");
  EXPECT_EQ(config->users.at("c").secret, "from environment");
  EXPECT_EQ(config->databases.at("app").force_password, "from environment");
}

TEST(ConfigLoad, LooksForFilesFromItsOwnFolder) {
  ConfigWorld world;
  world.files["/etc/pgshunt/server.crt"] = "c";
  world.files["/keys/server.key"] = "k";
  const auto config = load_good(world, R"(
[pgshunt]
unix_socket_dir = "sockets"
log_file = "/var/log/pgshunt.log"
[client_tls]
mode = "require"
cert_file = "server.crt"
key_file = "/keys/server.key"
)" + kSomeDatabase);
  EXPECT_EQ(config->unix_socket_dir, "/etc/pgshunt/sockets");
  EXPECT_EQ(config->log_file, "/var/log/pgshunt.log");
  EXPECT_EQ(config->client_tls.cert_file, "/etc/pgshunt/server.crt");
  EXPECT_EQ(config->client_tls.key_file, "/keys/server.key");
}

TEST(ConfigLoad, ReadsRulesInOrder) {
  const auto config = load_good(R"(
[[hba]]
type = "local"
user = "postgres"
method = "trust"
[[hba]]
type = "hostssl"
database = ["app", "/^test"]
address = "10.0.0.0/8"
method = "md5"
[[hba]]
method = "reject"
)" + kSomeDatabase);
  ASSERT_EQ(config->hba.size(), 3U);
  EXPECT_EQ(config->hba[0].connection, HbaRule::Connection::kLocal);
  EXPECT_EQ(config->hba[0].users, std::vector<std::string>{"postgres"});
  EXPECT_EQ(config->hba[0].databases, std::vector<std::string>{"all"});
  EXPECT_EQ(config->hba[0].address, "");
  EXPECT_EQ(config->hba[0].method, AuthMethod::kTrust);
  EXPECT_EQ(config->hba[0].origin, "/etc/pgshunt/x.toml:2");
  EXPECT_EQ(config->hba[1].databases, (std::vector<std::string>{"app", "/^test"}));
  EXPECT_EQ(config->hba[1].address, "10.0.0.0/8");
  EXPECT_EQ(config->hba[2].connection, HbaRule::Connection::kAny);
  EXPECT_EQ(config->hba[2].address, "all");
}

TEST(ConfigLoad, AddsTheUsersAndRulesOfItsFiles) {
  ConfigWorld world;
  world.files["/etc/pgshunt/userlist.txt"] =
      "\"ann\" \"from file\"\n\"bob\" \"from file\"\n\"cid\" \"from file\"\n";
  world.files["/etc/pgshunt/hba.conf"] = "local all all trust\nhost all all 10.0.0.0/8 md5\n";
  const auto config = load_good(world, R"(
[pgshunt]
auth_file = "userlist.txt"
auth_hba_file = "hba.conf"
admin_users = ["ann"]
[users.bob]
password = "from configuration"
[users.cid]
pool_size = 3
[[hba]]
method = "reject"
)" + kSomeDatabase);
  EXPECT_EQ(config->users.size(), 3U);
  EXPECT_EQ(config->users.at("ann").name, "ann");
  EXPECT_EQ(config->users.at("ann").secret, "from file");
  EXPECT_EQ(config->users.at("bob").secret, "from configuration");
  EXPECT_EQ(config->users.at("cid").secret, "from file");
  EXPECT_EQ(config->users.at("cid").pool_size, 3U);
  ASSERT_EQ(config->hba.size(), 3U);
  EXPECT_EQ(config->hba[0].origin, "/etc/pgshunt/hba.conf:1");
  EXPECT_EQ(config->hba[1].method, AuthMethod::kMd5);
  EXPECT_EQ(config->hba[2].method, AuthMethod::kReject);
}

TEST(ConfigLoad, GivesAPlainDatabaseOneShard) {
  const auto config = load_good(R"(
[databases.app]
host = "/var/run/postgresql"
[databases.other]
host = "db.example"
port = 5433
dbname = "real"
[databases."*"]
host = "h"
)");
  const DatabaseConfig& app = config->databases.at("app");
  EXPECT_FALSE(app.sharded());
  ASSERT_EQ(app.shards.size(), 1U);
  EXPECT_EQ(app.shards[0].name, kOnlyShard);
  EXPECT_EQ(app.shards[0].dbname, "app");
  EXPECT_EQ(app.shards[0].primary.host, "/var/run/postgresql");
  EXPECT_EQ(app.shards[0].primary.port, 5432);
  EXPECT_EQ(config->databases.at("other").shards[0].dbname, "real");
  EXPECT_EQ(config->databases.at("other").shards[0].primary.port, 5433);
  EXPECT_EQ(config->databases.at("*").shards[0].dbname, "");
}

TEST(ConfigLoad, ReadsAShardedDatabase) {
  const auto config = load_good(R"(
[databases.social]
on_cross_shard_write = "one_phase"
on_shard_key_update = "move"
default_shard = "s2"
pool_size = 7
shards = [
  {name = "s1", host = "a", replicas = ["r1", "r2:6000", "[fe80::1]:6001"]},
  {name = "s2", host = "b", port = 6000, dbname = "part2"},
]
keyspaces = [
  {name = "users", type = "bigint", buckets = [
    {from = 1000, to = 4095, shard = "s2"}, {from = 0, to = 999, shard = "s1"}]},
  {name = "docs", type = "uuid"},
]
tables = [
  {name = "users", keyspace = "users", key = "id"},
  {name = "blog.Posts", keyspace = "users", key = "user_id"},
  {name = "countries", reference = true},
  {name = "settings", shard = "s1", reference = false},
]
)");
  const DatabaseConfig& social = config->databases.at("social");
  EXPECT_TRUE(social.sharded());
  EXPECT_EQ(social.on_cross_shard_write, CrossShardWrite::kOnePhase);
  EXPECT_EQ(social.on_shard_key_update, ShardKeyUpdate::kMove);
  EXPECT_EQ(social.default_shard, "s2");
  EXPECT_EQ(social.pool_size, 7U);
  ASSERT_EQ(social.shards.size(), 2U);
  EXPECT_EQ(social.shards[0].dbname, "social");
  EXPECT_EQ(social.shards[1].dbname, "part2");
  ASSERT_EQ(social.shards[0].replicas.size(), 3U);
  EXPECT_EQ(social.shards[0].replicas[0].host, "r1");
  EXPECT_EQ(social.shards[0].replicas[0].port, 5432);
  EXPECT_EQ(social.shards[0].replicas[1].port, 6000);
  EXPECT_EQ(social.shards[0].replicas[2].host, "fe80::1");
  EXPECT_EQ(social.shards[0].replicas[2].port, 6001);
  ASSERT_EQ(social.keyspaces.size(), 2U);
  ASSERT_EQ(social.keyspaces[0].buckets.size(), 2U);
  EXPECT_EQ(social.keyspaces[0].buckets[1].last, 999);
  EXPECT_EQ(social.keyspaces[1].key_type, KeyType::kUuid);
  EXPECT_TRUE(social.keyspaces[1].buckets.empty());
  ASSERT_EQ(social.tables.size(), 4U);
  EXPECT_EQ(social.tables[0].schema, "public");
  EXPECT_EQ(social.tables[0].kind, TableKind::kSharded);
  EXPECT_EQ(social.tables[1].schema, "blog");
  EXPECT_EQ(social.tables[1].name, "Posts");
  EXPECT_EQ(social.tables[1].key, "user_id");
  EXPECT_EQ(social.tables[2].kind, TableKind::kReference);
  EXPECT_EQ(social.tables[3].kind, TableKind::kUnsharded);
  EXPECT_EQ(social.tables[3].shard, "s1");
}

TEST(ConfigLoad, KnowsPostgresNamesOfKeyTypes) {
  const std::pair<const char*, KeyType> types[] = {
      {"int2", KeyType::kInt2},
      {"smallint", KeyType::kInt2},
      {"int", KeyType::kInt4},
      {"integer", KeyType::kInt4},
      {"int8", KeyType::kInt8},
      {"text", KeyType::kText},
      {"character varying", KeyType::kVarchar},
      {"bytea", KeyType::kBytea},
      {"decimal", KeyType::kNumeric},
      {"date", KeyType::kDate},
      {"timestamp without time zone", KeyType::kTimestamp},
      {"timestamptz", KeyType::kTimestamptz},
  };
  for (const auto& [name, type] : types) {
    const auto config = load_good(
        "[databases.d]\nshards = [{name = \"s\", host = \"h\"}]\n"
        "keyspaces = [{name = \"k\", type = \"" +
        std::string(name) + "\"}]\n");
    EXPECT_EQ(config->databases.at("d").keyspaces.at(0).key_type, type) << name;
  }
}

TEST(ConfigLoad, WarnsOfWhatIsOnlySuspect) {
  ConfigWorld world;
  world.files["/c"] = world.files["/k"] = "x";
  const ConfigResult result = world.load(
      "[pgshunt]\nadmin_users = [\"nobody\"]\n[client_tls]\ncert_file = \"/c\"\nkey_file = "
      "\"/k\"\n" +
      kSomeDatabase);
  EXPECT_NE(result.config, nullptr);
  EXPECT_EQ(lines_of(result.warnings),
            "2: pgshunt.admin_users: names \"nobody\", who is not among the users\n"
            "4: client_tls.cert_file: is not used: mode is \"disable\"");
}

// The system's own files and environment, once.
TEST(ConfigLoad, ReadsFromTheSystem) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "pgshunt_config_load";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "x.toml") << "[users.a]\npassword_file = \"a.secret\"\n[users.b]\n"
                                      "password_env = \"PGSHUNT_TEST_SECRET\"\n"
                                   << kSomeDatabase;
  std::ofstream(folder / "a.secret") << "one\n";
  ::setenv("PGSHUNT_TEST_SECRET", "two", 1);
  const ConfigResult result = load_config(folder / "x.toml");
  EXPECT_EQ(lines_of(result.issues), "");
  ASSERT_NE(result.config, nullptr);
  EXPECT_EQ(result.config->users.at("a").secret, "one");
  EXPECT_EQ(result.config->users.at("b").secret, "two");

  EXPECT_EQ(lines_of(load_config(folder / "none.toml").issues),
            (folder / "none.toml").string() + ": cannot read \"" + (folder / "none.toml").string() +
                "\": No such file or directory");
  EXPECT_EQ(load_config(folder).issues.at(0).problem,
            "cannot read \"" + folder.string() + "\": Is a directory");
  EXPECT_EQ(load_config("/dev/zero").issues.at(0).problem,
            "cannot read \"/dev/zero\": larger than 16 MB");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace pgshunt
