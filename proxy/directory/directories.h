// The directories that the process has open: at start, and at a reload that names more of them.
// They stay open until the end, whatever a reload takes away.
//
// open() and stop() on the main thread, the rest on any.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "proxy/config/config.h"
#include "proxy/directory/database_directory.h"
#include "router/directory/directory.h"
#include "router/directory/directory_service.h"

namespace pgshunt {

class Directories {
 public:
  Directories();
  ~Directories();
  Directories(const Directories&) = delete;
  Directories& operator=(const Directories&) = delete;

  // Opens those of all databases that have one, or makes them, and sees to it that they and the
  // configuration agree. The error names the file and key. Waits for the disk.
  Status open(const Config& config);
  // Null if the database has none.
  DatabaseDirectory* of(const DatabaseConfig& config) const;
  // Answers what was asked, and takes no more questions.
  void stop();

 private:
  struct Opened;

  Result<Opened*> opened(const std::string& path);

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Opened>> opened_;
  std::vector<std::unique_ptr<DatabaseDirectory>> views_;
};

// For --check: the directories that are there already, as far as they can be read, against the
// configuration. Changes nothing.
Status check_directories(const Config& config);

}  // namespace pgshunt
