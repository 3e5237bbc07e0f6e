#include "proxy/directory/database_directory.h"

#include <algorithm>
#include <utility>

#include "proxy/log/log.h"

namespace pgshunt {
namespace {

// What a session is told of a disk or of damage is for the operator to know. That the policy has no
// place for a key is not.
void log_failure(const std::vector<FoundKey>& found) {
  for (const FoundKey& key : found) {
    if (key.place || key.place.error().code == sqlstate::kObjectNotInPrerequisiteState) continue;
    log_event(LogLevel::kError, "directory_failed", {}, key.place.error().message);
    return;
  }
}

}  // namespace

DatabaseDirectory::DatabaseDirectory(const DatabaseConfig& config, Directory& directory,
                                     DirectoryService& service)
    : path_(config.directory),
      configured_(config.keyspaces),
      directory_(directory),
      service_(service) {
  const auto map = directory.map();
  for (const ShardConfig& shard : config.shards) {
    const StableShardId id = map->shard_named(shard.name)->id;
    if (shards_.size() <= id) shards_.resize(id + std::size_t{1});
    shards_[id] = static_cast<ShardId>(shard_ids_.size());
    shard_names_.push_back(shard.name);
    shard_ids_.push_back(id);
  }
  for (const KeyspaceConfig& keyspace : config.keyspaces) {
    const bool here = keyspace.strategy == Strategy::kDirectory;
    keyspaces_.push_back(
        {keyspace.name, here ? map->keyspace_named(keyspace.name)->id : KeyspaceId{0}});
  }
}

bool DatabaseDirectory::fits(const DatabaseConfig& config) const {
  return config.directory == path_ && config.keyspaces == configured_ &&
         std::equal(
             config.shards.begin(), config.shards.end(), shard_names_.begin(), shard_names_.end(),
             [](const ShardConfig& shard, const std::string& name) { return shard.name == name; });
}

KeyspaceId DatabaseDirectory::id_of(std::string_view keyspace) const {
  for (const NamedKeyspace& each : keyspaces_) {
    if (each.name == keyspace) return each.id;
  }
  return 0;
}

KeyPlace DatabaseDirectory::try_find(std::string_view keyspace, std::string_view key) const {
  const auto place = place_of(directory_.try_find(id_of(keyspace), key));
  // What went wrong is told to whoever asks for it to be read.
  return place ? *place : KeyPlace{};
}

Result<KeyPlace> DatabaseDirectory::place_of(const Result<KeyAnswer>& answer) const {
  if (!answer) return answer.error();
  switch (answer->kind) {
    case KeyAnswer::Kind::kFound:
      if (answer->shard < shards_.size()) {
        return KeyPlace{KeyPlace::Kind::kShard, shards_[answer->shard]};
      }
      return Error{sqlstate::kInternalError,
                   "the directory has a key on shard " + std::to_string(answer->shard) +
                       ", which was not there when it was opened",
                   {}};
    case KeyAnswer::Kind::kAbsent:
      return KeyPlace{KeyPlace::Kind::kAbsent, 0};
    case KeyAnswer::Kind::kNotInMemory:
      break;
  }
  return KeyPlace{};
}

bool DatabaseDirectory::ask(std::span<const KeyLookup> lookups, bool assign, Told told) {
  DirectoryService::Request request;
  for (const KeyLookup& lookup : lookups) {
    request.questions.push_back(
        {keyspaces_[lookup.keyspace].id, lookup.key, assign && lookup.assign});
  }
  request.done =
      [this, asked = std::vector<KeyLookup>(lookups.begin(), lookups.end()),
       told = std::move(told)](const std::vector<DirectoryService::Question>& answered) mutable {
        std::vector<FoundKey> found;
        found.reserve(asked.size());
        for (std::size_t i = 0; i < asked.size(); ++i) {
          found.push_back({std::move(asked[i]), place_of(answered[i].answer)});
        }
        log_failure(found);
        told(std::move(found));
      };
  return service_.post(std::move(request));
}

DatabaseDirectory::Share DatabaseDirectory::share_of(std::string_view keyspace,
                                                     ShardId shard) const {
  Share out;
  const auto map = directory_.map();
  const KeyspaceRecord* record = map->keyspace(id_of(keyspace));
  const ShardRecord* there = map->shard(shard_ids_[shard]);
  if (record == nullptr || there == nullptr) return out;
  const KeyCounts counts = directory_.key_counts();
  const auto count = counts.find({record->id, there->id});
  if (count != counts.end()) out.keys = count->second;
  out.policy = record->policy;
  out.takes_new_keys = there->state == ShardState::kOpen &&
                       record->policy != NewKeyPolicy::kRefuse &&
                       (record->policy != NewKeyPolicy::kFixed || record->fixed_shard == there->id);
  for (std::size_t i = 0; i < kBucketCount; ++i) out.owners[i] = shards_[record->owners[i]];
  return out;
}

}  // namespace pgshunt
