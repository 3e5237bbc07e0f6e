// RocksDB as the directory uses it: two column families, options, who may open it, and the mark
// that tells whether acknowledged commits are missing. Only .cc files of this folder include this.
#pragma once

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/statistics.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "router/directory/directory.h"
#include "router/directory/record.h"

namespace pgshunt {

Error to_error(const rocksdb::Status& status, std::string_view doing);
inline rocksdb::Slice to_slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
inline std::string_view to_view(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

// Makes a rename into this folder durable.
Status sync_folder_of(const std::string& path);

class DirectoryStore {
 public:
  static Result<std::unique_ptr<DirectoryStore>> open(const std::string& path, DirectoryMode mode,
                                                      const DirectoryOptions& options);
  ~DirectoryStore();
  DirectoryStore(const DirectoryStore&) = delete;
  DirectoryStore& operator=(const DirectoryStore&) = delete;

  const std::string& path() const { return path_; }
  bool writable() const { return mark_ >= 0; }
  rocksdb::DB& db() const { return *db_; }
  rocksdb::ColumnFamilyHandle* map_family() const { return families_[0]; }
  rocksdb::ColumnFamilyHandle* keys_family() const { return families_[1]; }
  const rocksdb::Options& options() const { return options_; }

  // Everything in the family of the map, unsealed.
  Result<directory_record::Records> read_records(const rocksdb::Snapshot* snapshot) const;

  // Writes the mark. Called when the commit is durable and nobody has been told yet.
  Status mark_committed(std::uint64_t commit);
  Status sync_mark();
  // XX001 if `commit`, the last one found, is below the mark.
  Status check_mark(std::uint64_t commit) const;

 private:
  DirectoryStore() = default;
  Status open_writable(DirectoryMode mode);
  Status open_read_only();
  Status open_mark(bool create);

  std::string path_;
  rocksdb::Options options_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  int mark_ = -1;
  std::uint64_t marked_ = 0;
};

}  // namespace pgshunt
