#include "proxy/pool/routine_watch.h"

#include <map>
#include <vector>

#include "protocol/backend.h"
#include "proxy/log/log.h"
#include "proxy/pool/pool.h"

namespace pgshunt {
namespace {

// Routines may be changed past the proxy. A reading that finds nothing new costs the server about a
// millisecond, and only servers in use are asked.
constexpr Clock::duration kPeriod = std::chrono::seconds(10);

// Versions of all watches: a statement that has been looked at under one of them is not taken for
// one that has been under another's.
std::atomic<std::uint32_t> last_version{0};

}  // namespace

std::shared_ptr<RoutineWatch> RoutineWatch::of(const PoolSpec& spec) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<RoutineWatch>> watches;
  const std::string key =
      spec.host.host + ":" + std::to_string(spec.host.port) + "/" + spec.server_database;
  const std::lock_guard lock(mutex);
  std::weak_ptr<RoutineWatch>& known = watches[key];
  std::shared_ptr<RoutineWatch> watch = known.lock();
  if (!watch) {
    watch = std::make_shared<RoutineWatch>();
    watch->version_ = ++last_version;
    known = watch;
    std::erase_if(watches, [](const auto& each) { return each.second.expired(); });
  }
  return watch;
}

std::shared_ptr<const RoutineEffects> RoutineWatch::effects() const {
  const std::lock_guard lock(mutex_);
  return effects_;
}

// Under the lock.
void RoutineWatch::put(std::shared_ptr<const RoutineEffects> effects) {
  effects_ = std::move(effects);
  version_.store(++last_version, std::memory_order_release);
}

void RoutineWatch::changed() {
  const std::lock_guard lock(mutex_);
  ++changes_;
  due_at_ = 0;
  put(RoutineEffects::unknown());
}

std::unique_ptr<RoutineReading> RoutineReading::begin(const std::shared_ptr<RoutineWatch>& watch,
                                                      TimePoint now) {
  const std::lock_guard lock(watch->mutex_);
  if (!watch->due(now)) return nullptr;
  watch->due_at_ = (now + kPeriod).time_since_epoch().count();
  auto reading = std::make_unique<RoutineReading>();
  reading->watch_ = watch;
  reading->changes_ = watch->changes_;
  const bool known = watch->effects_ != RoutineEffects::unknown();
  reading->query_ = routines_query(known ? watch->fingerprint_ : std::string());
  return reading;
}

void RoutineReading::add_row(std::string_view data_row) {
  const auto row = decode_data_row(data_row);
  if (!row) return;
  std::vector<std::string_view> values;
  for (const WireValue& value : *row) values.push_back(value.bytes);
  reader_.add_row(values);
}

void RoutineReading::fail(std::string_view why) {
  failed_ = true;
  log_event(LogLevel::kWarning, "routines_not_read", {}, why);
}

RoutineReading::~RoutineReading() {
  if (watch_ && !finished_) watch_->due_at_ = 0;
}

void RoutineReading::finish() {
  finished_ = true;
  const std::string fingerprint = failed_ ? std::string() : reader_.fingerprint();
  const std::shared_ptr<const RoutineEffects> effects = reader_.finish();
  const std::lock_guard lock(watch_->mutex_);
  if (changes_ != watch_->changes_) return;  // overtaken: it is due again
  const bool known = watch_->effects_ != RoutineEffects::unknown();
  if (known && (failed_ || fingerprint == watch_->fingerprint_)) return;
  watch_->fingerprint_ = fingerprint;
  watch_->put(effects);
}

}  // namespace pgshunt
