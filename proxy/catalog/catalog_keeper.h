// Keeps what is known of the shards' catalogs: reads those of all shards side by side at start,
// after a reload, after DDL and when asked to, compares them, and hands out a new Topology where
// something has changed. See README.md.
//
// A thread of its own decides; each reading blocks in a thread of its own. Nothing on the query
// path waits for any of them.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/catalog/catalog_report.h"
#include "proxy/catalog/shard_reader.h"
#include "proxy/database.h"

namespace pgshunt {

class CatalogKeeper {
 public:
  // Called on the keeper's thread: that database is to be served with this topology from now on.
  // `version`: of the snapshot it was made for.
  using Publish = std::function<void(std::uint64_t version, const std::string& database,
                                     std::shared_ptr<const Topology> topology,
                                     std::shared_ptr<const CatalogReport> report)>;

  explicit CatalogKeeper(Publish publish);
  ~CatalogKeeper();
  CatalogKeeper(const CatalogKeeper&) = delete;
  CatalogKeeper& operator=(const CatalogKeeper&) = delete;

  // --- any thread ---
  // The databases are those of this snapshot from now on; all their catalogs are read. What is
  // known of shards that stay where they are is used meanwhile.
  void set_snapshot(const Snapshot& snapshot);
  // Reads the catalogs of a database (empty: of all) again. Requests that come while one is waiting
  // to be served are served with it. It is done with once CatalogReport::generation has reached the
  // number returned.
  std::uint64_t refresh(const std::string& database);
  // A shard whose catalog is not known can be reached: no need to wait for the next try.
  void retry_now(const std::string& database, std::size_t shard);

 private:
  using Clock = std::chrono::steady_clock;
  struct Shard {
    CatalogSource source;
    std::shared_ptr<const ShardCatalog> catalog;
    std::string error;     // of the last try
    bool refused = false;  // it was that the server does not let our user in
    bool reading = false;
    std::uint64_t read = 0;  // generation of the last try that ended
    Clock::time_point retry_at{};
    Clock::duration backoff{};
  };
  struct Entry {
    std::uint64_t version = 0;
    std::shared_ptr<const Database> database;
    std::vector<std::shared_ptr<Shard>> shards;
    std::uint64_t wanted = 0;
    Clock::time_point wanted_at{};
    bool changed = true;   // since it was published
    bool partial = false;  // it was published without waiting for all
    std::shared_ptr<const Topology> topology;
    std::shared_ptr<const CatalogReport> report;
    std::vector<Drift> logged;
  };
  struct Reader {
    std::thread thread;
    bool done = false;
  };

  void work();
  void start_readings(const std::string& name, Entry& entry, Clock::time_point now);
  void read(const std::string& name, const std::shared_ptr<Shard>& shard, std::uint64_t generation,
            Reader& reader);
  bool ripe(const Entry& entry, Clock::time_point now) const;
  void publish(std::unique_lock<std::mutex>& lock, const std::string& name);
  void log_drift(const std::string& name, Entry& entry);

  Publish publish_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Entry> entries_;
  std::list<Reader> readers_;
  std::uint64_t last_generation_ = 0;
  bool news_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace pgshunt
