#include "router/directory/directory.h"

#include <rocksdb/snapshot.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <unordered_map>

#include "protocol/digest.h"
#include "protocol/frame.h"
#include "router/directory/store.h"
#include "router/key_encoding.h"

namespace pgshunt {

using namespace directory_record;

namespace {

constexpr std::uint64_t kProgressStep = 65536;

// Keyspace and key in one piece, on the stack for all but the longest.
class StoredKey {
 public:
  StoredKey(KeyspaceId keyspace, std::string_view encoded) : size_(kKeyPrefix + encoded.size()) {
    char* const bytes = size_ <= sizeof inline_ ? inline_ : (heap_.resize(size_), heap_.data());
    store_be16(bytes, keyspace);
    encoded.copy(bytes + kKeyPrefix, encoded.size());
    view_ = {bytes, size_};
  }
  StoredKey(const StoredKey&) = delete;
  StoredKey& operator=(const StoredKey&) = delete;
  std::string_view view() const { return view_; }

 private:
  std::size_t size_;
  char inline_[256];
  std::string heap_;
  std::string_view view_;
};

Error unknown_keyspace(KeyspaceId id) {
  return {
      sqlstate::kObjectNotInPrerequisiteState, "there is no keyspace " + std::to_string(id), {}};
}

Error refused(std::string message, std::string hint = {}) {
  return {sqlstate::kObjectNotInPrerequisiteState, std::move(message), std::move(hint)};
}

Status check_directory_key(const KeyspaceRecord& keyspace, std::string_view encoded) {
  if (keyspace.kind != KeyspaceKind::kDirectory) {
    return refused("keyspace \"" + keyspace.name + "\" is not a directory keyspace");
  }
  if (!is_encoded_key(keyspace.key_type, encoded)) {
    return Error{sqlstate::kInternalError,
                 "these bytes are no key of keyspace \"" + keyspace.name + "\"",
                 {}};
  }
  return Ok{};
}

Result<StableShardId> open_shard(const ShardMap& map, StableShardId id) {
  const ShardRecord* const shard = map.shard(id);
  if (!shard) return refused("there is no shard " + std::to_string(id));
  if (shard->state == ShardState::kOpen) return id;
  return refused("shard \"" + shard->name + "\" takes no new keys");
}

Result<StableShardId> place_new_key(const ShardMap& map, const KeyspaceRecord& keyspace,
                                    NewKeyPolicy policy, std::string_view encoded,
                                    const KeyCounts& counts) {
  switch (policy) {
    case NewKeyPolicy::kHash: {
      const auto hash = hash_encoded_key(keyspace.key_type, encoded);
      return open_shard(map, keyspace.owners[hash & (kBucketCount - 1)]);
    }
    case NewKeyPolicy::kFixed:
      return open_shard(map, keyspace.fixed_shard);
    case NewKeyPolicy::kLeastLoaded: {
      StableShardId least = 0;
      std::uint64_t fewest = ~std::uint64_t{0};
      for (const ShardRecord& shard : map.shards) {
        if (shard.state != ShardState::kOpen) continue;
        const auto count = counts.find({keyspace.id, shard.id});
        const std::uint64_t held = count == counts.end() ? 0 : count->second;
        if (held >= fewest) continue;
        fewest = held;
        least = shard.id;
      }
      if (least != 0) return least;
      return refused("no shard takes new keys");
    }
    case NewKeyPolicy::kRefuse:
      break;
  }
  return refused("key '" + encoded_key_text(keyspace.key_type, encoded) +
                     "' is not in keyspace \"" + keyspace.name + "\", which takes no new keys",
                 "Add it with \"shuntctl directory set\", or give the keyspace another policy.");
}

Result<KeyCounts> read_counts(const Records& records) {
  KeyCounts counts;
  for (auto at = records.lower_bound(std::string(1, static_cast<char>(Tag::kCount)));
       at != records.end() && at->first[0] == static_cast<char>(Tag::kCount); ++at) {
    const auto count = read_number(at->second);
    if (!count || at->first.size() != 5) return damaged("a counter cannot be read");
    const char* const ids = at->first.data() + 1;
    if (*count != 0) counts[{load_be16(ids), load_be16(ids + 2)}] = *count;
  }
  return counts;
}

void put_sealed(rocksdb::WriteBatch& batch, rocksdb::ColumnFamilyHandle* family,
                const std::string& key, std::string_view payload) {
  batch.Put(family, key, seal(key, payload)).PermitUncheckedError();
}

// Writes sorted keys into tables of a bounded size, to be ingested together.
class TableWriter {
 public:
  TableWriter(const DirectoryStore& store, rocksdb::ColumnFamilyHandle* family, std::string stem)
      : options_(store.options()), family_(family), stem_(std::move(stem)) {}

