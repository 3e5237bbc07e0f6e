// SHOW CONFIG, and what a reload may change.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/proxy/config_test_support.h"

namespace pgshunt {
namespace {

constexpr char kSharded[] = R"(
[databases.s]
shards = [{name = "a", host = "h1"}, {name = "b", host = "h2"}]
keyspaces = [{name = "k", type = "bigint"}]
tables = [{name = "t", keyspace = "k", key = "id"}]
)";

std::shared_ptr<const Config> load(const std::string& text) {
  ConfigWorld world;
  ConfigResult result = world.load(text);
  EXPECT_EQ(lines_of(result.issues), "");
  return result.config ? result.config : std::make_shared<Config>();
}

const ConfigKey* row(const std::vector<ConfigKey>& rows, std::string_view key) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const ConfigKey& r) { return r.key == key; });
  return found == rows.end() ? nullptr : &*found;
}

TEST(ConfigReload, ShowsEachKeyOnceWithValueAndDefault) {
  const auto config = load(
      "[pgshunt]\nquery_timeout = \"250ms\"\nlisten_addr = [\"a\", \"b\"]\nunix_socket_mode = "
      "\"0700\"\nclient_output_limit = \"64KB\"\n[server_tls]\nmode = \"disable\"\n" +
      kSomeDatabase);
  const std::vector<ConfigKey> rows = describe_config(*config);
  std::set<std::string> names;
  for (const ConfigKey& key : rows) {
    EXPECT_TRUE(names.insert(key.key).second) << key.key;
    EXPECT_FALSE(key.description.empty()) << key.key;
    EXPECT_EQ(key.description.back(), '.') << key.key;
  }
  EXPECT_EQ(row(rows, "query_timeout")->value, "0.25");
  EXPECT_EQ(row(rows, "query_timeout")->default_value, "0");
  EXPECT_EQ(row(rows, "listen_addr")->value, "a,b");
  EXPECT_EQ(row(rows, "unix_socket_mode")->value, "0700");
  EXPECT_EQ(row(rows, "client_output_limit")->value, "65536");
  EXPECT_EQ(row(rows, "server_tls.mode")->value, "disable");
  EXPECT_EQ(row(rows, "server_tls.mode")->default_value, "prefer");
  EXPECT_TRUE(row(rows, "query_timeout")->changeable);
  EXPECT_FALSE(row(rows, "listen_addr")->changeable);
}

TEST(ConfigReload, ShowsNoSecrets) {
  const auto config = load(
      "[users.a]\npassword = \"hush\"\n[databases.app]\nhost = \"h\"\n"
      "force_user = \"x\"\nforce_password = \"hush\"\n");
  for (const ConfigKey& key : describe_config(*config)) {
    EXPECT_EQ(key.value.find("hush"), std::string::npos) << key.key;
  }
}

TEST(ConfigReload, NeedsNoRestartForWhatCanChange) {
  const auto running = load(kSomeDatabase + kSharded);
  const auto loaded = load(R"(
[pgshunt]
pool_mode = "session"
log_level = "debug"
[users.a]
password = "x"
[databases.app]
host = "elsewhere"
[databases.new]
host = "h"
[databases.s]
shards = [{name = "a", host = "h9"}, {name = "b", host = "h2", replicas = ["r"]}]
keyspaces = [{name = "k", type = "bigint"}]
tables = [{name = "t", keyspace = "k", key = "id"}, {name = "u", reference = true}]
)");
  EXPECT_EQ(restart_needed(*running, *running), std::vector<std::string>{});
  EXPECT_EQ(restart_needed(*running, *loaded), std::vector<std::string>{});
  const auto now = reloaded_config(*running, *loaded);
  EXPECT_EQ(now->pool_mode, PoolMode::kSession);
  EXPECT_EQ(now->databases.at("app").shards[0].primary.host, "elsewhere");
  EXPECT_EQ(now->databases.at("s").shards[0].primary.host, "h9");
  EXPECT_EQ(now->databases.at("s").tables.size(), 2U);
  EXPECT_TRUE(now->databases.contains("new"));
}

TEST(ConfigReload, NamesAndKeepsWhatNeedsARestart) {
  const auto running = load("[pgshunt]\nlisten_port = 1000\nworkers = 2\n" + kSomeDatabase);
  const auto loaded = load("[pgshunt]\nlisten_port = 2000\nmax_client_conn = 5\n" + kSomeDatabase);
  EXPECT_EQ(restart_needed(*running, *loaded),
            (std::vector<std::string>{"pgshunt.listen_port", "pgshunt.workers"}));
  const auto now = reloaded_config(*running, *loaded);
  EXPECT_EQ(now->listen_port, 1000);
  EXPECT_EQ(now->workers, 2U);
  EXPECT_EQ(now->max_client_conn, 5U);
}

TEST(ConfigReload, KeepsTheShapeOfADatabaseAsAWhole) {
  const auto running = load(kSharded);
  const std::pair<const char*, const char*> cases[] = {
      // Another type, another order of shards, another shard, other buckets, and plain.
      {R"([databases.s]
pool_size = 9
shards = [{name = "a", host = "h1"}, {name = "b", host = "h2"}]
keyspaces = [{name = "k", type = "uuid"}]
tables = [{name = "new", reference = true}])",
       "databases.s.keyspaces"},
      {R"([databases.s]
pool_size = 9
shards = [{name = "b", host = "h1"}, {name = "a", host = "h2"}]
keyspaces = [{name = "k", type = "bigint"}])",
       "databases.s.shards"},
      {R"([databases.s]
pool_size = 9
default_shard = "c"
shards = [{name = "a", host = "h1"}, {name = "b", host = "h2"}, {name = "c", host = "h"}]
keyspaces = [{name = "k", type = "bigint"}])",
       "databases.s.shards"},
      {R"([databases.s]
pool_size = 9
shards = [{name = "a", host = "h1"}, {name = "b", host = "h2"}]
keyspaces = [{name = "k", type = "bigint", buckets = [{from = 0, to = 4095, shard = "a"}]}])",
       "databases.s.keyspaces"},
      {R"([databases.s]
pool_size = 9
host = "h")",
       "databases.s.keyspaces"},
  };
  for (const auto& [text, needed] : cases) {
    const auto loaded = load(text);
    EXPECT_EQ(restart_needed(*running, *loaded), std::vector<std::string>{needed}) << text;
    const auto reloaded = reloaded_config(*running, *loaded);
    const DatabaseConfig& now = reloaded->databases.at("s");
    const DatabaseConfig& was = running->databases.at("s");
    EXPECT_EQ(now.keyspaces, was.keyspaces);
    ASSERT_EQ(now.shards.size(), 2U);
    EXPECT_EQ(now.shards[0].name, "a");
    ASSERT_EQ(now.tables.size(), 1U);
    EXPECT_EQ(now.tables[0].name, "t");
    EXPECT_EQ(now.default_shard, "");
    // The rest of the database is the new one's.
    EXPECT_EQ(now.pool_size, 9U);
  }
}

TEST(ConfigReload, KeepsTheDirectory) {
  const std::string text =
      "[databases.s]\nshards = [{name = \"a\", host = \"h1\"}]\n"
      "keyspaces = [{name = \"k\", type = \"bigint\", strategy = \"directory\"}]\ndirectory = ";
  const auto running = load(text + "\"/one\"");
  const auto loaded = load(text + "\"/other\"");
  EXPECT_EQ(restart_needed(*running, *loaded), std::vector<std::string>{"databases.s.directory"});
  EXPECT_EQ(reloaded_config(*running, *loaded)->databases.at("s").directory, "/one");
}

TEST(ConfigReload, LetsDatabasesGo) {
  const auto running = load(kSomeDatabase + kSharded);
  const auto loaded = load(kSomeDatabase);
  EXPECT_EQ(restart_needed(*running, *loaded), std::vector<std::string>{});
  EXPECT_FALSE(reloaded_config(*running, *loaded)->databases.contains("s"));
}

}  // namespace
}  // namespace pgshunt
