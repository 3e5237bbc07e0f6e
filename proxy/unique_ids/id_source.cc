#include "proxy/unique_ids/id_source.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "proxy/log/log.h"
#include "proxy/unique_ids/schema.h"
#include "proxy/unique_ids/spread_sequences.h"

namespace pgshunt {
namespace {

using std::chrono::steady_clock;

constexpr const char* kPurpose = "pgshunt unique ids";
constexpr auto kPatience = std::chrono::milliseconds(3000);   // of one connection or query
constexpr auto kWaitForShard = std::chrono::seconds(10);      // of a client, for lost shards
constexpr auto kRetryAfter = std::chrono::milliseconds(100);  // of a job that has time left
constexpr auto kKeepOpen = std::chrono::seconds(60);          // connections that nobody needs

template <class Int>
std::optional<Int> number(std::string_view text) {
  Int out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// "{7,8}"
std::optional<IdSource::Ids> numbers_of(std::string_view array) {
  IdSource::Ids out;
  if (array.size() < 2 || array.front() != '{' || array.back() != '}') return std::nullopt;
  array = array.substr(1, array.size() - 2);
  while (true) {
    const std::size_t end = array.find(',');
    const auto value = number<std::int64_t>(array.substr(0, end));
    if (!value) return std::nullopt;
    out.push_back(*value);
    if (end == std::string_view::npos) return out;
    array.remove_prefix(end + 1);
  }
}

// Trying again can help: a server that is starting, stopping or a standby yet.
bool may_pass(const Error& error) {
  constexpr Sqlstate kSequenceEnds{"2200H"};
  return error.code != kSequenceEnds && error.code != sqlstate::kInvalidAuthorization &&
         error.code != sqlstate::kObjectNotInPrerequisiteState;
}

Error unusable(const std::string& shard, const Error& error) {
  return {sqlstate::kObjectNotInPrerequisiteState,
          "pgshunt.unique_id() is not to be had from shard \"" + shard + "\": " + error.message,
          "Run there what pgshunt --print-schema prints for it."};
}

}  // namespace

IdSource::IdSource(Snapshots snapshots)
    : snapshots_(std::move(snapshots)), thread_([this] { run(); }) {}

IdSource::~IdSource() { stop(); }

void IdSource::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void IdSource::take(const IdSupply& from, std::size_t count,
                    std::function<void(Result<Ids>)> told) {
  add({from, count, false, std::move(told), steady_clock::now() + kWaitForShard});
}

void IdSource::install(const std::string& database, bool used, std::function<void(Status)> told) {
  add({{database, {}}, 0, used, std::move(told), steady_clock::now() + kWaitForShard});
}

void IdSource::add(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void IdSource::run() {
  const auto called = [this] { return stopping_ || !jobs_.empty(); };
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!wake_.wait_for(lock, kKeepOpen, called)) {
      places_.clear();
      wake_.wait(lock, called);
    }
    std::vector<Job> jobs = std::exchange(jobs_, {});
    lock.unlock();
    std::erase_if(jobs, [this](const Job& job) { return stopping_ || serve(job); });
    lock.lock();
    if (jobs.empty()) continue;
    // Those are to be tried again, unless more comes first.
    wake_.wait_for(lock, kRetryAfter, called);
    std::move(jobs.begin(), jobs.end(), std::back_inserter(jobs_));
  }
}

// False: to be tried again.
bool IdSource::serve(const Job& job) {
  const auto settled = [&](const auto& result) {
    return result || !may_pass(result.error()) || steady_clock::now() > job.deadline;
  };
  if (const auto* told = std::get_if<std::function<void(Status)>>(&job.told)) {
    const Status installed = install_on_shards(job.from.database, job.used);
    if (!settled(installed)) return false;
    (*told)(installed);
    return true;
  }
  auto ids = take_ids(job.from, job.count);
  if (!settled(ids)) return false;
  std::get<std::function<void(Result<Ids>)>>(job.told)(std::move(ids));
  return true;
}

// In the order of the configuration, where it has them now.
Result<std::vector<ControlTarget>> IdSource::targets_of(const std::string& name) const {
  const std::shared_ptr<const Snapshot> snapshot = snapshots_();
  const auto database = snapshot->find(name);
  if (!database || database->config.shards.empty()) {
    return Error{
        sqlstate::kObjectNotInPrerequisiteState, "the database is not served any more", {}};
  }
  const auto user = control_user(*snapshot->config, database->config);
  if (!user) {
    return Error{sqlstate::kInvalidAuthorization,
                 "no user with a known password to take unique ids with",
                 "Give the database a force_user, or auth_user a password under [users]."};
  }
  std::vector<ControlTarget> targets;
  for (const ShardConfig& shard : database->config.shards) {
    targets.push_back(control_target(*snapshot->config, database->config, shard, *user));
  }
  return targets;
}

// Ids from the first shard that has some: it need not be the first one. That has a sequence's
// numbers.
Result<IdSource::Ids> IdSource::take_ids(const IdSupply& from, std::size_t count) {
  const auto targets = targets_of(from.database);
  if (!targets) return targets.error();
  std::optional<Error> error;
  for (const ControlTarget& target : *targets) {
    auto ids = take_from(from, target, count);
    if (ids) return ids;
    places_.erase(from.database);
    if (!error) error = ids.error();
    if (!from.sequence.empty()) break;
  }
  return *error;
}

Result<IdSource::Ids> IdSource::take_from(const IdSupply& from, const ControlTarget& target,
                                          std::size_t count) {
  auto place = places_.find(from.database);
  if (place == places_.end() || place->second.connection.broken() ||
      !place->second.target.same_place(target)) {
    auto opened = ControlConnection::open(target, kPurpose, kPatience, stopping_);
    if (!opened) return opened.error();
    // What is taken must outlast whatever is stored with it, on any shard: standbys that have to
    // confirm commits confirm this one too.
    if (const auto set = opened->query("SET synchronous_commit TO on"); !set) return set.error();
    place = places_.insert_or_assign(from.database, Place{target, std::move(*opened)}).first;
  }
  ControlConnection& connection = place->second.connection;
  const auto rows = from.sequence.empty()
                        ? connection.query(kTakeIds, {std::to_string(count)})
                        : connection.query(kTakeNumbers, {std::to_string(count), from.sequence});
  if (!rows) {
    if (connection.broken() || !from.sequence.empty()) return rows.error();
    return unusable(target.shard, rows.error());
  }
  auto ids = rows->size() == 1 ? numbers_of(rows->front().at(0)) : std::nullopt;
  const bool good = ids && (!from.sequence.empty() ||
                            std::all_of(ids->begin(), ids->end(), [](auto id) { return id > 0; }));
  if (good) return std::move(*ids);
  return unusable(target.shard, {sqlstate::kInternalError, "what it gives is no id", {}});
}

Status IdSource::install_on_shards(const std::string& database, bool used) {
  const auto targets = targets_of(database);
  if (!targets) return targets.error();
  std::vector<ControlConnection> connections;
  for (const ControlTarget& target : *targets) {
    auto opened = ControlConnection::open(target, kPurpose, kPatience, stopping_);
    if (!opened) {
      return Error{opened.error().code, "shard \"" + target.shard + "\": " + opened.error().message,
                   "Every shard must be there when pgshunt.unique_id() is installed."};
    }
    connections.push_back(std::move(*opened));
  }
  if (const auto locked = connections.front().query(kLockIdSlots); !locked) return locked.error();
  std::vector<std::optional<std::uint32_t>> slots;
  std::set<std::uint32_t> taken;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    const auto slot = connections[i].query(kIdSlotQuery);
    if (!slot) return slot.error();
    const auto known = slot->empty() ? std::nullopt : number<std::uint32_t>(slot->front().at(0));
    // Of two with one slot the first keeps it.
    const bool good = known && *known < kIdSlots && taken.insert(*known).second;
    slots.push_back(good ? known : std::nullopt);
  }
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (slots[i]) continue;
    while (taken.contains(next)) ++next;
    const std::string& shard = (*targets)[i].shard;
    if (next >= kIdSlots) {
      return unusable(shard, {sqlstate::kObjectNotInPrerequisiteState,
                              "there are " + std::to_string(kIdSlots) + " others already",
                              {}});
    }
    taken.insert(next);
    slots[i] = next;
    if (const auto installed = connections[i].query(unique_ids_schema(next)); !installed) {
      return connections[i].broken() ? installed.error() : unusable(shard, installed.error());
    }
    log_event(LogLevel::kInfo, "schema_installed", {.database = database, .shard = shard},
              "pgshunt.unique_id(), slot " + std::to_string(next));
  }
  std::vector<ShardSequences> shards;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    shards.push_back({(*targets)[i].shard, *slots[i], &connections[i]});
  }
  const auto current = snapshots_()->find(database);
  if (!current || !current->topology) return Ok{};
  for (const std::string& sequence : sequences_to_spread(*current->topology, used)) {
    if (const Status spread = spread_sequence(shards, sequence, used); !spread) return spread;
    log_event(LogLevel::kInfo, "sequence_spread", {.database = database}, sequence);
  }
  return Ok{};
}

}  // namespace pgshunt