  Status add(std::string_view key, std::string_view value) {
    if (!writer_) {
      files_.push_back(stem_ + std::to_string(files_.size()) + ".sst");
      writer_ = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(), options_, family_);
      const auto opened = writer_->Open(files_.back());
      if (!opened.ok()) return to_error(opened, "writing a table");
    }
    const auto put = writer_->Put(to_slice(key), to_slice(value));
    if (!put.ok()) return to_error(put, "writing a table");
    constexpr std::uint64_t kTableSize = std::uint64_t{64} << 20;
    return ++count_ % 1024 == 0 && writer_->FileSize() > kTableSize ? finish() : Ok{};
  }
  Status finish() {
    if (!writer_) return Ok{};
    const auto finished = writer_->Finish();
    writer_.reset();
    if (!finished.ok()) return to_error(finished, "writing a table");
    return Ok{};
  }
  const std::vector<std::string>& files() const { return files_; }

 private:
  rocksdb::Options options_;
  rocksdb::ColumnFamilyHandle* family_;
  std::string stem_;
  std::unique_ptr<rocksdb::SstFileWriter> writer_;
  std::vector<std::string> files_;
  std::uint64_t count_ = 0;
};

// Both families' tables become part of the database together or not at all.
Status ingest(const DirectoryStore& store, const TableWriter& map, const TableWriter& keys) {
  std::vector<rocksdb::IngestExternalFileArg> args;
  for (const auto& [family, writer] :
       {std::pair(store.map_family(), &map), std::pair(store.keys_family(), &keys)}) {
    if (writer->files().empty()) continue;
    rocksdb::IngestExternalFileArg arg;
    arg.column_family = family;
    arg.external_files = writer->files();
    arg.options.move_files = true;
    arg.options.write_global_seqno = false;
    args.push_back(std::move(arg));
  }
  const auto done = store.db().IngestExternalFiles(args);
  if (!done.ok()) return to_error(done, "adding tables");
  return Ok{};
}

}  // namespace

struct Directory::Impl {
  // The writes of one call, waiting for their turn.
  struct Waiting {
    std::span<KeyWrite> writes;
    Status outcome = Ok{};
    bool done = false;  // under queue_mutex; before it, outcomes belong to who leads
  };

  std::unique_ptr<DirectoryStore> store;
  Meta meta;

  mutable std::mutex map_mutex;  // held to copy the pointers only
  std::shared_ptr<const ShardMap> map;
  std::shared_ptr<const KeyCounts> known_counts;  // `counts`, as of the last commit

  std::mutex queue_mutex;
  std::condition_variable queue_moved;
  std::vector<Waiting*> queue;
  bool leading = false;

  // Held while a commit is made; all below belongs to who holds it.
  mutable std::mutex commit_mutex;
  KeyCounts counts;
  std::uint64_t commits = 0;
  // Set when a commit failed: whether it is on the disk is not known, so nothing may be built on
  // it.
  std::optional<Error> failed;

  std::shared_ptr<const ShardMap> current_map() const {
    const std::lock_guard lock(map_mutex);
    return map;
  }

  // With commit_mutex held, or nobody else there yet.
  void set_counts(KeyCounts now) {
    counts = std::move(now);
    auto known = std::make_shared<const KeyCounts>(counts);
    const std::lock_guard lock(map_mutex);
    known_counts = std::move(known);
  }

  Status check_writable() const {
    if (!store->writable()) return refused("the directory is open for reading only");
    if (failed) return *failed;
    return Ok{};
  }

