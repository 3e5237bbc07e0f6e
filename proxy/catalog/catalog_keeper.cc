#include "proxy/catalog/catalog_keeper.h"

#include <algorithm>

#include "proxy/log/log.h"
#include "router/catalog.h"

namespace pgshunt {
namespace {

// After a failure: soon at first, since servers that start together are there in a moment.
constexpr auto kFirstBackoff = std::chrono::milliseconds(100);
constexpr auto kLongestBackoff = std::chrono::seconds(10);
// How long the other shards' catalogs are held back for one that does not answer.
constexpr auto kPatience = std::chrono::seconds(1);

}  // namespace

std::string unread_text(const CatalogReport* report) {
  if (report == nullptr || report->unread.empty()) return "it is being read";
  std::string text;
  for (const CatalogReport::Unread& each : report->unread) {
    text += (text.empty() ? "shard \"" : "; shard \"") + each.shard + "\": " + each.why;
  }
  return text;
}

CatalogKeeper::CatalogKeeper(Publish publish)
    : publish_(std::move(publish)), thread_([this] { work(); }) {}

CatalogKeeper::~CatalogKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  for (Reader& reader : readers_) reader.thread.join();
}

void CatalogKeeper::set_snapshot(const Snapshot& snapshot) {
  {
    const std::lock_guard lock(mutex_);
    std::map<std::string, Entry> before;
    before.swap(entries_);
    ++last_generation_;
    for (const auto& [name, database] : snapshot.databases) {
      if (!database->topology) continue;
      Entry& entry = entries_[name];
      entry.version = snapshot.version;
      entry.database = database;
      entry.wanted = last_generation_;
      entry.wanted_at = Clock::now();
      const auto known = before.find(name);
      if (known != before.end()) entry.logged = known->second.logged;
      for (std::size_t i = 0; i < database->config.shards.size(); ++i) {
        auto shard = std::make_shared<Shard>();
        shard->source = catalog_source(*snapshot.config, database->config, i);
        if (known != before.end()) {
          for (const auto& old : known->second.shards) {
            if (old->source.target.shard == shard->source.target.shard &&
                old->source.target.same_place(shard->source.target)) {
              shard->catalog = old->catalog;
            }
          }
        }
        entry.shards.push_back(std::move(shard));
      }
    }
    news_ = true;
  }
  wake_.notify_all();
}

std::uint64_t CatalogKeeper::refresh(const std::string& database) {
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    generation = ++last_generation_;
    for (auto& [name, entry] : entries_) {
      if (!database.empty() && name != database) continue;
      entry.wanted = generation;
      entry.wanted_at = Clock::now();
    }
    news_ = true;
  }
  wake_.notify_all();
  return generation;
}

void CatalogKeeper::retry_now(const std::string& database, std::size_t shard) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(database);
    if (found == entries_.end() || shard >= found->second.shards.size()) return;
    Shard& wanted = *found->second.shards[shard];
    if (wanted.reading || wanted.catalog) return;
    wanted.retry_at = {};
    news_ = true;
  }
  wake_.notify_all();
}

void CatalogKeeper::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    news_ = false;
    const Clock::time_point now = Clock::now();
    auto next = now + std::chrono::hours(1);
    std::vector<std::string> to_publish;
    for (auto& [name, entry] : entries_) {
      start_readings(name, entry, now);
      for (const auto& shard : entry.shards) {
        if (!shard->reading && !shard->error.empty() && shard->source.problem.empty()) {
          next = std::min(next, shard->retry_at);
        }
      }
      if (ripe(entry, now)) {
        to_publish.push_back(name);
      } else if (entry.changed || !entry.report || entry.report->generation < entry.wanted) {
        if (entry.wanted_at + kPatience > now) next = std::min(next, entry.wanted_at + kPatience);
      }
    }
    for (const std::string& name : to_publish) publish(lock, name);
    readers_.remove_if([](Reader& reader) {
      if (!reader.done) return false;
      reader.thread.join();  // its last act was to say so
      return true;
    });
    wake_.wait_until(lock, next, [this] { return news_ || stopping_; });
  }
}

void CatalogKeeper::start_readings(const std::string& name, Entry& entry, Clock::time_point now) {
  for (const auto& shard : entry.shards) {
    if (shard->reading) continue;
    const bool retries = !shard->error.empty() && shard->retry_at <= now;
    if (shard->read >= entry.wanted && !retries) continue;
    if (!shard->source.problem.empty()) {
      if (shard->read == entry.wanted) continue;
      shard->read = entry.wanted;
      entry.changed |= shard->error != shard->source.problem;
      shard->error = shard->source.problem;
      log_event(LogLevel::kWarning, "catalog_not_read",
                {.database = name, .shard = shard->source.target.shard}, shard->error);
      continue;
    }
    shard->reading = true;
    Reader& reader = readers_.emplace_back();
    reader.thread = std::thread([this, name, shard, generation = entry.wanted, &reader] {
      read(name, shard, generation, reader);
    });
  }
}

