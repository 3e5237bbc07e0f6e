// SHOW CONFIG, and what a reload leaves as it was.
#include <algorithm>

#include "proxy/config/config.h"
#include "proxy/config/keys.h"
#include "proxy/config/report.h"

namespace pgshunt {
namespace {

template <class T>
void describe(std::span<const KeySpec<T>> keys, std::string_view path, const T& values,
              const T& defaults, std::vector<ConfigKey>& out) {
  for (const KeySpec<T>& key : keys) {
    out.push_back({path.empty() ? std::string(key.name) : join_key(path, key.name),
                   format_field(key, values), format_field(key, defaults),
                   key.change == Change::kReload, std::string(key.description)});
  }
}

// The shape of a database: which shards there are, and which rows they own. Pools and plans name
// shards by their place in the list.
bool same_shape(const DatabaseConfig& a, const DatabaseConfig& b) {
  return std::equal(a.shards.begin(), a.shards.end(), b.shards.begin(), b.shards.end(),
                    [](const ShardConfig& x, const ShardConfig& y) { return x.name == y.name; }) &&
         a.keyspaces == b.keyspaces && a.directory == b.directory;
}

template <class Each>
void each_changed_key(const Config& running, const Config& loaded, Each each) {
  for (const KeySpec<Config>& key : general_keys()) {
    if (key.change == Change::kReload) continue;
    if (format_field(key, running) != format_field(key, loaded)) each(key);
  }
}

template <class Each>
void each_changed_shape(const Config& running, const Config& loaded, Each each) {
  for (const auto& [name, database] : running.databases) {
    const auto found = loaded.databases.find(name);
    if (found != loaded.databases.end() && !same_shape(database, found->second)) each(database);
  }
}

}  // namespace

std::vector<ConfigKey> describe_config(const Config& config) {
  const Config defaults;
  std::vector<ConfigKey> out;
  describe(general_keys(), "", config, defaults, out);
  describe(tls_keys(), "client_tls", config.client_tls, defaults.client_tls, out);
  describe(tls_keys(), "server_tls", config.server_tls, defaults.server_tls, out);
  return out;
}

std::vector<std::string> restart_needed(const Config& running, const Config& loaded) {
  std::vector<std::string> out;
  each_changed_key(running, loaded, [&](const KeySpec<Config>& key) {
    out.push_back(join_key("pgshunt", key.name));
  });
  each_changed_shape(running, loaded, [&](const DatabaseConfig& database) {
    const auto& now = loaded.databases.at(database.name);
    const char* what = database.keyspaces != now.keyspaces   ? "keyspaces"
                       : database.directory != now.directory ? "directory"
                                                             : "shards";
    out.push_back(join_key(join_key("databases", database.name), what));
  });
  return out;
}

std::shared_ptr<const Config> reloaded_config(const Config& running, const Config& loaded) {
  auto out = std::make_shared<Config>(loaded);
  each_changed_key(running, loaded, [&](const KeySpec<Config>& key) {
    std::visit([&](auto field) { (*out).*field = running.*field; }, key.field);
  });
  each_changed_shape(running, loaded, [&](const DatabaseConfig& was) {
    DatabaseConfig& database = out->databases.at(was.name);
    // Tables name shards and keyspaces, so they stay with them.
    database.shards = was.shards;
    database.keyspaces = was.keyspaces;
    database.tables = was.tables;
    database.default_shard = was.default_shard;
    database.merge_node = was.merge_node;
    database.directory = was.directory;
  });
  return out;
}

}  // namespace pgshunt
