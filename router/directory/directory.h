// The sharding directory: the shard map, the keys of directory keyspaces, and job records, durable
// in RocksDB. README.md tells the format, what is atomic and what is left after kill -9.
//
// One process has it open read-write; any number read it meanwhile, as of the moment they opened
// it. All methods may be called from any thread. Those that say so may wait for the disk: they are
// for a directory thread (directory_service.h), never for a worker.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/result.h"
#include "router/directory/shard_map.h"

namespace pgshunt {

enum class DirectoryMode : std::uint8_t {
  kReadOnly,
  kReadWrite,
  kCreate,  // must not exist yet, or be what a creation that was cut short has left
};

struct DirectoryOptions {
  std::size_t block_cache_bytes = std::size_t{256} << 20;
  std::size_t write_buffer_bytes = std::size_t{64} << 20;  // what is in the log and in no table yet
};

struct KeyAnswer {
  enum class Kind : std::uint8_t {
    kFound,
    kAbsent,
    kNotInMemory,  // try_find() only: find() would have to read from the disk
  };
  Kind kind = Kind::kAbsent;
  StableShardId shard = 0;  // kFound
};

// One change of a directory key. The key's bytes are borrowed until the call returns.
struct KeyWrite {
  enum class Kind : std::uint8_t {
    kAssign,  // leave it where it is; if it is new, where the policy says
    kPut,     // to `shard`
    kErase,
  };
  Kind kind = Kind::kAssign;
  KeyspaceId keyspace = 0;
  std::string_view encoded_key;
  StableShardId shard = 0;
  // kAssign: instead of the keyspace's own.
  std::optional<NewKeyPolicy> policy{};
  // The key's shard afterwards; for kErase the one it had, 0 for none.
  Result<StableShardId> outcome = StableShardId{0};
};

// By (keyspace, shard); without those that are zero.
using KeyCounts = std::map<std::pair<KeyspaceId, StableShardId>, std::uint64_t>;

struct DirectoryStats {
  KeyCounts keys;
  std::uint64_t commits = 0;  // since creation
  std::uint64_t disk_bytes = 0;
  std::uint64_t filter_and_index_bytes = 0;  // always in memory
  std::uint64_t cache_bytes = 0;
  std::uint64_t cache_hits = 0;  // data blocks, since open
  std::uint64_t cache_misses = 0;
  std::uint64_t filtered = 0;  // look-ups that a Bloom filter answered
};

// How far a long operation is; called every few thousand keys.
using KeyProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

class Directory {
 public:
  // May wait for the disk. The error names the process that has it open read-write, if one has.
  static Result<std::unique_ptr<Directory>> open(const std::string& path, DirectoryMode mode,
                                                 const DirectoryOptions& options = {});
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::shared_ptr<const ShardMap> map() const;
  // Makes the change if the epoch is still the one expected, else 40001. Returns the new epoch,
  // which is durable. Waits for the disk.
  Result<std::uint64_t> apply(std::uint64_t expected_epoch, const MapChange& change);

  // From memory or not at all: never waits for the disk. Allocates nothing for keys of up to 254
  // bytes.
  Result<KeyAnswer> try_find(KeyspaceId keyspace, std::string_view encoded_key) const;
  Result<KeyAnswer> find(KeyspaceId keyspace, std::string_view encoded_key) const;

  // All in one commit, durable when this returns; concurrent calls share one. Each write's own
  // outcome may still be an error (refused by policy, no such shard); the call fails as a whole
  // only if nothing was written. Waits for the disk.
  Status write(std::span<KeyWrite> writes);
  Result<StableShardId> assign(KeyspaceId keyspace, std::string_view encoded_key,
                               std::optional<NewKeyPolicy> policy = {});

  // Records of jobs, opaque here. Waits for the disk.
  Status put_job(std::uint64_t id, std::optional<std::string_view> bytes);
  Result<std::map<std::uint64_t, std::string>> jobs() const;

  // In order of the encoded keys, as of one moment. `visit` returns false to stop. An empty `from`
  // means from the first. Waits for the disk.
  Status for_each_key(KeyspaceId keyspace, std::string_view from,
                      const std::function<bool(std::string_view, StableShardId)>& visit) const;

  // Adds keys as one atomic change: all of them are there afterwards, or none. They must ascend
  // strictly. Those that are there already on the same shard are passed over; on another shard, the
  // load fails. Returns how many were added. Meant for very many: nothing goes through the log.
  // `next` returns false at the end. Waits for the disk, and other writes wait for it.
  using NextKey = std::function<bool(std::string_view& encoded_key, StableShardId& shard)>;
  Result<std::uint64_t> load_sorted(KeyspaceId keyspace, const NextKey& next);

  // Writes a copy of the directory as of this moment to `to`, which must not exist: complete or not
  // there. A backup is such a copy, and restoring is copying it back. Everything is checked on the
  // way as verify() does. Waits for the disk.
  Status copy_to(const std::string& to, const KeyProgress& progress = {}) const;
  // Reads everything: checksums, keys, shards, counters. The error says what is wrong first.
  Status verify(const KeyProgress& progress = {}) const;

  // Never waits for the disk.
  KeyCounts key_counts() const;
  DirectoryStats stats() const;

 private:
  struct Impl;
  explicit Directory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgshunt
