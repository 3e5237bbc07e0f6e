#include "proxy/two_phase/two_phase.h"

#include <algorithm>
#include <utility>

#include "proxy/control_connection.h"
#include "proxy/log/log.h"
#include "proxy/two_phase/gid.h"
#include "proxy/two_phase/schema.h"

namespace pgshunt {
namespace {

using std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::milliseconds(3000);   // of one connection or query
constexpr auto kWaitForShard = std::chrono::seconds(10);      // of a client, for a lost shard
constexpr auto kRetryAfter = std::chrono::milliseconds(100);  // of a job that has time left
constexpr auto kRememberUnfit = std::chrono::seconds(1);
constexpr auto kHurriedRound = std::chrono::milliseconds(500);  // while gids are abandoned
constexpr auto kCleanUpEvery = std::chrono::seconds(30);

bool needs_recovery(const Database& database) {
  return database.topology != nullptr &&
         database.config.on_cross_shard_write == CrossShardWrite::kTwoPhase;
}

Error not_installed(const std::string& shard, const Error& error) {
  return {sqlstate::kObjectNotInPrerequisiteState,
          "the schema that transactions over several shards need cannot be installed on shard \"" +
              shard + "\": " + error.message,
          "Run what pgshunt --print-schema prints there, or set on_cross_shard_write."};
}

Status look_at_fitness(ControlConnection& connection, const std::string& shard) {
  const auto row = connection.query(kTwoPhaseFitnessQuery);
  if (!row) return row.error();
  if (row->empty()) return Error{sqlstate::kConnectionFailure, "no answer", {}};
  if (row->front()[0] == "0") {
    return Error{sqlstate::kObjectNotInPrerequisiteState,
                 "transactions cannot write on several shards: max_prepared_transactions is 0 on "
                 "shard \"" +
                     shard + "\"",
                 "Set it there to at least max_connections and restart the server, or set "
                 "on_cross_shard_write."};
  }
  if (row->front()[1] == "t") return Ok{};
  if (const auto installed = connection.query(kTwoPhaseSchema); !installed) {
    return not_installed(shard, installed.error());
  }
  log_event(LogLevel::kInfo, "schema_installed", {.shard = shard},
            "pgshunt.decision, for transactions over several shards");
  return Ok{};
}

}  // namespace

TwoPhase::TwoPhase(Snapshots snapshots)
    : snapshots_(std::move(snapshots)),
      attendant_([this] { attend(); }),
      recovery_([this] { recover(); }) {}

TwoPhase::~TwoPhase() { stop(); }

void TwoPhase::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  recovery_wake_.notify_all();
  if (attendant_.joinable()) attendant_.join();
  if (recovery_.joinable()) recovery_.join();
}

// --- what sessions wait for ----------------------------------------------------------------------

std::optional<Status> TwoPhase::fit(const Database& database, std::size_t shard,
                                    std::function<void()> told) {
  const std::string& name = database.config.shards[shard].name;
  const std::lock_guard lock(mutex_);
  const auto [found, added] = fitness_.try_emplace({database.config.name, name});
  Fitness& fitness = found->second;
  const bool stale = fitness.state == Fitness::kKnown && !fitness.result &&
                     steady_clock::now() - fitness.at > kRememberUnfit;
  if (!added && fitness.state == Fitness::kKnown && !stale) return fitness.result;
  fitness.waiting.push_back(std::move(told));
  if (!added && fitness.state == Fitness::kAsked) return std::nullopt;
  fitness.state = Fitness::kAsked;
  jobs_.push_back({.kind = Job::kFitness,
                   .database = database.config.name,
                   .shard = name,
                   .gid = {},
                   .deadline = {},
                   .told = {}});
  work_.notify_one();
  return std::nullopt;
}

void TwoPhase::forget_fitness(const std::string& database) {
  const std::lock_guard lock(mutex_);
  std::erase_if(fitness_, [&](const auto& entry) {
    return entry.first.first == database && entry.second.state == Fitness::kKnown;
  });
}

void TwoPhase::ask(const Database& database, const std::string& gid,
                   std::function<void(std::optional<bool>)> told) {
  const auto parts = parse_gid(gid);
  std::string shard;
  for (const ShardConfig& each : database.config.shards) {
    if (parts && gid_name(each.name) == parts->decider) shard = each.name;
  }
  add({.kind = Job::kAsk,
       .database = database.config.name,
       .shard = shard,
       .gid = gid,
       .deadline = steady_clock::now() + kWaitForShard,
       .told = std::move(told)});
}

void TwoPhase::finish(const Database& database, const std::string& gid, const std::string& shard,
                      std::function<void(bool)> told) {
  add({.kind = Job::kFinish,
       .database = database.config.name,
       .shard = shard,
       .gid = gid,
       .deadline = steady_clock::now() + kWaitForShard,
       .told = [told = std::move(told)](std::optional<bool> done) { told(done.value_or(false)); }});
}

void TwoPhase::add(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  work_.notify_one();
}

void TwoPhase::attend() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    std::vector<Job> jobs = std::exchange(jobs_, {});
    lock.unlock();
    attend_to(jobs);
    lock.lock();
    if (jobs.empty()) continue;
    // Those are to be tried again, unless more comes first.
    work_.wait_for(lock, kRetryAfter, [this] { return stopping_ || !jobs_.empty(); });
    std::move(jobs.begin(), jobs.end(), std::back_inserter(jobs_));
  }
}

