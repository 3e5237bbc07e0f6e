#include "proxy/directory/directories.h"

#include <utility>

#include "proxy/config/report.h"
#include "proxy/directory/agreement.h"
#include "proxy/log/log.h"

namespace pgshunt {
namespace {

// In the form of the other problems of a configuration, but without a line: that is forgotten here.
Error issue_of(const Config& config, const DatabaseConfig& database, const Error& error) {
  const std::string key = join_key(join_key("databases", database.name), "directory");
  const std::string problem =
      error.hint.empty() ? error.message : error.message + ". " + error.hint;
  return {error.code, ConfigIssue{config.file, 0, key, problem}.to_string(), {}};
}

// A new one has no keys. If the shards have rows already, nobody finds them until their keys are
// imported, so this is said aloud.
Result<std::unique_ptr<Directory>> open_or_make(const std::string& path) {
  auto found = Directory::open(path, DirectoryMode::kReadWrite);
  if (found || found.error().code != sqlstate::kInvalidCatalogName) return found;
  auto made = Directory::open(path, DirectoryMode::kCreate);
  if (made) {
    log_event(LogLevel::kWarning, "directory_made", {},
              "there was no directory at \"" + path +
                  "\": a new one was made, which has no keys; rows that are on the shards already "
                  "are not found by key until theirs are imported (shuntctl directory import)");
  }
  return made;
}

}  // namespace

struct Directories::Opened {
  explicit Opened(std::string where, std::unique_ptr<Directory> opened)
      : path(std::move(where)), directory(std::move(opened)), service(*directory) {}

  const std::string path;
  const std::unique_ptr<Directory> directory;
  DirectoryService service;
};

Directories::Directories() = default;
Directories::~Directories() = default;

Result<Directories::Opened*> Directories::opened(const std::string& path) {
  for (const auto& known : opened_) {
    if (known->path == path) return known.get();
  }
  auto directory = open_or_make(path);
  if (!directory) return directory.error();
  const std::lock_guard lock(mutex_);
  opened_.push_back(std::make_unique<Opened>(path, std::move(*directory)));
  return opened_.back().get();
}

Status Directories::open(const Config& config) {
  for (const auto& [name, database] : config.databases) {
    if (!database.uses_directory() || of(database) != nullptr) continue;
    const auto there = opened(database.directory);
    if (!there) return issue_of(config, database, there.error());
    Directory& directory = *(*there)->directory;
    const auto map = directory.map();
    const auto missing = missing_in_directory(*map, database);
    if (!missing) return issue_of(config, database, missing.error());
    if (!missing->empty()) {
      const auto epoch = directory.apply(map->epoch, *missing);
      if (!epoch) return issue_of(config, database, epoch.error());
      log_event(LogLevel::kInfo, "directory_grown", {},
                "the directory at \"" + database.directory +
                    "\" was given the shards and keyspaces of database \"" + name +
                    "\" that it had not, epoch " + std::to_string(*epoch));
    }
    auto view = std::make_unique<DatabaseDirectory>(database, directory, (*there)->service);
    const std::lock_guard lock(mutex_);
    views_.push_back(std::move(view));
  }
  return Ok{};
}

DatabaseDirectory* Directories::of(const DatabaseConfig& config) const {
  if (!config.uses_directory()) return nullptr;
  const std::lock_guard lock(mutex_);
  for (const auto& view : views_) {
    if (view->fits(config)) return view.get();
  }
  return nullptr;
}

void Directories::stop() {
  for (const auto& each : opened_) each->service.stop();
}

Status check_directories(const Config& config) {
  for (const auto& [name, database] : config.databases) {
    if (!database.uses_directory()) continue;
    const auto directory = Directory::open(database.directory, DirectoryMode::kReadOnly);
    if (!directory && directory.error().code == sqlstate::kInvalidCatalogName) continue;
    if (!directory) return issue_of(config, database, directory.error());
    const auto missing = missing_in_directory(*(*directory)->map(), database);
    if (!missing) return issue_of(config, database, missing.error());
  }
  return Ok{};
}

}  // namespace pgshunt
