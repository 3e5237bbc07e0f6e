#include "proxy/deadlock/detector.h"

#include <algorithm>
#include <charconv>

#include "proxy/log/log.h"

namespace pgshunt {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(3000);  // of one connection or query
constexpr auto kSurveyPatience = std::chrono::seconds(2);
constexpr auto kKeepConnections = std::chrono::seconds(10);
constexpr auto kShortestPause = std::chrono::duration<double>(0.1);

// Who waits for whom on one server, and since when (from 14 on; before that, for what). The lock
// of a prepared transaction has no process: whose it is is found by the conflicts of chapter
// "Explicit Locking" of the manual, and by the lock that every transaction holds on its own number.
constexpr std::string_view kWaits =
    "WITH waiting AS (SELECT l.*, coalesce(pg_catalog.to_jsonb(l)->>'waitstart', l::text) AS since "
    "FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.pid IS NOT NULL), "
    "blocked AS (SELECT w.pid, w.since, b.pid AS blocker FROM waiting w, "
    "pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid)) "
    "SELECT pid, since, blocker, '' FROM blocked WHERE blocker <> 0 "
    "UNION SELECT w.pid, w.since, 0, p.gid FROM waiting w "
    "JOIN blocked b ON b.pid = w.pid AND b.blocker = 0 "
    "JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype AND "
    "(h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, "
    "h.objsubid) IS NOT DISTINCT FROM (w.database, w.relation, w.page, w.tuple, w.virtualxid, "
    "w.transactionid, w.classid, w.objid, w.objsubid) "
    "JOIN (VALUES ('AccessShareLock', '{AccessExclusiveLock}'::text[]), "
    "('RowShareLock', '{ExclusiveLock,AccessExclusiveLock}'), "
    "('RowExclusiveLock', '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'), "
    "('ShareUpdateExclusiveLock', '{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,"
    "ExclusiveLock,AccessExclusiveLock}'), "
    "('ShareLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareRowExclusiveLock,"
    "ExclusiveLock,AccessExclusiveLock}'), "
    "('ShareRowExclusiveLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,"
    "ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'), "
    "('ExclusiveLock', '{RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,"
    "ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'), "
    "('AccessExclusiveLock', '{AccessShareLock,RowShareLock,RowExclusiveLock,"
    "ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}')"
    ") c(mode, conflicts) ON c.mode = w.mode AND h.mode = ANY (c.conflicts) "
    "JOIN pg_catalog.pg_locks x ON x.granted AND x.pid IS NULL AND x.locktype = 'transactionid' "
    "AND x.mode = 'ExclusiveLock' AND x.virtualtransaction = h.virtualtransaction "
    "JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid";

std::uint32_t number(const std::string& text) {
  std::uint32_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

// "Session 7 waits on shard "a" for session 8; ..." by the process ids the clients know.
std::string describe(const Deadlock& deadlock, const DatabaseConfig& config) {
  std::string out;
  for (std::size_t i = 0; i < deadlock.size(); ++i) {
    const WaitingSession& each = deadlock[i];
    const WaitingSession& next = deadlock[(i + 1) % deadlock.size()];
    out.append(i == 0 ? "Session " : "; session ").append(std::to_string(each.session.name));
    out.append(" waits on shard \"").append(config.shards[each.waits.front().shard].name);
    out.append("\" for session ").append(std::to_string(next.session.name));
  }
  return out.append(".");
}

}  // namespace

DeadlockDetector::DeadlockDetector(Hooks hooks)
    : hooks_(std::move(hooks)), thread_([this] { run(); }) {}

DeadlockDetector::~DeadlockDetector() { stop(); }

void DeadlockDetector::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void DeadlockDetector::suspect(const std::string& database) {
  {
    const std::lock_guard lock(mutex_);
    if (!suspects_.insert(database).second) return;
  }
  wake_.notify_all();
}

void DeadlockDetector::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const bool called =
        wake_.wait_for(lock, kKeepConnections, [this] { return stopping_ || !suspects_.empty(); });
    if (stopping_) break;
    if (!called) {
      connections_.clear();
      wake_.wait(lock, [this] { return stopping_ || !suspects_.empty(); });
      if (stopping_) break;
    }
    const std::set<std::string> suspects = std::exchange(suspects_, {});
    lock.unlock();
    for (const std::string& database : suspects) {
      if (!stopping_) look_at(database);
    }
    const auto pause = std::max<std::chrono::duration<double>>(
        hooks_.snapshot()->config->deadlock_timeout, kShortestPause);
    lock.lock();
    wake_.wait_for(lock, pause, [this] { return stopping_.load(); });
  }
}