// On a thread of its own.
void CatalogKeeper::read(const std::string& name, const std::shared_ptr<Shard>& shard,
                         std::uint64_t generation, Reader& reader) {
  auto result = read_shard_catalog(shard->source.target, stopping_);
  const std::lock_guard lock(mutex_);
  shard->reading = false;
  shard->read = generation;
  bool changed = false;
  if (result) {
    changed = !shard->catalog || *shard->catalog != *result || !shard->error.empty();
    if (changed) shard->catalog = std::make_shared<const ShardCatalog>(std::move(*result));
    shard->error.clear();
    shard->refused = false;
    shard->backoff = {};
  } else {
    changed = shard->error != result.error().message;
    shard->error = result.error().message;
    shard->refused = result.error().code == sqlstate::kInvalidAuthorization;
    shard->backoff =
        std::clamp<Clock::duration>(shard->backoff * 2, kFirstBackoff, kLongestBackoff);
    shard->retry_at = Clock::now() + shard->backoff;
    if (!stopping_) {
      log_event(LogLevel::kWarning, "catalog_not_read",
                {.database = name, .shard = shard->source.target.shard}, shard->error);
    }
  }
  // Of an entry that a reload has replaced meanwhile the result is of no use.
  const auto entry = entries_.find(name);
  if (changed && entry != entries_.end()) entry->second.changed = true;
  reader.done = true;
  news_ = true;
  wake_.notify_all();
}

// Is there something to tell, and nobody worth waiting for?
bool CatalogKeeper::ripe(const Entry& entry, Clock::time_point now) const {
  const bool all_read = std::all_of(entry.shards.begin(), entry.shards.end(),
                                    [&](const auto& each) { return each->read >= entry.wanted; });
  const bool owed = !entry.report || entry.report->generation < entry.wanted;
  if (all_read) return entry.changed || entry.partial || owed;
  // What was known before the reload, at once.
  if (!entry.report) {
    const bool known = std::all_of(entry.shards.begin(), entry.shards.end(),
                                   [](const auto& each) { return each->catalog != nullptr; });
    if (known) return true;
  }
  if (entry.wanted_at + kPatience > now) return false;
  return entry.changed || (owed && entry.shards.front()->read >= entry.wanted);
}

void CatalogKeeper::publish(std::unique_lock<std::mutex>& lock, const std::string& name) {
  Entry& entry = entries_[name];
  const std::uint64_t version = entry.version;
  auto report = std::make_shared<CatalogReport>();
  // A shard that does not answer in time counts as read: it is told of as unread.
  const bool before = !entry.report && entry.shards.front()->read < entry.wanted;
  report->generation = before ? 0 : entry.wanted;
  entry.partial = false;
  std::vector<const ShardCatalog*> catalogs;
  for (const auto& shard : entry.shards) {
    catalogs.push_back(shard->catalog.get());
    std::string why = shard->error;
    entry.partial |= shard->read < entry.wanted;
    if (why.empty() && shard->read < entry.wanted && !before) why = "does not answer yet";
    if (!why.empty()) {
      report->unread.push_back(
          {shard->source.target.shard, std::move(why), shard->catalog != nullptr});
    }
  }
  if (entry.changed || !entry.topology) {
    TopologyBuilder builder;
    Status declared = declare_topology(entry.database->config, builder);
    if (declared) describe_catalogs(builder, catalogs);
    const Shard& first = *entry.shards.front();
    builder.declared().catalog_problem = first.refused ? first.error : first.source.problem;
    auto topology = declared ? builder.build(next_epoch()) : declared.error();
    if (topology) {
      entry.topology = std::move(*topology);
    } else {
      // Declarations were checked with the configuration.
      log_event(LogLevel::kError, "catalog_not_used", {.database = name}, topology.error().message);
      entry.topology = entry.database->topology;
    }
    entry.changed = false;
  }
  report->drift = entry.topology->drift;
  entry.report = report;
  log_drift(name, entry);
  const auto topology = entry.topology;
  lock.unlock();
  publish_(version, name, topology, report);
  lock.lock();
}

// Each difference once, when it is new.
void CatalogKeeper::log_drift(const std::string& name, Entry& entry) {
  const std::vector<Drift>& drift = entry.report->drift;
  for (const Drift& each : drift) {
    if (std::find(entry.logged.begin(), entry.logged.end(), each) != entry.logged.end()) continue;
    log_event(LogLevel::kWarning, "schema_drift",
              {.database = name, .shard = entry.topology->shards[each.shard].name}, [&] {
                return drift_object(each) + " " + each.difference + "; " +
                       std::string(drift_consequence(each.effect));
              });
  }
  entry.logged = drift;
}

}  // namespace pgshunt
