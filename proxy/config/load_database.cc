// [databases.NAME]: where a database lives, and for a sharded one how its rows are spread.
#include <algorithm>
#include <charconv>

#include "proxy/auth/credentials.h"
#include "proxy/config/load.h"
#include "proxy/config/load_keyspace.h"
#include "router/placement.h"

namespace pgshunt {
namespace {

constexpr ValueRules kPort{.min = 1, .max = 65535};

// "host", "host:port", "[::1]:port" or "/folder/of/a/socket:port".
std::optional<HostConfig> parse_host_port(std::string_view text) {
  HostConfig out;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    out.host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && (rest.front() != ':' || rest.size() == 1)) return std::nullopt;
    if (!rest.empty()) port = rest.substr(1);
  } else {
    const std::size_t colon = text.find(':');
    // A bare IPv6 address: its last part is no port.
    if (colon != std::string_view::npos && text.find(':', colon + 1) != std::string_view::npos) {
      return std::nullopt;
    }
    out.host = text.substr(0, colon);
    if (colon != std::string_view::npos) {
      port = text.substr(colon + 1);
      if (port.empty()) return std::nullopt;
    }
  }
  if (!port.empty()) {
    const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (error != std::errc{} || rest != port.data() + port.size() || out.port == 0) {
      return std::nullopt;
    }
  }
  if (out.host.empty()) return std::nullopt;
  return out;
}

void read_replicas(TableReader& table, ShardConfig& shard) {
  std::vector<std::string> replicas;
  if (!table.read("replicas", replicas)) return;
  for (const std::string& text : replicas) {
    if (std::optional<HostConfig> host = parse_host_port(text)) {
      shard.replicas.push_back(std::move(*host));
    } else {
      table.error("replicas", "holds " + quote_text(text) +
                                  ", expected \"host:port\", or \"[address]:port\" for IPv6");
    }
  }
}

// Host, port, dbname and replicas: the same keys for a plain database and for one shard.
void read_server(TableReader& table, const DatabaseConfig& database, ShardConfig& shard) {
  table.require("host", shard.primary.host, "a host name, an address or a socket's folder");
  table.read("port", shard.primary.port, kPort);
  // The fallback database passes on the name the client gave.
  if (database.name != "*") shard.dbname = database.name;
  table.read("dbname", shard.dbname);
  read_replicas(table, shard);
}

void read_shards(TableReader& table, DatabaseConfig& database) {
  for (const char* key : {"host", "port", "dbname", "replicas"}) {
    if (table.has(key)) {
      table.error(key, "contradicts shards: a database has either a host of its own or shards");
    }
  }
  table.each_element("shards", [&](TableReader& element) {
    ShardConfig shard;
    const bool has_name = element.require("name", shard.name, "a name unique in its database");
    if (has_name && named(database.shards, shard.name) != nullptr) {
      element.error("name", "is " + quote_text(shard.name) + ", which another shard has already");
    }
    read_server(element, database, shard);
    database.shards.push_back(std::move(shard));
  });
  const std::size_t count = database.shards.size();
  if (count == 0) table.error("shards", "is empty, expected at least one shard");
  // Beyond it a shard would have no bucket. It also keeps the count within a ShardId.
  if (count > kBucketCount) {
    table.error("shards", "are " + std::to_string(count) + ", expected at most " +
                              std::to_string(kBucketCount));
  }
}

// "posts" or "schema.posts", as the catalog has it: nothing is folded to lower case.
bool read_table_name(TableReader& table, TableConfig& out) {
  std::string name;
  if (!table.require("name", name, "\"table\" or \"schema.table\"")) return false;
  const std::size_t dot = name.find('.');
  out.name = name.substr(dot + 1);
  if (dot != std::string::npos) out.schema = name.substr(0, dot);
  if (!out.schema.empty() && !out.name.empty() && out.name.find('.') == std::string::npos) {
    return true;
  }
  table.error("name", "is " + quote_text(name) + ", expected \"table\" or \"schema.table\"");
  return false;
}