  Status load() {
    const auto records = store->read_records(nullptr);
    if (!records) return records.error();
    const auto first = records->find(meta_key());
    if (first == records->end()) {
      return Error{sqlstate::kInvalidCatalogName,
                   "\"" + store->path() + "\" is no directory, or its creation was cut short",
                   "\"shuntctl directory init\" makes one."};
    }
    const auto read = read_meta(first->second);
    if (!read) return read.error();
    meta = *read;
    auto loaded = read_map(*records);
    if (!loaded) return loaded.error();
    map = std::make_shared<const ShardMap>(std::move(*loaded));
    auto read_count = read_counts(*records);
    if (!read_count) return read_count.error();
    set_counts(std::move(*read_count));
    const auto commit = records->find(number_key(Tag::kCommit));
    if (commit == records->end()) return damaged("there is no number of commits");
    const auto number = read_number(commit->second);
    if (!number) return number.error();
    commits = *number;
    return store->check_mark(commits);
  }

  Status create() {
    const auto records = store->read_records(nullptr);
    if (!records) return records.error();
    if (!records->empty()) {
      return refused("there is a directory at \"" + store->path() + "\" already");
    }
    Meta fresh;
    std::uint8_t id[16];
    fill_random(id);
    fresh.creation_id = as_view(id);
    rocksdb::WriteBatch batch;
    put_sealed(batch, store->map_family(), meta_key(), meta_payload(fresh));
    put_sealed(batch, store->map_family(), number_key(Tag::kEpoch), number_payload(0));
    return commit(batch);
  }

  // Durable when it returns. With commit_mutex held, or nobody else there yet.
  Status commit(rocksdb::WriteBatch& batch) {
    put_sealed(batch, store->map_family(), number_key(Tag::kCommit), number_payload(commits + 1));
    rocksdb::WriteOptions durable;
    durable.sync = true;
    const auto written = store->db().Write(durable, &batch);
    if (!written.ok()) return fail(to_error(written, "writing to the directory"));
    ++commits;
    if (const Status marked = store->mark_committed(commits); !marked) return fail(marked.error());
    return Ok{};
  }

  Error fail(Error error) {
    error.hint = "Whether the last change was made is known when the directory is opened again.";
    failed = error;
    return error;
  }

  Result<KeyAnswer> look_up(KeyspaceId keyspace, std::string_view encoded,
                            rocksdb::ReadTier tier) const {
    const StoredKey key(keyspace, encoded);
    rocksdb::ReadOptions read;
    read.read_tier = tier;
    rocksdb::PinnableSlice value;
    const auto status = store->db().Get(read, store->keys_family(), to_slice(key.view()), &value);
    if (status.IsNotFound()) return KeyAnswer{KeyAnswer::Kind::kAbsent, 0};
    if (status.IsIncomplete()) return KeyAnswer{KeyAnswer::Kind::kNotInMemory, 0};
    if (!status.ok()) return to_error(status, "looking up a key");
    const StableShardId shard = read_key_value(to_view(value));
    if (shard == 0) return damaged("a key's value cannot be read");
    return KeyAnswer{KeyAnswer::Kind::kFound, shard};
  }

  void commit_group(std::span<Waiting* const> group);
  Status check_all(const rocksdb::Snapshot* snapshot, const KeyProgress& progress,
                   const std::function<Status(std::string_view, std::string_view)>& visit) const;
};

namespace {

// What the writes of one commit do, seen by those that come later in it.
class Group {
 public:
  Group(const ShardMap& map, KeyCounts& counts, rocksdb::WriteBatch& batch,
        rocksdb::ColumnFamilyHandle* keys)
      : map_(map), counts_(counts), batch_(batch), keys_(keys) {}

  template <class LookUp>
  Result<StableShardId> apply(const KeyWrite& write, LookUp look_up) {
    const KeyspaceRecord* const keyspace = map_.keyspace(write.keyspace);
    if (!keyspace) return unknown_keyspace(write.keyspace);
    if (const Status good = check_directory_key(*keyspace, write.encoded_key); !good) {
      return good.error();
    }
    const StoredKey key(write.keyspace, write.encoded_key);
    auto pending = pending_.find(std::string(key.view()));
    if (pending == pending_.end()) {
      const Result<KeyAnswer> found = look_up(write);
      if (!found) return found.error();
      const StableShardId now = found->kind == KeyAnswer::Kind::kFound ? found->shard : 0;
      pending = pending_.emplace(key.view(), now).first;
    }
    StableShardId& held = pending->second;
    switch (write.kind) {
      case KeyWrite::Kind::kAssign: {
        if (held != 0) return held;
        const auto chosen = place_new_key(map_, *keyspace, write.policy.value_or(keyspace->policy),
                                          write.encoded_key, counts_);
        if (!chosen) return chosen.error();
        set(key.view(), write.keyspace, held, *chosen);
        return held;
      }
      case KeyWrite::Kind::kPut:
        if (!map_.shard(write.shard)) {
          return refused("there is no shard " + std::to_string(write.shard));
        }
        set(key.view(), write.keyspace, held, write.shard);
        return held;
      case KeyWrite::Kind::kErase: {
        const StableShardId before = held;
        set(key.view(), write.keyspace, held, 0);
        return before;
      }
    }
    return refused("no such change");
  }

