// What the router must know of the shards' catalogs (columns, their types and defaults), read once
// the shards can be reached and again after every reload.
//
// libpq on a thread of its own: connecting may block, and nothing on the query path waits for it.
// Until a catalog is there, statements that need it are refused.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "proxy/database.h"

namespace pgshunt {

class CatalogLoader {
 public:
  // Called from the loader's thread with a snapshot whose sharded databases know their columns.
  using Loaded = std::function<void(std::shared_ptr<const Snapshot>)>;

  explicit CatalogLoader(Loaded loaded);
  ~CatalogLoader();
  CatalogLoader(const CatalogLoader&) = delete;
  CatalogLoader& operator=(const CatalogLoader&) = delete;

  // Any thread: reads the catalogs this snapshot's databases lack, retrying until it has them or
  // another snapshot comes.
  void load(std::shared_ptr<const Snapshot> snapshot);

 private:
  void work();

  Loaded loaded_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<const Snapshot> wanted_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pgshunt
