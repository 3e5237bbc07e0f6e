// A folder that goes away, and a directory with shards and a keyspace in it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "router/directory/directory.h"
#include "router/key_encoding.h"

namespace pgshunt {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "/tmp/pgshunt_directory_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// With a small buffer, so that tables are made and merged often.
inline std::unique_ptr<Directory> open_directory(const std::string& path, DirectoryMode mode) {
  auto opened = Directory::open(
      path, mode,
      {.block_cache_bytes = std::size_t{8} << 20, .write_buffer_bytes = std::size_t{128} << 10});
  EXPECT_TRUE(opened) << opened.error().message;
  return opened ? std::move(*opened) : nullptr;
}

// Shards 1, 2, 3 ("s1" ...), directory keyspaces 1 ("users", bigint) and 2 ("names", text).
inline std::unique_ptr<Directory> make_directory(const std::string& path,
                                                 NewKeyPolicy policy = NewKeyPolicy::kLeastLoaded) {
  auto directory = open_directory(path, DirectoryMode::kCreate);
  if (!directory) return nullptr;
  using namespace map_change;
  MapChange change{AddShard{"s1"}, AddShard{"s2"}, AddShard{"s3"}};
  change.push_back(AddKeyspace{"users", ShardKeyType::kInt8, KeyspaceKind::kDirectory, policy, 2});
  change.push_back(AddKeyspace{"names", ShardKeyType::kText, KeyspaceKind::kDirectory, policy, 2});
  const auto epoch = directory->apply(0, change);
  EXPECT_TRUE(epoch) << epoch.error().message;
  return directory;
}

inline std::string user_key(std::int64_t id) {
  return *encode_key_text(ShardKeyType::kInt8, std::to_string(id));
}

}  // namespace pgshunt