  const std::map<std::pair<KeyspaceId, StableShardId>, bool>& touched() const { return touched_; }

 private:
  void set(std::string_view key, KeyspaceId keyspace, StableShardId& held, StableShardId shard) {
    if (held == shard) return;
    if (held != 0) {
      --counts_[{keyspace, held}];
      touched_[{keyspace, held}] = true;
    }
    if (shard != 0) {
      ++counts_[{keyspace, shard}];
      touched_[{keyspace, shard}] = true;
      batch_.Put(keys_, to_slice(key), key_value(shard)).PermitUncheckedError();
    } else {
      batch_.Delete(keys_, to_slice(key)).PermitUncheckedError();
    }
    held = shard;
  }

  const ShardMap& map_;
  KeyCounts& counts_;
  rocksdb::WriteBatch& batch_;
  rocksdb::ColumnFamilyHandle* keys_;
  std::unordered_map<std::string, StableShardId> pending_;
  std::map<std::pair<KeyspaceId, StableShardId>, bool> touched_;
};

}  // namespace

void Directory::Impl::commit_group(std::span<Waiting* const> group) {
  const std::lock_guard lock(commit_mutex);
  Status outcome = check_writable();
  if (outcome) {
    const auto now = current_map();
    rocksdb::WriteBatch batch;
    KeyCounts after = counts;
    Group changes(*now, after, batch, store->keys_family());
    for (Waiting* const waiting : group) {
      for (KeyWrite& write : waiting->writes) {
        write.outcome = changes.apply(write, [this](const KeyWrite& wanted) {
          return look_up(wanted.keyspace, wanted.encoded_key, rocksdb::kReadAllTier);
        });
      }
    }
    for (const auto& [ids, unused] : changes.touched()) {
      put_sealed(batch, store->map_family(), count_key(ids.first, ids.second),
                 number_payload(after[ids]));
      if (after[ids] == 0) after.erase(ids);
    }
    if (batch.Count() != 0) {
      outcome = commit(batch);
      if (outcome) set_counts(std::move(after));
    }
  }
  for (Waiting* const waiting : group) waiting->outcome = outcome;
}

Directory::Directory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Directory::~Directory() = default;

Result<std::unique_ptr<Directory>> Directory::open(const std::string& path, DirectoryMode mode,
                                                   const DirectoryOptions& options) {
  auto impl = std::make_unique<Impl>();
  auto store = DirectoryStore::open(path, mode, options);
  if (!store) return store.error();
  impl->store = std::move(*store);
  if (mode == DirectoryMode::kCreate) {
    if (const Status created = impl->create(); !created) return created.error();
  }
  if (const Status loaded = impl->load(); !loaded) return loaded.error();
  return std::unique_ptr<Directory>(new Directory(std::move(impl)));
}

std::shared_ptr<const ShardMap> Directory::map() const { return impl_->current_map(); }

Result<std::uint64_t> Directory::apply(std::uint64_t expected_epoch, const MapChange& change) {
  const std::lock_guard lock(impl_->commit_mutex);
  if (const Status writable = impl_->check_writable(); !writable) return writable.error();
  const auto before = impl_->current_map();
  if (before->epoch != expected_epoch) {
    return Error{Sqlstate{"40001"},
                 "the shard map has changed: its epoch is " + std::to_string(before->epoch) +
                     ", not " + std::to_string(expected_epoch),
                 "Read the map again."};
  }
  const auto after = changed_map(*before, change);
  if (!after) return after.error();
  rocksdb::WriteBatch batch;
  const Records old_records = map_records(*before);
  const Records new_records = map_records(**after);
  for (const auto& [key, payload] : new_records) {
    const auto old = old_records.find(key);
    if (old != old_records.end() && old->second == payload) continue;
    put_sealed(batch, impl_->store->map_family(), key, payload);
  }
  for (const auto& [key, unused] : old_records) {
    if (!new_records.contains(key)) {
      batch.Delete(impl_->store->map_family(), key).PermitUncheckedError();
    }
  }
  for (const MapChangeStep& step : change) {
    const auto* const job = std::get_if<map_change::SetJob>(&step);
    if (!job) continue;
    if (job->bytes) {
      put_sealed(batch, impl_->store->map_family(), job_key(job->id), *job->bytes);
    } else {
      batch.Delete(impl_->store->map_family(), job_key(job->id)).PermitUncheckedError();
    }
  }
  if (const Status done = impl_->commit(batch); !done) return done.error();
  const std::lock_guard map_lock(impl_->map_mutex);
  impl_->map = *after;
  return impl_->map->epoch;
}

