// [[databases.NAME.keyspaces]]: which shard a key is on, by each strategy. And what it shares with
// the other lists of a database.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/load.h"
#include "router/key_type.h"

namespace pgshunt {

template <class T>
const T* named(const std::vector<T>& all, std::string_view name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const T& item) { return item.name == name; });
  return found == all.end() ? nullptr : &*found;
}

template <class T>
std::string names_known(const std::vector<T>& all) {
  std::vector<std::string_view> names;
  for (const T& item : all) names.push_back(item.name);
  return names.empty() ? "there is none" : "expected " + list_choices(names);
}

// After the database's shards.
void read_keyspace(TableReader& table, DatabaseConfig& database);

// The router's type for the configuration's.
ShardKeyType shard_key_type(KeyType type);

}  // namespace pgshunt