// Leaves those that are to be tried again.
void TwoPhase::attend_to(std::vector<Job>& jobs) {
  const std::shared_ptr<const Snapshot> snapshot = snapshots_();
  std::map<std::pair<std::string, std::string>, Result<ControlConnection>> connections;
  std::vector<Job> later;
  for (Job& job : jobs) {
    if (stopping_) return;
    const std::shared_ptr<const Database> database = snapshot->find(job.database);
    const ShardConfig* shard = nullptr;
    if (database) {
      for (const ShardConfig& each : database->config.shards) {
        if (each.name == job.shard) shard = &each;
      }
    }
    const auto user = database ? control_user(*snapshot->config, database->config) : std::nullopt;
    if (!shard || !user) {
      const Error error{sqlstate::kInvalidAuthorization,
                        "no user with a known password to prepare transactions on shard \"" +
                            job.shard + "\" with",
                        "Give the database a force_user, or auth_user a password under [users]."};
      if (job.kind == Job::kFitness) {
        settle_fitness(job, error);
      } else {
        job.told(std::nullopt);
      }
      continue;
    }
    const std::pair<std::string, std::string> where{job.database, job.shard};
    auto found = connections.find(where);
    if (found == connections.end()) {
      found = connections
                  .emplace(where, ControlConnection::open(*snapshot->config, database->config,
                                                          *shard, *user, "pgshunt two-phase",
                                                          kPatience, stopping_))
                  .first;
    }
    Result<ControlConnection>& connection = found->second;
    if (job.kind == Job::kFitness) {
      settle_fitness(
          job, connection ? look_at_fitness(*connection, job.shard) : Status(connection.error()));
      continue;
    }
    std::optional<bool> answer;
    if (connection && job.kind == Job::kAsk) {
      if (const Result<bool> committed = resolve(*connection, job.gid)) answer = *committed;
    } else if (connection) {
      if (finish_prepared(*snapshot->config, database->config, *shard, *connection, job.gid, true,
                          stopping_)) {
        answer = true;
      }
    }
    if (answer || steady_clock::now() > job.deadline) {
      job.told(answer);
    } else {
      later.push_back(std::move(job));
    }
  }
  jobs = std::move(later);
}

void TwoPhase::settle_fitness(const Job& job, Status result) {
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard lock(mutex_);
    Fitness& fitness = fitness_[{job.database, job.shard}];
    fitness.state = Fitness::kKnown;
    fitness.result = std::move(result);
    fitness.at = steady_clock::now();
    waiting = std::exchange(fitness.waiting, {});
  }
  for (const auto& told : waiting) told();
}

// --- recovery ------------------------------------------------------------------------------------

void TwoPhase::begin(const std::string& gid) {
  const std::lock_guard lock(mutex_);
  live_.insert(gid);
}

void TwoPhase::end(const std::string& gid, bool in_doubt) {
  const std::lock_guard lock(mutex_);
  live_.erase(gid);
  if (!in_doubt) return;
  abandoned_.insert(gid);
  recovery_wake_.notify_one();
}

std::vector<InDoubt> TwoPhase::in_doubt() const {
  const std::lock_guard lock(mutex_);
  return in_doubt_;
}

void TwoPhase::recover() {
  steady_clock::time_point cleaned_up = steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::set<std::string> abandoned = abandoned_;
    lock.unlock();

    const std::shared_ptr<const Snapshot> snapshot = snapshots_();
    const auto interval = snapshot->config->recovery_interval;
    RecoveryRules rules;
    rules.grace = interval / 2;
    rules.is_live = [this](const std::string& gid) {
      const std::lock_guard guard(mutex_);
      return live_.contains(gid);
    };
    rules.is_abandoned = [&](const std::string& gid) { return abandoned.contains(gid); };
    const bool clean_up = steady_clock::now() - cleaned_up > kCleanUpEvery;
    if (clean_up) cleaned_up = steady_clock::now();
    std::vector<InDoubt> left;
    bool complete = true;
    for (const auto& [name, database] : snapshot->databases) {
      if (!needs_recovery(*database) || stopping_) continue;
      RecoveryRound round =
          pgshunt::recover(*snapshot->config, database->config, rules, clean_up, stopping_);
      complete &= round.complete;
      std::move(round.left.begin(), round.left.end(), std::back_inserter(left));
    }

    lock.lock();
    in_doubt_ = std::move(left);
    if (complete) {
      // What was asked of a server as its coordinator went may be prepared only now: those come
      // of age like any other.
      std::erase_if(abandoned_, [&](const std::string& gid) {
        return abandoned.contains(gid) &&
               std::none_of(in_doubt_.begin(), in_doubt_.end(),
                            [&](const InDoubt& each) { return each.gid.starts_with(gid); });
      });
    }
    // What appears just after a round is half the interval old at the next, and due at the one
    // after that at the latest.
    const auto pause = std::chrono::duration_cast<steady_clock::duration>(
        in_doubt_.empty() ? interval / 2 : interval / 4);
    const auto hurry = std::min<steady_clock::duration>(pause, kHurriedRound);
    const auto is_new = [&] {
      return stopping_ || std::any_of(abandoned_.begin(), abandoned_.end(),
                                      [&](const auto& gid) { return !abandoned.contains(gid); });
    };
    recovery_wake_.wait_for(lock, abandoned_.empty() ? pause : hurry, is_new);
  }
}

}  // namespace pgshunt