Result<KeyAnswer> Directory::try_find(KeyspaceId keyspace, std::string_view encoded_key) const {
  return impl_->look_up(keyspace, encoded_key, rocksdb::kBlockCacheTier);
}

Result<KeyAnswer> Directory::find(KeyspaceId keyspace, std::string_view encoded_key) const {
  return impl_->look_up(keyspace, encoded_key, rocksdb::kReadAllTier);
}

Status Directory::write(std::span<KeyWrite> writes) {
  Impl::Waiting mine{writes};
  std::unique_lock lock(impl_->queue_mutex);
  impl_->queue.push_back(&mine);
  // Whoever finds nobody leading commits for all that wait, and then lets the next one lead.
  impl_->queue_moved.wait(lock, [&] { return mine.done || !impl_->leading; });
  if (!mine.done) {
    impl_->leading = true;
    const std::vector<Impl::Waiting*> group = std::exchange(impl_->queue, {});
    lock.unlock();
    impl_->commit_group(group);
    lock.lock();
    for (Impl::Waiting* const waiting : group) waiting->done = true;
    impl_->leading = false;
    impl_->queue_moved.notify_all();
  }
  return mine.outcome;
}

Result<StableShardId> Directory::assign(KeyspaceId keyspace, std::string_view encoded_key,
                                        std::optional<NewKeyPolicy> policy) {
  const auto known = find(keyspace, encoded_key);
  if (!known) return known.error();
  if (known->kind == KeyAnswer::Kind::kFound) return known->shard;
  KeyWrite write{KeyWrite::Kind::kAssign, keyspace, encoded_key, 0, policy};
  if (const Status done = this->write({&write, 1}); !done) return done.error();
  return write.outcome;
}

Status Directory::put_job(std::uint64_t id, std::optional<std::string_view> bytes) {
  const std::lock_guard lock(impl_->commit_mutex);
  if (const Status writable = impl_->check_writable(); !writable) return writable.error();
  rocksdb::WriteBatch batch;
  if (bytes) {
    put_sealed(batch, impl_->store->map_family(), job_key(id), *bytes);
  } else {
    batch.Delete(impl_->store->map_family(), job_key(id)).PermitUncheckedError();
  }
  return impl_->commit(batch);
}

Result<std::map<std::uint64_t, std::string>> Directory::jobs() const {
  const auto records = impl_->store->read_records(nullptr);
  if (!records) return records.error();
  std::map<std::uint64_t, std::string> jobs;
  for (const auto& [key, payload] : *records) {
    if (key[0] != static_cast<char>(Tag::kJob)) continue;
    if (key.size() != 9) return damaged("a job's record cannot be read");
    jobs[load_be64(key.data() + 1)] = payload;
  }
  return jobs;
}

Status Directory::for_each_key(
    KeyspaceId keyspace, std::string_view from,
    const std::function<bool(std::string_view, StableShardId)>& visit) const {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = std::size_t{1} << 20;
  std::unique_ptr<rocksdb::Iterator> at(
      impl_->store->db().NewIterator(read, impl_->store->keys_family()));
  const StoredKey first(keyspace, from);
  const StoredKey prefix(keyspace, {});
  for (at->Seek(to_slice(first.view())); at->Valid(); at->Next()) {
    const std::string_view key = to_view(at->key());
    if (!key.starts_with(prefix.view())) break;
    const StableShardId shard = read_key_value(to_view(at->value()));
    if (shard == 0) return damaged("a key's value cannot be read");
    if (!visit(key.substr(kKeyPrefix), shard)) return Ok{};
  }
  if (!at->status().ok()) return to_error(at->status(), "reading keys");
  return Ok{};
}