void read_table(TableReader& table, DatabaseConfig& database) {
  TableConfig out;
  if (read_table_name(table, out)) {
    for (const TableConfig& other : database.tables) {
      if (other.schema == out.schema && other.name == out.name) {
        table.error("name", "is listed twice: " + quote_text(out.schema + "." + out.name));
        break;
      }
    }
  }
  bool reference = false;
  table.read("reference", reference);
  const bool keyspace = table.has("keyspace");
  const bool shard = table.has("shard");
  if (keyspace + shard + reference != 1) {
    table.error("expected exactly one of keyspace with key, reference = true and shard");
  }
  if (table.has("key") && !keyspace) {
    table.error("key", "has no keyspace beside it to say how the key is spread");
  }
  if (keyspace) {
    if (table.read("keyspace", out.keyspace)) {
      const KeyspaceConfig* found = named(database.keyspaces, out.keyspace);
      if (found == nullptr) {
        table.error("keyspace", "is " + quote_text(out.keyspace) + ", which is no keyspace, " +
                                    names_known(database.keyspaces));
      } else if (found->strategy == Strategy::kSchema) {
        table.error("keyspace", "is " + quote_text(out.keyspace) +
                                    ", a keyspace of schemas, whose tables are not listed");
      }
    }
    table.require("key", out.key, "the column the rows are spread by");
  }
  if (table.read("shard", out.shard) && named(database.shards, out.shard) == nullptr) {
    table.error("shard", "is " + quote_text(out.shard) + ", which is no shard, " +
                             names_known(database.shards));
  }
  out.kind =
      reference ? TableKind::kReference : (shard ? TableKind::kUnsharded : TableKind::kSharded);
  database.tables.push_back(std::move(out));
}

// Keys that mean something only where rows are spread.
void check_plain(TableReader& table, const DatabaseConfig& database) {
  if (database.shards.size() > 1) {
    table.error("shards", "are " + std::to_string(database.shards.size()) +
                              ", but there are no keyspaces to spread rows over them");
  }
  for (const char* key : {"tables", "default_shard", "on_cross_shard_write", "on_shard_key_update",
                          "merge_node", "directory"}) {
    if (table.has(key)) {
      table.error(key, "needs [[" + table.path_of("keyspaces") +
                           "]]: without one the database is plain, and statements are not routed");
    }
  }
}

// The directory is there for the keyspaces that need one, and they need it.
void check_directory(TableReader& table, const DatabaseConfig& database) {
  if (database.uses_directory()) {
    if (database.directory.empty()) {
      table.error(
          "has no directory, expected the folder that keeps the keys of its keyspaces with "
          "strategy = \"directory\"");
    }
  } else if (database.sharded() && !database.directory.empty()) {
    table.error("directory", "needs a keyspace with strategy = \"directory\"");
  }
}

void read_database(const std::string& name, TableReader& table, Config& config) {
  DatabaseConfig& database = config.databases[name];
  database.name = name;
  if (name == "pgshunt") {
    table.error("is the admin console's name, expected another one for a database");
  }
  if (table.has("shards")) {
    read_shards(table, database);
  } else {
    ShardConfig shard;
    shard.name = kOnlyShard;
    read_server(table, database, shard);
    database.shards.push_back(std::move(shard));
  }
  table.each_element("keyspaces", [&](TableReader& element) { read_keyspace(element, database); });
  table.each_element("tables", [&](TableReader& element) { read_table(element, database); });
  table.read("directory", database.directory, {.path = true});
  table.read_keys(database_keys(), database);
  if (!table.has("keyspaces")) {
    check_plain(table, database);
  } else if (!table.has("shards")) {
    table.error("keyspaces", "need [[" + table.path_of("shards") + "]] to spread rows over");
  } else if (name == "*") {
    table.error("keyspaces", "cannot be given for the fallback database");
  }
  check_directory(table, database);
  if (!database.default_shard.empty() &&
      named(database.shards, database.default_shard) == nullptr) {
    table.error("default_shard", "is " + quote_text(database.default_shard) +
                                     ", which is no shard, " + names_known(database.shards));
  }
  if (!database.merge_node.empty() && named(database.shards, database.merge_node) == nullptr) {
    table.error("merge_node", "is " + quote_text(database.merge_node) + ", which is no shard, " +
                                  names_known(database.shards));
  }
  if (!read_secret(table, "force_password", database.force_password)) return;
  if (database.force_user.empty()) {
    table.error("has a force_password without force_user");
  }
  if (parse_secret(database.force_password).kind == SecretKind::kScram) {
    table.error(
        "has a SCRAM secret as force_password, which opens no server, expected the password");
  }
}

}  // namespace

void read_databases(TableReader& root, Config& config) {
  root.each_table("databases", [&](const std::string& name, TableReader& table) {
    read_database(name, table, config);
  });
}

}  // namespace pgshunt
