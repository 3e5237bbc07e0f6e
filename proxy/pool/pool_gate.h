// What the workers' pools of one (database, user, shard) share: how many server connections may be
// open, and who waits for one, first come first served. Any thread.
//
// A worker serves itself from its own idle servers without coming here, as long as nobody waits:
// waiting() is one relaxed load. Only opening, closing and queueing take the lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace pgshunt {

// An upper bound on server connections shared by several pools: max_db_connections,
// max_user_connections. A limit of 0 does not bound.
class ConnectionBudget {
 public:
  explicit ConnectionBudget(std::uint32_t limit) : limit_(limit) {}
  bool try_take();
  void put_back();
  void set_limit(std::uint32_t limit) { limit_ = limit; }
  std::uint32_t open() const { return open_; }
  // Somebody went without: pools with idle servers nobody waits for should close one.
  bool pressed() const { return pressed_; }
  void relieve() { pressed_ = false; }

 private:
  std::atomic<std::uint32_t> limit_;
  std::atomic<std::uint32_t> open_{0};
  std::atomic<bool> pressed_{false};
};

class PoolGate {
 public:
  struct Limits {
    std::uint32_t size = 20;
    std::uint32_t min_size = 0;
    std::uint32_t reserve = 0;
    std::chrono::duration<double> reserve_after{5};
  };

  PoolGate(Limits limits, std::size_t workers, std::shared_ptr<ConnectionBudget> database,
           std::shared_ptr<ConnectionBudget> user);

  void set_limits(Limits limits);
  Limits limits() const;

  // May the caller open one more server connection? If so it is counted until closed().
  // `waited`: how long the oldest waiter has waited; the reserve opens after Limits::reserve_after.
  bool try_open(std::chrono::duration<double> waited);
  // As try_open, but only up to the minimum.
  bool try_open_minimum();
  void closed();
  // One connection beyond the limits of this pool (not those of its database and user), for the
  // proxy's own use; false if there is no room for it. end_extra() and closed() end it.
  bool open_extra();
  void end_extra();
  std::uint32_t open() const;

  // The queue holds one entry a waiting session, naming its worker; within a worker, order is the
  // worker's own.
  void enqueue(std::uint16_t worker);
  // A waiter of `worker` gave up: one of its entries goes.
  void withdraw(std::uint16_t worker);
  // Whose turn it is; false if nobody waits.
  bool dequeue(std::uint16_t& worker);
  std::uint32_t waiting() const { return waiting_.load(std::memory_order_seq_cst); }

  // Idle servers a worker has, so that others know whom to ask.
  void set_idle(std::uint16_t worker, std::uint32_t count) {
    idle_[worker].store(count, std::memory_order_seq_cst);
  }
  // A worker other than `asking` with idle servers; false if there is none.
  bool find_idle(std::uint16_t asking, std::uint16_t& worker) const;

  // Sessions that keep a server between transactions, or are about to. try_pin() keeps to `limit`
  // (0: none); pin() is for those that were not seen coming.
  bool try_pin(std::uint32_t limit);
  void pin() { ++pinned_; }
  void unpin() { --pinned_; }

  // PAUSE: no server is lent while set.
  std::atomic<bool> paused{false};
  ConnectionBudget& database_budget() { return *database_; }
  ConnectionBudget& user_budget() { return *user_; }

 private:
  bool take_budgets();

  mutable std::mutex mutex_;
  Limits limits_;
  std::uint32_t open_ = 0;
  std::uint32_t extra_ = 0;           // of those, beyond the limits
  std::vector<std::uint16_t> queue_;  // ring: head_, count waiting_
  std::size_t head_ = 0;
  std::atomic<std::uint32_t> waiting_{0};
  std::vector<std::atomic<std::uint32_t>> idle_;
  std::atomic<std::uint32_t> pinned_{0};
  std::shared_ptr<ConnectionBudget> database_;
  std::shared_ptr<ConnectionBudget> user_;
};

}  // namespace pgshunt