Result<std::uint64_t> Directory::load_sorted(KeyspaceId keyspace_id, const NextKey& next) {
  const std::lock_guard lock(impl_->commit_mutex);
  if (const Status writable = impl_->check_writable(); !writable) return writable.error();
  const auto map = impl_->current_map();
  const KeyspaceRecord* const keyspace = map->keyspace(keyspace_id);
  if (!keyspace) return unknown_keyspace(keyspace_id);
  const std::string folder = impl_->store->path() + "/load";
  std::error_code failed;
  std::filesystem::remove_all(folder, failed);
  std::filesystem::create_directories(folder, failed);
  TableWriter keys(*impl_->store, impl_->store->keys_family(), folder + "/keys-");
  KeyCounts after = impl_->counts;
  KeyCounts touched;
  std::uint64_t added_keys = 0;
  const auto first_count = impl_->counts.lower_bound({keyspace_id, 0});
  const bool was_empty =
      first_count == impl_->counts.end() || first_count->first.first != keyspace_id;
  std::string_view encoded;
  StableShardId shard = 0;
  while (next(encoded, shard)) {
    if (const Status good = check_directory_key(*keyspace, encoded); !good) return good.error();
    if (!map->shard(shard)) return refused("there is no shard " + std::to_string(shard));
    if (!was_empty) {
      const auto known = impl_->look_up(keyspace_id, encoded, rocksdb::kReadAllTier);
      if (!known) return known.error();
      if (known->kind == KeyAnswer::Kind::kFound) {
        if (known->shard == shard) continue;
        return refused("key '" + encoded_key_text(keyspace->key_type, encoded) +
                       "' is on shard \"" + map->shard(known->shard)->name + "\" already, not \"" +
                       map->shard(shard)->name + "\"");
      }
    }
    const StoredKey key(keyspace_id, encoded);
    ++added_keys;
    if (const Status added = keys.add(key.view(), key_value(shard)); !added) return added.error();
    touched[{keyspace_id, shard}] = ++after[{keyspace_id, shard}];
  }
  if (const Status done = keys.finish(); !done) return done.error();
  if (added_keys == 0) return added_keys;

  // Counters and commit go in a table of their own: a log record could not be atomic with tables.
  TableWriter records(*impl_->store, impl_->store->map_family(), folder + "/map-");
  const std::string commit_key = number_key(Tag::kCommit);
  Status added = records.add(commit_key, seal(commit_key, number_payload(impl_->commits + 1)));
  for (const auto& [ids, count] : touched) {
    const std::string key = count_key(ids.first, ids.second);
    if (added) added = records.add(key, seal(key, number_payload(count)));
  }
  if (added) added = records.finish();
  if (!added) return added.error();
  if (const Status done = ingest(*impl_->store, records, keys); !done) {
    return impl_->fail(done.error());
  }
  ++impl_->commits;
  impl_->set_counts(std::move(after));
  std::filesystem::remove_all(folder, failed);
  if (const Status marked = impl_->store->mark_committed(impl_->commits); !marked) {
    return impl_->fail(marked.error());
  }
  return added_keys;
}

Status Directory::Impl::check_all(
    const rocksdb::Snapshot* snapshot, const KeyProgress& progress,
    const std::function<Status(std::string_view, std::string_view)>& visit) const {
  const auto records = store->read_records(snapshot);
  if (!records) return records.error();
  const auto read = read_map(*records);
  if (!read) return read.error();
  const auto expected = read_counts(*records);
  if (!expected) return expected.error();
  std::uint64_t total = 0;
  for (const auto& [ids, count] : *expected) total += count;

  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  options.fill_cache = false;
  options.readahead_size = std::size_t{1} << 20;
  std::unique_ptr<rocksdb::Iterator> at(store->db().NewIterator(options, store->keys_family()));
  KeyCounts found;
  std::uint64_t done = 0;
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    const std::string_view key = to_view(at->key());
    const StableShardId shard = read_key_value(to_view(at->value()));
    if (key.size() < kKeyPrefix || !read->shard(shard)) return damaged("a key has no known shard");
    const KeyspaceRecord* const keyspace = read->keyspace(load_be16(key.data()));
    if (!keyspace || !check_directory_key(*keyspace, key.substr(kKeyPrefix))) {
      return damaged("a key cannot be read");
    }
    ++found[{keyspace->id, shard}];
    if (const Status visited = visit(key, to_view(at->value())); !visited) return visited.error();
    if (progress && ++done % kProgressStep == 0) progress(done, total);
  }
  if (!at->status().ok()) return to_error(at->status(), "reading keys");
  if (found != *expected) return damaged("the counters differ from the keys that are there");
  if (progress) progress(total, total);
  return Ok{};
}