void DeadlockDetector::look_at(const std::string& name) {
  const std::shared_ptr<const Snapshot> snapshot = hooks_.snapshot();
  const std::shared_ptr<const Database> database = snapshot->find(name);
  if (!database) return;
  if (std::exchange(version_, snapshot->version) != snapshot->version) connections_.clear();

  const auto sessions = sessions_of(name);
  if (!sessions) return;
  const std::vector<LockWait> waits = waits_of(*snapshot, *database, *sessions);
  const auto deadlock = find_deadlock(*sessions, waits);
  const std::vector<std::size_t> held_up = find_held_up(*sessions, waits);
  if (!deadlock && held_up.empty()) return;

  const auto sessions_again = sessions_of(name);
  if (!sessions_again) return;
  const std::vector<LockWait> waits_again = waits_of(*snapshot, *database, *sessions_again);
  if (!deadlock) {
    std::vector<SessionLocks> queued;
    for (const std::size_t i : find_held_up(*sessions_again, waits_again)) {
      const SessionLocks& now = (*sessions_again)[i];
      const bool still = std::any_of(held_up.begin(), held_up.end(), [&](std::size_t before) {
        return is_same_moment((*sessions)[before], now);
      });
      if (still) queued.push_back(now);
    }
    return serve_oldest(queued, *database);
  }
  if (!is_confirmed(*deadlock, *sessions_again, waits_again)) return;

  const SessionLocks& victim = (*deadlock)[victim_of(*deadlock)].session;
  const std::string detail = describe(*deadlock, database->config);
  log_event(LogLevel::kWarning, "deadlock", {.database = name},
            "session " + std::to_string(victim.name) + " gives way: " + detail);
  hooks_.end_wait(victim, detail);
}

// One is enough, for a while: what it gives back may be what others wait for.
void DeadlockDetector::serve_oldest(const std::vector<SessionLocks>& queued,
                                    const Database& database) {
  const auto oldest = std::min_element(
      queued.begin(), queued.end(),
      [](const SessionLocks& a, const SessionLocks& b) { return a.since < b.since; });
  if (oldest == queued.end()) return;
  log_event(LogLevel::kInfo, "server_beyond_pool_size",
            {.database = database.config.name,
             .shard = database.config.shards[oldest->queued->shard].name},
            "for session " + std::to_string(oldest->name) +
                ": those who hold the pool's servers wait for it");
  hooks_.serve(*oldest);
}

// Nothing: a worker has not answered in time.
std::optional<std::vector<SessionLocks>> DeadlockDetector::sessions_of(
    const std::string& database) {
  // Outlives this call where an answer comes late.
  struct Survey {
    std::mutex mutex;
    std::condition_variable answered;
    std::size_t answers = 0;
    std::vector<SessionLocks> sessions;
  };
  const auto survey = std::make_shared<Survey>();
  const std::size_t asked = hooks_.survey(database, [survey](std::vector<SessionLocks> sessions) {
    const std::lock_guard lock(survey->mutex);
    std::move(sessions.begin(), sessions.end(), std::back_inserter(survey->sessions));
    ++survey->answers;
    survey->answered.notify_one();
  });
  std::unique_lock lock(survey->mutex);
  const bool all =
      survey->answered.wait_for(lock, kSurveyPatience, [&] { return survey->answers == asked; });
  if (!all) return std::nullopt;
  return std::move(survey->sessions);
}

// On the shards where sessions have requests under way, but for those that do not answer: a circle
// over others can be seen without them.
std::vector<LockWait> DeadlockDetector::waits_of(const Snapshot& snapshot, const Database& database,
                                                 const std::vector<SessionLocks>& sessions) {
  std::set<std::size_t> shards;
  for (const SessionLocks& session : sessions) {
    for (const SessionServer& server : session.servers) {
      if (server.busy && server.shard < database.config.shards.size()) shards.insert(server.shard);
    }
  }
  std::vector<LockWait> out;
  for (const std::size_t shard : shards) {
    ControlConnection* connection = connection_to(snapshot, database, shard);
    if (connection == nullptr) continue;
    const auto rows = connection->query(kWaits);
    if (!rows) {
      log_event(LogLevel::kWarning, "deadlock_check_failed",
                {.database = database.config.name, .shard = database.config.shards[shard].name},
                rows.error().message);
      connections_.erase({database.config.name, database.config.shards[shard].name});
      continue;
    }
    for (const ControlConnection::Row& row : *rows) {
      out.push_back({shard, number(row[0]), row[1], number(row[2]), row[3]});
    }
  }
  return out;
}

ControlConnection* DeadlockDetector::connection_to(const Snapshot& snapshot,
                                                   const Database& database, std::size_t shard) {
  const ShardConfig& config = database.config.shards[shard];
  const std::pair<std::string, std::string> key{database.config.name, config.name};
  if (const auto known = connections_.find(key); known != connections_.end()) {
    if (!known->second.broken()) return &known->second;
    connections_.erase(known);
  }
  const auto fail = [&](const std::string& why) {
    log_event(LogLevel::kWarning, "deadlock_check_failed",
              {.database = database.config.name, .shard = config.name}, why);
    return nullptr;
  };
  const auto user = control_user(*snapshot.config, database.config);
  if (!user) return fail("no user with a known password to look for deadlocks with");
  auto opened = ControlConnection::open(*snapshot.config, database.config, config, *user,
                                        "pgshunt deadlock detector", kPatience, stopping_);
  if (!opened) return fail(opened.error().message);
  return &connections_.emplace(key, std::move(*opened)).first->second;
}

}  // namespace pgshunt
