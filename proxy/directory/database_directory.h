// The directory of one database, in the numbers of its topology: what the router asks in memory,
// and what sessions ask when memory does not know.
//
// Any thread; nothing here waits for the disk. It lives as long as the process has workers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "router/directory/directory.h"
#include "router/directory/directory_service.h"
#include "router/key_directory.h"

namespace pgshunt {

// The answer to one lookup: kShard, kAbsent, or why it cannot be known.
struct FoundKey {
  KeyLookup lookup;
  Result<KeyPlace> place;
};

class DatabaseDirectory final : public KeyDirectory {
 public:
  // The directory has all shards and directory keyspaces that `config` names.
  DatabaseDirectory(const DatabaseConfig& config, Directory& directory, DirectoryService& service);

  // Made of a configuration that names the same shards and keyspaces, in the same places?
  bool fits(const DatabaseConfig& config) const;

  KeyPlace try_find(std::string_view keyspace, std::string_view key) const override;

  // `told` is called on the directory's thread and is to post the answers on, in the order of
  // `lookups`. `assign`: new keys that lookups want a shard for get one. False: too much is being
  // asked already, and `told` is never called.
  using Told = std::function<void(std::vector<FoundKey>)>;
  bool ask(std::span<const KeyLookup> lookups, bool assign, Told told);

  // For SHOW: the keys of a keyspace on a shard, and who gets new ones.
  struct Share {
    std::uint64_t keys = 0;
    NewKeyPolicy policy = NewKeyPolicy::kHash;
    bool takes_new_keys = false;  // open, and the one that is fixed if one is
    BucketOwners owners{};        // kHash
  };
  Share share_of(std::string_view keyspace, ShardId shard) const;

 private:
  struct NamedKeyspace {
    std::string name;
    KeyspaceId id = 0;  // 0: of another strategy
  };

  KeyspaceId id_of(std::string_view keyspace) const;
  Result<KeyPlace> place_of(const Result<KeyAnswer>& answer) const;

  const std::string path_;
  const std::vector<KeyspaceConfig> configured_;
  std::vector<std::string> shard_names_;  // by ShardId
  std::vector<StableShardId> shard_ids_;  // the same
  std::vector<ShardId> shards_;           // by StableShardId
  std::vector<NamedKeyspace> keyspaces_;  // by their places in the topology
  Directory& directory_;
  DirectoryService& service_;
};

}  // namespace pgshunt