Status Directory::verify(const KeyProgress& progress) const {
  const auto checked = impl_->store->db().VerifyChecksum();
  if (!checked.ok()) return to_error(checked, "checking tables");
  rocksdb::ManagedSnapshot snapshot(&impl_->store->db());
  return impl_->check_all(snapshot.snapshot(), progress,
                          [](std::string_view, std::string_view) { return Status(Ok{}); });
}

Status Directory::copy_to(const std::string& to, const KeyProgress& progress) const {
  std::error_code failed;
  if (std::filesystem::exists(to, failed)) return refused("\"" + to + "\" exists already");
  const std::string partial = to + ".partial";
  std::filesystem::remove_all(partial, failed);
  auto made = DirectoryStore::open(partial, DirectoryMode::kCreate, {});
  if (!made) return made.error();
  std::unique_ptr<DirectoryStore> target = std::move(*made);
  std::filesystem::create_directories(partial + "/load", failed);

  rocksdb::ManagedSnapshot snapshot(&impl_->store->db());
  TableWriter keys(*target, target->keys_family(), partial + "/load/keys-");
  Status done = impl_->check_all(
      snapshot.snapshot(), progress,
      [&keys](std::string_view key, std::string_view value) { return keys.add(key, value); });
  if (done) done = keys.finish();
  if (!done) return done.error();
  const auto records = impl_->store->read_records(snapshot.snapshot());
  if (!records) return records.error();
  TableWriter map(*target, target->map_family(), partial + "/load/map-");
  for (const auto& [key, payload] : *records) {
    if (done) done = map.add(key, seal(key, payload));
  }
  if (done) done = map.finish();
  if (done) done = ingest(*target, map, keys);
  const auto commit = records->find(number_key(Tag::kCommit));
  if (done && commit != records->end()) {
    const auto number = read_number(commit->second);
    done = number ? target->mark_committed(*number) : Status(number.error());
  }
  if (!done) return done.error();
  std::filesystem::remove_all(partial + "/load", failed);
  if (const Status synced = target->sync_mark(); !synced) return synced.error();
  target.reset();
  std::filesystem::rename(partial, to, failed);
  if (failed) return Error{Sqlstate{"58030"}, to + ": " + failed.message(), {}};
  return sync_folder_of(to);
}

KeyCounts Directory::key_counts() const {
  const std::lock_guard lock(impl_->map_mutex);
  return *impl_->known_counts;
}

DirectoryStats Directory::stats() const {
  DirectoryStats stats;
  {
    const std::lock_guard lock(impl_->commit_mutex);
    stats.keys = impl_->counts;
    stats.commits = impl_->commits;
  }
  rocksdb::DB& db = impl_->store->db();
  for (auto* const family : {impl_->store->map_family(), impl_->store->keys_family()}) {
    std::uint64_t value = 0;
    if (db.GetIntProperty(family, rocksdb::DB::Properties::kTotalSstFilesSize, &value)) {
      stats.disk_bytes += value;
    }
    if (db.GetIntProperty(family, rocksdb::DB::Properties::kEstimateTableReadersMem, &value)) {
      stats.filter_and_index_bytes += value;
    }
  }
  // One cache for both families.
  db.GetIntProperty(impl_->store->keys_family(), rocksdb::DB::Properties::kBlockCacheUsage,
                    &stats.cache_bytes);
  const auto& ticks = *impl_->store->options().statistics;
  stats.cache_hits = ticks.getTickerCount(rocksdb::BLOCK_CACHE_DATA_HIT);
  stats.cache_misses = ticks.getTickerCount(rocksdb::BLOCK_CACHE_DATA_MISS);
  stats.filtered = ticks.getTickerCount(rocksdb::BLOOM_FILTER_USEFUL);
  return stats;
}

}  // namespace pgshunt
