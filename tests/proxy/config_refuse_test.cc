// What is refused, and in which words.
#include <gtest/gtest.h>

#include "tests/proxy/config_test_support.h"

namespace pgshunt {
namespace {

struct Bad {
  const char* text;
  const char* issues;
};

// Reads all of `cases`, each followed by a database that is all right.
void expect_refused(std::span<const Bad> cases) {
  for (const Bad& bad : cases) {
    ConfigWorld world;
    world.files["/good"] = "x";
    world.files["/empty"] = "\n";
    world.files["/two"] = "a\nb\n";
    const ConfigResult result = world.load(bad.text + kSomeDatabase);
    EXPECT_EQ(result.config, nullptr) << bad.text;
    EXPECT_EQ(lines_of(result.issues), bad.issues) << bad.text;
  }
}

constexpr char kTimes[] =
    ", expected a time from 0 to 31536000 seconds, such as 5, 0.25, \"250ms\" or \"10min\"";

TEST(ConfigRefuse, ValuesOfTheWrongTypeOrRange) {
  const std::string query_timeout = "2: pgshunt.query_timeout: is ";
  const std::pair<const char*, const char*> times[] = {
      {"-1", "-1"},
      {"\"5m\"", "\"5m\""},
      {"\"5\"", "\"5\""},
      {"true", "true"},
      {"nan", "nan"},
      {"inf", "inf"},
      {"\"\"", "\"\""},
      {"\"1e3s\"", "\"1e3s\""},
      {"31536001", "31536001"},
      {"\"366d\"", "\"366d\""},
      {"[1]", "a list"},
      {"1979-05-27", "a date or time"},
      {"{a = 1}", "a table"},
  };
  for (const auto& [text, shown] : times) {
    const std::string source = std::string("[pgshunt]\nquery_timeout = ") + text;
    const std::string issue = query_timeout + shown + kTimes;
    const Bad bad{source.c_str(), issue.c_str()};
    expect_refused({&bad, 1});
  }
  const Bad cases[] = {
      {"[pgshunt]\nlisten_port = 0",
       "2: pgshunt.listen_port: is 0, expected a whole number from 1 to 65535"},
      {"[pgshunt]\nlisten_port = 65536",
       "2: pgshunt.listen_port: is 65536, expected a whole number from 1 to 65535"},
      {"[pgshunt]\nlisten_port = \"6432\"",
       "2: pgshunt.listen_port: is \"6432\", expected a whole number from 1 to 65535"},
      {"[pgshunt]\nmax_client_conn = 3.5",
       "2: pgshunt.max_client_conn: is 3.5, expected a whole number from 1 to 10000000"},
      {"[pgshunt]\ndefault_pool_size = 4294967296",
       "2: pgshunt.default_pool_size: is 4294967296, expected a whole number from 1 to 4294967295"},
      {"[pgshunt]\nclient_output_limit = \"1kb\"",
       "2: pgshunt.client_output_limit: is \"1kb\", expected a size from 4096 to 1073741824 bytes, "
       "such as 65536 or \"64KB\""},
      {"[pgshunt]\nclient_output_limit = 1",
       "2: pgshunt.client_output_limit: is 1, expected a size from 4096 to 1073741824 bytes, such "
       "as 65536 or \"64KB\""},
      {"[pgshunt]\nstats_period = 0.5",
       "2: pgshunt.stats_period: is 0.5, expected a time from 1 to 86400 seconds, such as 5, 0.25, "
       "\"250ms\" or \"10min\""},
      {"[pgshunt]\ntcp_user_timeout = \"1us\"",
       "2: pgshunt.tcp_user_timeout: is \"1us\", expected a time from 0 to 2147483647 "
       "milliseconds, such as 5000 or \"5s\""},
      {"[pgshunt]\nunix_socket_mode = 777",
       "2: pgshunt.unix_socket_mode: is 777, expected an octal file mode in quotes from \"0000\" "
       "to \"0777\""},
      {"[pgshunt]\nunix_socket_mode = \"0788\"",
       "2: pgshunt.unix_socket_mode: is \"0788\", expected an octal file mode in quotes from "
       "\"0000\" to \"0777\""},
      {"[pgshunt]\nserver_round_robin = 1",
       "2: pgshunt.server_round_robin: is 1, expected true or false"},
      {"[pgshunt]\npool_mode = \"tx\"",
       "2: pgshunt.pool_mode: is \"tx\", expected \"session\", \"transaction\" or \"statement\""},
      {"[pgshunt]\npool_mode = 1",
       "2: pgshunt.pool_mode: is 1, expected \"session\", \"transaction\" or \"statement\""},
      {"[pgshunt]\nlog_level = \"loud\"",
       "2: pgshunt.log_level: is \"loud\", expected \"debug\", \"info\", \"warning\" or \"error\""},
      {"[pgshunt]\nauth_query = 5", "2: pgshunt.auth_query: is 5, expected a string in quotes"},
      {"[pgshunt]\nauth_query = \"a\\u0000b\"", "2: pgshunt.auth_query: holds a NUL character"},
      {"[pgshunt]\nadmin_users = [\"a\", 5]",
       "2: pgshunt.admin_users: holds an element that is 5, expected strings in quotes"},
      {"[pgshunt]\nadmin_users = [\"\"]", "2: pgshunt.admin_users: holds an empty string"},
      {"[pgshunt]\nadmin_users = 5",
       "2: pgshunt.admin_users: is 5, expected a list of strings in quotes"},
      {"[client_tls]\nprotocols_min = \"SSLv3\"",
       "2: client_tls.protocols_min: is \"SSLv3\", expected \"TLSv1.2\" or \"TLSv1.3\""},
      {"pgshunt = 5", "1: pgshunt: is a number, expected a table [pgshunt]"},
      {"users = 5", "1: users: is a number, expected a table"},
      {"[users]\nbob = \"secret\"", "2: users.bob: is a string, expected a table [users.bob]"},
      {"hba = \"all\"", "1: hba: is a string, expected a list of tables [[hba]]"},
      {"hba = [5]", "1: hba[0]: is a number, expected a table"},
  };
  expect_refused(cases);
}

TEST(ConfigRefuse, UnknownKeysWithTheNameThatWasMeant) {
  const Bad cases[] = {
      {"[pgshunt]\nlisten_prt = 1", "2: pgshunt.listen_prt: is unknown, did you mean listen_port?"},
      {"[pgshunt]\nclient_tls_sslmode = \"require\"",
       "2: pgshunt.client_tls_sslmode: is unknown, did you mean client_tls.mode?"},
      {"[pgshunt]\nverbose = 1", "2: pgshunt.verbose: is unknown, did you mean pgshunt.log_level?"},
      {"[pgshunt]\nflux_capacitor = 1", "2: pgshunt.flux_capacitor: is unknown"},
      {"listen_port = 1", "1: listen_port: is unknown, did you mean pgshunt.listen_port?"},
      {"listen_prt = 1", "1: listen_prt: is unknown, did you mean pgshunt.listen_port?"},
      {"[database.app]", "1: database: is unknown, did you mean databases?"},
      {"[flux_capacitor]",
       "1: flux_capacitor: is unknown, expected one of the tables \"pgshunt\", \"client_tls\", "
       "\"server_tls\", \"users\", \"hba\" or \"databases\""},
      {"[users.bob]\npasword = \"x\"", "2: users.bob.pasword: is unknown, did you mean password?"},
      {"[users.\"a\\nb\"]\nx = 1", "2: users.\"a?b\".x: is unknown"},
      {"[[hba]]\nmethod = \"trust\"\nadress = \"all\"",
       "3: hba[0].adress: is unknown, did you mean address?"},
  };
  expect_refused(cases);
}

TEST(ConfigRefuse, SecretsThatAreNotThereWithoutShowingThem) {
  const Bad cases[] = {
      {"[users.a]\npassword = 123456",
       "2: users.a.password: is a number, expected a string in quotes"},
      {"[users.a]\npassword = \"\"", "2: users.a.password: is empty, expected a secret"},
      {"[users.a]\npassword = \"SCRAM-SHA-256$hush\"",
       "2: users.a.password: the secret begins like a SCRAM-SHA-256 secret but is not a "
       "well-formed one"},
      {"[users.a]\npassword = \"hush\\u0000\"", "2: users.a.password: holds a NUL character"},
      {"[users.a]\npassword = \"hush\"\npassword_file = \"/good\"",
       "3: users.a.password_file: contradicts another source of the same secret, expected one of "
       "password, password_file and password_env"},
      {"[users.a]\npassword_env = \"X\"\npassword_file = \"/good\"",
       "2: users.a.password_env: contradicts another source of the same secret, expected one of "
       "password, password_file and password_env"},
      {"[users.a]\npassword_file = \"gone\"",
       "2: users.a.password_file: cannot read \"/etc/pgshunt/gone\": not there"},
      {"[users.a]\npassword_file = \"/empty\"",
       "2: users.a.password_file: names a file that does not hold one secret on one line"},
      {"[users.a]\npassword_file = \"/two\"",
       "2: users.a.password_file: names a file that does not hold one secret on one line"},
      {"[users.a]\npassword_env = \"NOT_SET\"",
       "2: users.a.password_env: names an environment variable that is not set: \"NOT_SET\""},
  };
  expect_refused(cases);
}

TEST(ConfigRefuse, ContradictionsBetweenGeneralKeys) {
  const Bad cases[] = {
      {"[pgshunt]\nlisten_addr = []",
       "2: pgshunt.listen_addr: is empty and unix_socket_dir too: no client could connect"},
      {"[pgshunt]\nmin_pool_size = 21",
       "2: pgshunt.min_pool_size: is 21, more than default_pool_size, which is 20"},
      {"[pgshunt]\nauth_dbname = \"users\"",
       "2: pgshunt.auth_dbname: is \"users\", which is not among the databases"},
      {"[pgshunt]\nauth_type = \"cert\"",
       "2: pgshunt.auth_type: is \"cert\", which needs [client_tls] with ca_file"},
      {"[[hba]]\ntype = \"hostssl\"\nmethod = \"cert\"",
       "1: hba: asks for a client certificate, which needs [client_tls] with ca_file"},
      {"[[hba]]\nmethod = \"md5\"\noptions = {clientcert = \"verify-ca\"}",
       "1: hba: asks for a client certificate, which needs [client_tls] with ca_file"},
      {"[[hba]]\ntype = \"host\"",
       "1: hba[0]: has no method, expected one such as \"scram-sha-256\""},
      {"[[hba]]\ntype = \"local\"\naddress = \"all\"\nmethod = \"trust\"",
       "3: hba[0].address: contradicts type = \"local\", which is the unix socket"},
      {"[client_tls]\nmode = \"require\"",
       "2: client_tls.mode: is \"require\", which needs cert_file and key_file"},
      {"[client_tls]\ncert_file = \"/good\"", "2: client_tls.cert_file: needs key_file beside it"},
      {"[server_tls]\nkey_file = \"/good\"", "2: server_tls.key_file: needs cert_file beside it"},
      {"[server_tls]\nmode = \"verify-full\"",
       "2: server_tls.mode: is \"verify-full\", which needs ca_file"},
      {"[server_tls]\nca_file = \"gone.pem\"",
       "2: server_tls.ca_file: cannot read \"/etc/pgshunt/gone.pem\": not there"},
  };
  expect_refused(cases);
}

// The words are tested where they are made; here, that nothing is lost and each has its line.
TEST(ConfigRefuse, UsersAndRulesWithTheLinesOfTheirFiles) {
  ConfigWorld world;
  world.files["/etc/pgshunt/userlist.txt"] = "\"a\" \"x\"\n\"b\" hush\n";
  world.files["/etc/pgshunt/hba.conf"] = "# rules\nhost all all 10.0.0.0/8 gss\ninclude more\n";
  world.files["/etc/pgshunt/more"] = "local all all\n";
  const ConfigResult result = world.load(R"([pgshunt]
auth_file = "userlist.txt"
auth_hba_file = "hba.conf"
workers = -1
[[hba]]
method = "md5"
address = "10.0.0"
[[hba]]
method = "md5"
user = "/("
)" + kSomeDatabase);
  std::string places;
  for (const ConfigIssue& issue : result.issues) {
    places += issue.file.substr(issue.file.rfind('/') + 1) + ":" + std::to_string(issue.line) + " ";
    EXPECT_FALSE(issue.problem.empty());
    EXPECT_EQ(issue.problem.find("hush"), std::string::npos);
  }
  EXPECT_EQ(places, "hba.conf:2 more:1 userlist.txt:2 x.toml:4 x.toml:5 x.toml:8 ");

  EXPECT_EQ(
      lines_of(
          world.load("[pgshunt]\nauth_file = \"a\"\nauth_hba_file = \"b\"" + kSomeDatabase).issues),
      "2: pgshunt.auth_file: cannot read \"/etc/pgshunt/a\": not there\n"
      "3: pgshunt.auth_hba_file: cannot read \"/etc/pgshunt/b\": not there");
}

TEST(ConfigRefuse, SocketFoldersTooLongForTheKernel) {
  ConfigWorld world;
  const ConfigResult result =
      world.load("[pgshunt]\nunix_socket_dir = \"/" + std::string(200, 'x') + "\"" + kSomeDatabase);
  EXPECT_EQ(lines_of(result.issues),
            "2: pgshunt.unix_socket_dir: is longer than the 92 characters a unix socket's folder "
            "may have");
}

TEST(ConfigRefuse, DatabasesThatSayTooLittleOrTooMuch) {
  const Bad cases[] = {
      {"[databases.a]",
       "1: databases.a: has no host, expected a host name, an address or a socket's folder"},
      {"[databases.a]\nhost = \"\"",
       "2: databases.a.host: is empty, expected a host name, an address or a socket's folder"},
      {"[databases]\na = \"host=x\"",
       "2: databases.a: is a string, expected a table [databases.a]"},
      {"[databases.\"\"]\nhost = \"h\"", "1: databases.\"\": is no name"},
      {"[databases.pgshunt]\nhost = \"h\"",
       "1: databases.pgshunt: is the admin console's name, expected another one for a database"},
      {"[databases.a]\nhost = \"h\"\n[[databases.a.shards]]\nname = \"s\"\nhost = \"h\"",
       "2: databases.a.host: contradicts shards: a database has either a host of its own or "
       "shards"},
      {"[databases.a]\nshards = []",
       "2: databases.a.shards: is empty, expected at least one shard"},
      {"[databases.a]\nhost = \"h\"\nmin_pool_size = 30",
       "3: databases.a.min_pool_size: leaves min_pool_size 30 above the pool's size 20"},
      {"[pgshunt]\nmin_pool_size = 5\n[databases.a]\nhost = \"h\"\npool_size = 4",
       "5: databases.a.pool_size: leaves min_pool_size 5 above the pool's size 4"},
      {"[databases.a]\nhost = \"h\"\nforce_password = \"hush\"",
       "1: databases.a: has a force_password without force_user"},
      {"[databases.a]\nhost = \"h\"\nforce_user = \"u\"\nforce_password = "
       "\"SCRAM-SHA-256$4096:c2FsdHNhbHQ=$"
       "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
       "\"",
       "1: databases.a: has a SCRAM secret as force_password, which opens no server, expected the "
       "password"},
      {"[databases.a]\nhost = \"h\"\nreplicas = [\"x:0\", \"::1\", \"[::1\", \"x:\", \":5\", "
       "\"[::1]5\"]",
       "3: databases.a.replicas: holds \"x:0\", expected \"host:port\", or \"[address]:port\" for "
       "IPv6\n"
       "3: databases.a.replicas: holds \"::1\", expected \"host:port\", or \"[address]:port\" for "
       "IPv6\n"
       "3: databases.a.replicas: holds \"[::1\", expected \"host:port\", or \"[address]:port\" for "
       "IPv6\n"
       "3: databases.a.replicas: holds \"x:\", expected \"host:port\", or \"[address]:port\" for "
       "IPv6\n"
       "3: databases.a.replicas: holds \":5\", expected \"host:port\", or \"[address]:port\" for "
       "IPv6\n"
       "3: databases.a.replicas: holds \"[::1]5\", expected \"host:port\", or \"[address]:port\" "
       "for IPv6"},
      {"[databases.a]\nhost = \"h\"\ntables = [{name = \"t\", reference = true}]",
       "3: databases.a.tables: needs [[databases.a.keyspaces]]: without one the database is plain, "
       "and statements are not routed"},
      {"[databases.a]\nhost = \"h\"\non_cross_shard_write = \"refuse\"",
       "3: databases.a.on_cross_shard_write: needs [[databases.a.keyspaces]]: without one the "
       "database is plain, and statements are not routed"},
      {"[databases.a]\nhost = \"h\"\nkeyspaces = [{name = \"k\", type = \"bigint\"}]",
       "3: databases.a.keyspaces: need [[databases.a.shards]] to spread rows over"},
      {"[databases.a]\nshards = [{name = \"s\", host = \"h\"}, {name = \"t\", host = \"h\"}]",
       "2: databases.a.shards: are 2, but there are no keyspaces to spread rows over them"},
      {"[databases.\"*\"]\nshards = [{name = \"s\", host = \"h\"}]\n"
       "keyspaces = [{name = \"k\", type = \"bigint\"}]",
       "3: databases.\"*\".keyspaces: cannot be given for the fallback database"},
  };
  expect_refused(cases);
}

TEST(ConfigRefuse, AConfigurationWithoutDatabases) {
  ConfigWorld world;
  EXPECT_EQ(lines_of(world.load("").issues),
            " databases: has no entry, expected at least one [databases.NAME]");
}

// A sharded database with something wrong in it: two lines, then what the case adds.
void expect_sharded_refused(std::span<const Bad> cases) {
  for (const Bad& bad : cases) {
    ConfigWorld world;
    const std::string text =
        "[databases.a]\nshards = [{name = \"s1\", host = \"h\"}, {name = \"s2\", host = \"h\"}]\n" +
        std::string(bad.text) + "\n";
    const ConfigResult result = world.load(text);
    EXPECT_EQ(result.config, nullptr) << bad.text;
    EXPECT_EQ(lines_of(result.issues), bad.issues) << bad.text;
  }
}

TEST(ConfigRefuse, KeyspacesThatDoNotCoverTheBucketsOnce) {
  const Bad cases[] = {
      {"keyspaces = [{name = \"k\"}]",
       "3: databases.a.keyspaces[0]: has no type, expected the key's, such as \"bigint\""},
      {"keyspaces = [{type = \"bigint\"}]",
       "3: databases.a.keyspaces[0]: has no name, expected a name unique in its database"},
      {"keyspaces = [{name = \"k\", type = \"float8\"}]",
       "3: databases.a.keyspaces[0].type: is \"float8\", expected \"smallint\", \"integer\", "
       "\"bigint\", \"text\", \"varchar\", \"uuid\", \"bytea\", \"numeric\", \"date\", "
       "\"timestamp\" or \"timestamptz\""},
      {"keyspaces = [{name = \"k\", type = \"bigint\"}, {name = \"k\", type = \"bigint\"}]",
       "3: databases.a.keyspaces[1].name: is \"k\", which another keyspace has already"},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = [{from = 0, to = 10, shard = "
       "\"s1\"}, {from = 12, to = 4000, shard = \"s2\"}]}]",
       "3: databases.a.keyspaces[0].buckets: leave 11 to 11 without a shard, expected ranges that "
       "cover 0 to 4095\n"
       "3: databases.a.keyspaces[0].buckets: leave 4001 to 4095 without a shard, expected ranges "
       "that cover 0 to 4095"},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = [{from = 0, to = 10, shard = "
       "\"s1\"}, {from = 10, to = 4095, shard = \"s2\"}]}]",
       "3: databases.a.keyspaces[0].buckets: give bucket 10 to two shards, expected ranges that do "
       "not overlap"},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = []}]",
       "3: databases.a.keyspaces[0].buckets: leave 0 to 4095 without a shard, expected ranges that "
       "cover 0 to 4095"},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = [{from = 9, to = 8, shard = "
       "\"s1\"}]}]",
       "3: databases.a.keyspaces[0].buckets[0].to: is 8, which is below from"},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = [{from = 0, to = 4096, shard = "
       "\"s1\"}]}]",
       "3: databases.a.keyspaces[0].buckets[0].to: is 4096, expected a whole number from 0 to "
       "4095"},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = [{from = 0, to = 4095, shard = "
       "\"s3\"}]}]",
       "3: databases.a.keyspaces[0].buckets[0].shard: is \"s3\", which is no shard, expected "
       "\"s1\" or \"s2\""},
      {"keyspaces = [{name = \"k\", type = \"bigint\", buckets = [{to = 4095, shard = \"s1\"}]}]",
       "3: databases.a.keyspaces[0].buckets[0]: has no from, expected the like of {from = 0, to = "
       "2047, shard = \"s1\"}"},
  };
  expect_sharded_refused(cases);
}

TEST(ConfigRefuse, TablesThatHaveNoOnePlace) {
  const std::string keyspaces = "keyspaces = [{name = \"k\", type = \"bigint\"}]\n";
  const std::pair<std::string, std::string> cases[] = {
      {"{name = \"t\"}",
       "4: databases.a.tables[0]: expected exactly one of keyspace with key, reference = true and "
       "shard"},
      {"{name = \"t\", reference = true, shard = \"s1\"}",
       "4: databases.a.tables[0]: expected exactly one of keyspace with key, reference = true and "
       "shard"},
      {"{name = \"t\", keyspace = \"z\", key = \"id\"}",
       "4: databases.a.tables[0].keyspace: is \"z\", which is no keyspace, expected \"k\""},
      {"{name = \"t\", keyspace = \"k\"}",
       "4: databases.a.tables[0]: has no key, expected the column the rows are spread by"},
      {"{name = \"t\", reference = true, key = \"id\"}",
       "4: databases.a.tables[0].key: has no keyspace beside it to say how the key is spread"},
      {"{name = \"t\", shard = \"s3\"}",
       "4: databases.a.tables[0].shard: is \"s3\", which is no shard, expected \"s1\" or \"s2\""},
      {"{name = \"a.b.c\", reference = true}",
       "4: databases.a.tables[0].name: is \"a.b.c\", expected \"table\" or \"schema.table\""},
      {"{name = \".b\", reference = true}",
       "4: databases.a.tables[0].name: is \".b\", expected \"table\" or \"schema.table\""},
      {"{reference = true}",
       "4: databases.a.tables[0]: has no name, expected \"table\" or \"schema.table\""},
      {"{name = \"t\", reference = true}, {name = \"public.t\", reference = true}",
       "4: databases.a.tables[1].name: is listed twice: \"public.t\""},
  };
  for (const auto& [table, issues] : cases) {
    const std::string text = keyspaces + "tables = [" + table + "]";
    const Bad bad{text.c_str(), issues.c_str()};
    expect_sharded_refused({&bad, 1});
  }
  const std::string text = "default_shard = \"s3\"\n" + keyspaces;
  const Bad bad{text.c_str(),
                "3: databases.a.default_shard: is \"s3\", which is no shard, expected \"s1\" or "
                "\"s2\""};
  expect_sharded_refused({&bad, 1});
}

TEST(ConfigRefuse, ShardsOfOneName) {
  ConfigWorld world;
  const ConfigResult result = world.load(
      "[[databases.a.shards]]\nname = \"s\"\nhost = \"h\"\n"
      "[[databases.a.shards]]\nname = \"s\"\n"
      "[[databases.a.keyspaces]]\nname = \"k\"\ntype = \"bigint\"\n");
  EXPECT_EQ(lines_of(result.issues),
            "4: databases.a.shards[1]: has no host, expected a host name, an address or a socket's "
            "folder\n"
            "5: databases.a.shards[1].name: is \"s\", which another shard has already");
}

TEST(ConfigRefuse, MoreShardsThanBuckets) {
  std::string text = "[databases.a]\n";
  for (int i = 0; i <= 4096; ++i) {
    text += "[[databases.a.shards]]\nname = \"s" + std::to_string(i) + "\"\nhost = \"h\"\n";
  }
  const std::string issues = lines_of(ConfigWorld().load(text).issues);
  EXPECT_NE(issues.find("databases.a.shards: are 4097, expected at most 4096"), std::string::npos)
      << issues;
}

TEST(ConfigRefuse, WhatIsNotToml) {
  const std::pair<const char*, const char*> cases[] = {
      {"[pgshunt\n", "1: is not TOML: "},
      {"\n\nx = [1,", "3: is not TOML: "},
      {"[a]\n[a]\n", "2: is not TOML: "},
      {"x = 1\nx = 2\n", "2: is not TOML: "},
      {"\xff\xfe", "1: is not TOML: "},
      // What trips an assertion of the parser, which must not end the process.
      {"x = 1\n\n[=]\ny = 2\n", "3: is not TOML: unexpected character"},
      {"[[*]]", "1: is not TOML: unexpected character"},
      {"x = 1\nzo\u00eb = 1", "2: is not TOML: Error while parsing key-value pair"},
      {"x = 1\n[", "2: is not TOML: "},
  };
  for (const auto& [text, start] : cases) {
    ConfigWorld world;
    const ConfigResult result = world.load(text);
    EXPECT_EQ(result.config, nullptr);
    ASSERT_EQ(result.issues.size(), 1U) << text;
    EXPECT_TRUE(lines_of(result.issues).starts_with(start)) << lines_of(result.issues);
  }
}

TEST(ConfigRefuse, KeysTooDeepForTheStack) {
  std::string deep = "x = 1\na";
  for (int i = 0; i < 200'000; ++i) deep += ".a";
  const std::string inside(200'000, '[');
  const std::pair<std::string, const char*> cases[] = {
      {deep + " = 1\n", "2: is not TOML: more dots in one line than any key needs"},
      {"a = " + inside, "1: is not TOML: Error while parsing value: exceeded maximum"},
  };
  for (const auto& [text, start] : cases) {
    ConfigWorld world;
    EXPECT_TRUE(lines_of(world.load(text).issues).starts_with(start));
  }
}

TEST(ConfigRefuse, EverythingAtOnceInTheOrderOfTheFile) {
  ConfigWorld world;
  const ConfigResult result = world.load(
      "[pgshunt]\nworkers = -1\nzap = 1\nlisten_port = 0\n[users.a]\npool_size = 0\n"
      "[databases.a]\nhost = 1\n");
  std::vector<std::uint32_t> lines;
  for (const ConfigIssue& issue : result.issues) lines.push_back(issue.line);
  EXPECT_EQ(lines, (std::vector<std::uint32_t>{2, 3, 4, 6, 8})) << lines_of(result.issues);
}

// No part of a secret in any message, wherever a slip of the fingers puts it.
TEST(ConfigRefuse, NeverShowsASecret) {
  const char* cases[] = {
      "[users.a]\npassword = hush\n",
      "[users.a]\npassword = \"hush\n",
      "[users.a]\npassword = \"hush\" x\n",
      "[users.a]\npassword = [\"hush\"]\n",
      "[users.a]\npassword = {a = \"hush\"}\n",
      "[users]\na = \"hush\"\n",
      "users = \"hush\"\n",
      "[users.a]\npassword_file = \"/secret\"\n",
      "[databases.a]\nhost = \"h\"\nforce_password = \"hush\"\n",
      "[users.a]\npasswort = \"hush\"\n",
  };
  for (const char* text : cases) {
    ConfigWorld world;
    world.files["/secret"] = "hush\nhush\n";
    const ConfigResult result = world.load(text + kSomeDatabase);
    EXPECT_FALSE(result.issues.empty());
    EXPECT_EQ(lines_of(result.issues).find("hush"), std::string::npos) << lines_of(result.issues);
  }
}

}  // namespace
}  // namespace pgshunt
