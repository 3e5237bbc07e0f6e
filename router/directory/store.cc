#include "router/directory/store.h"

#include <fcntl.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "protocol/frame.h"

#if defined(__SANITIZE_THREAD__)
// Debian's RocksDB is not instrumented: its atomics are not seen, so what its threads hand to each
// other looks like races. Reports without a frame of it are ours and stay.
extern "C" const char* __tsan_default_suppressions() { return "race:librocksdb.so\n"; }
#endif

namespace pgshunt {
namespace {

using directory_record::damaged;

constexpr std::string_view kKeysFamily = "keys";
constexpr std::string_view kMarkFile = "/COMMITTED";
constexpr std::size_t kMarkSize = 12;  // commit and its CRC-32C
constexpr Sqlstate kIoError{"58030"};

// A reader must not touch the files of who writes, the log among them.
class SilentLogger : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::Options make_options(const DirectoryOptions& wanted) {
  rocksdb::BlockBasedTableOptions table;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  table.block_size = 4096;
  table.block_cache = rocksdb::NewLRUCache(wanted.block_cache_bytes);
  // Filters and indexes are the tables' own and not the cache's, which could evict them: an absent
  // key is answered from memory whatever else is read.
  table.cache_index_and_filter_blocks = false;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = true;
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;

  rocksdb::Options options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.write_buffer_size = wanted.write_buffer_bytes;
  options.max_open_files = -1;  // all tables open, so that their filters are in memory
  options.compression = rocksdb::kNoCompression;
  options.level_compaction_dynamic_level_bytes = true;
  options.paranoid_checks = true;
  options.track_and_verify_wals_in_manifest = true;
  // A record that is cut at the end of the log was never acknowledged; anything else that is wrong
  // with the log is an error. What a cut record might hide, the mark shows.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.max_background_jobs = 2;
  options.max_total_wal_size = std::uint64_t{128} << 20;
  options.keep_log_file_num = 2;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.statistics = rocksdb::CreateDBStatistics();
  options.statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> describe_families(const rocksdb::Options& options) {
  return {{rocksdb::kDefaultColumnFamilyName, options}, {std::string(kKeysFamily), options}};
}

// Changes whenever the writer's set of tables and logs does: CURRENT names the manifest, and the
// manifest only grows.
std::string manifest_state(const std::string& path) {
  std::ifstream file(path + "/CURRENT");
  std::string name;
  std::getline(file, name);
  std::error_code ignored;
  return name + " " + std::to_string(std::filesystem::file_size(path + "/" + name, ignored));
}

// Who holds RocksDB's lock, in words. Not to be asked when it is this process: closing the file
// would give the lock away.
std::string lock_holder(const std::string& path) {
  const int fd = ::open((path + "/LOCK").c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return {};
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool held = ::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  ::close(fd);
  if (!held) return {};
  std::ifstream file("/proc/" + std::to_string(lock.l_pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return "process " + std::to_string(lock.l_pid) + (name.empty() ? "" : " (" + name + ")");
}

std::string mark_bytes(std::uint64_t commit) {
  std::string bytes(kMarkSize, '\0');
  store_be64(bytes.data(), commit);
  store_be32(bytes.data() + 8, directory_record::crc32c({bytes.data(), 8}, {}));
  return bytes;
}

}  // namespace

Error to_error(const rocksdb::Status& status, std::string_view doing) {
  const std::string what = std::string(doing) + ": " + status.ToString();
  if (status.IsCorruption()) return damaged(what);
  return {status.IsIOError() ? kIoError : sqlstate::kInternalError, what, {}};
}

Status sync_folder_of(const std::string& path) {
  const auto absolute = std::filesystem::absolute(path);
  const std::string folder = absolute.parent_path().string();
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (synced) return Ok{};
  return Error{kIoError, folder + ": " + std::strerror(errno), {}};
}

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::open(const std::string& path,
                                                             DirectoryMode mode,
                                                             const DirectoryOptions& options) {
  std::unique_ptr<DirectoryStore> store(new DirectoryStore());
  store->path_ = path;
  store->options_ = make_options(options);
  const bool read_only = mode == DirectoryMode::kReadOnly;
  const Status opened = read_only ? store->open_read_only() : store->open_writable(mode);
  if (!opened) return opened.error();
  return store;
}

DirectoryStore::~DirectoryStore() {
  for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  if (db_) db_->Close().PermitUncheckedError();
  if (mark_ >= 0) ::close(mark_);
}

Status DirectoryStore::open_writable(DirectoryMode mode) {
  std::error_code failed;
  const bool create = mode == DirectoryMode::kCreate;
  if (create) {
    std::filesystem::create_directories(path_, failed);
    options_.create_if_missing = options_.create_missing_column_families = true;
  } else if (!std::filesystem::exists(path_ + "/CURRENT", failed)) {
    return Error{sqlstate::kInvalidCatalogName, "there is no directory at \"" + path_ + "\"",
                 "\"shuntctl directory init\" makes one."};
  }
  rocksdb::DB* db = nullptr;
  const auto opened =
      rocksdb::DB::Open(options_, path_, describe_families(options_), &families_, &db);
  db_.reset(db);
  if (opened.IsIOError() && opened.ToString().find("lock") != std::string::npos) {
    const bool ours = opened.ToString().find("by current process") != std::string::npos;
    const std::string holder = ours ? "this process" : lock_holder(path_);
    if (!holder.empty()) {
      return Error{Sqlstate{"55006"}, "\"" + path_ + "\" is in use by " + holder,
                   "One process may write a directory. Reading it is possible meanwhile."};
    }
  }
  if (!opened.ok()) return to_error(opened, "opening \"" + path_ + "\"");
  std::filesystem::remove_all(path_ + "/load", failed);  // of a load that was cut short
  return open_mark(create);
}

Status DirectoryStore::open_read_only() {
  std::error_code failed;
  if (!std::filesystem::exists(path_ + "/CURRENT", failed)) {
    return Error{sqlstate::kInvalidCatalogName, "there is no directory at \"" + path_ + "\"",
                 "\"shuntctl directory init\" makes one."};
  }
  options_.info_log = std::make_shared<SilentLogger>();
  // Between reading the manifest and the logs the writer may turn a log into a table and remove it.
  // If the manifest is the same afterwards, it did not.
  constexpr int kAttempts = 100;
  rocksdb::Status opened;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::string before = manifest_state(path_);
    if (const Status mark = open_mark(false); !mark) return mark.error();
    rocksdb::DB* db = nullptr;
    opened =
        rocksdb::DB::OpenForReadOnly(options_, path_, describe_families(options_), &families_, &db);
    db_.reset(db);
    const bool quiet = manifest_state(path_) == before;
    if (quiet) return opened.ok() ? Status(Ok{}) : to_error(opened, "opening \"" + path_ + "\"");
    for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
    families_.clear();
    db_.reset();
  }
  return Error{kIoError, "\"" + path_ + "\" is being changed too fast to be read", {}};
}

// For a reader the file is closed again: mark_ is what makes a store writable.
Status DirectoryStore::open_mark(bool create) {
  const std::string file = path_ + std::string(kMarkFile);
  const bool reader = options_.info_log != nullptr;
  const int fd = ::open(file.c_str(), (reader ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd < 0 && create) {
    mark_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (mark_ < 0) return Error{kIoError, file + ": " + std::strerror(errno), {}};
    if (const Status marked = mark_committed(0); !marked) return marked.error();
    ::fsync(mark_);
    return Ok{};
  }
  char bytes[kMarkSize + 1];
  const ssize_t size = fd < 0 ? -1 : ::pread(fd, bytes, sizeof bytes, 0);
  if (fd >= 0 && reader) ::close(fd);
  if (!reader) mark_ = fd;
  if (size != static_cast<ssize_t>(kMarkSize) ||
      std::string_view(bytes, kMarkSize) != mark_bytes(load_be64(bytes))) {
    return damaged("the file COMMITTED is missing or not what was written");
  }
  marked_ = load_be64(bytes);
  return Ok{};
}

Result<directory_record::Records> DirectoryStore::read_records(
    const rocksdb::Snapshot* snapshot) const {
  rocksdb::ReadOptions read;
  read.snapshot = snapshot;
  read.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read, map_family()));
  directory_record::Records records;
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    const auto payload = directory_record::unseal(to_view(at->key()), to_view(at->value()));
    if (!payload) return payload.error();
    records.emplace(to_view(at->key()), *payload);
  }
  if (!at->status().ok()) return to_error(at->status(), "reading the shard map");
  return records;
}

Status DirectoryStore::mark_committed(std::uint64_t commit) {
  const std::string bytes = mark_bytes(commit);
  if (::pwrite(mark_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return Error{kIoError, path_ + std::string(kMarkFile) + ": " + std::strerror(errno), {}};
  }
  marked_ = commit;
  return Ok{};
}

Status DirectoryStore::sync_mark() {
  if (::fsync(mark_) == 0) return Ok{};
  return Error{kIoError, path_ + std::string(kMarkFile) + ": " + std::strerror(errno), {}};
}

Status DirectoryStore::check_mark(std::uint64_t commit) const {
  if (commit >= marked_) return Ok{};
  return damaged("commit " + std::to_string(marked_) + " was acknowledged, but " +
                 std::to_string(commit) + " is the last one in the log");
}

}  // namespace pgshunt
