// What the workers' pools of one (database, user, shard) share: how many server connections may be
// open, and who waits for one. Any thread.
//
// First come first served, but for those who hold servers of other pools while they wait: they are
// served first, the more they hold, and a pool may open that many more for them. So sessions that
// need servers of several pools never wait for each other without end (see Urgency).
//
// A worker serves itself from its own idle servers without coming here, as long as nobody waits:
// waiting() is one relaxed load. Only opening, closing and queueing take the lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
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
  bool has_room() const { return limit_ == 0 || open_ < limit_; }
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

// How many servers a waiter holds meanwhile that others may be waiting for. 0: none, or all of them
// of earlier shards and all taken in the order of shards, which no circle can be made of.
//
// Why nobody waits without end: of those who would, let one with the greatest urgency m wait for a
// server of some pool. As it could not open one, more than size + m - 1 are open there. Who holds
// them took them with an urgency below m, as each holds one more now, when at most size + m - 1
// were open; so one is held by somebody who does not wait. And who waits for the last shard that
// any of them waits for does so for somebody who holds it and wants an earlier one: m is not 0.
// Who does not wait for a server may wait for a lock of one who does: proxy/deadlock/ sees that,
// and makes that one as urgent as it takes.
using Urgency = std::uint32_t;

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

  // May one more server connection be opened for a waiter? If so it is counted until closed().
  // `waited`: for how long it has; the reserve opens after Limits::reserve_after.
  bool try_open(std::chrono::duration<double> waited, Urgency urgency);
  // With which urgency it may.
  Urgency enough_to_open() const;
  // More are open than whoever is first in line may have: one that becomes idle is to be closed.
  bool surplus() const;
  // As try_open, but only up to the minimum, and nobody is pressed to make room for it.
  bool try_open_minimum();
  void closed();
  // One connection beyond the limits of this pool (not those of its database and user), for the
  // proxy's own use; false if there is no room for it. end_extra() and closed() end it.
  bool open_extra();
  void end_extra();
  std::uint32_t open() const;

  // The queue holds one entry a waiting session, naming its worker; which session of the worker is
  // meant is its own affair: the first of the most urgent.
  struct Turn {
    std::uint16_t worker = 0;
    Urgency urgency = 0;
    friend bool operator==(const Turn&, const Turn&) = default;
  };
  void enqueue(Turn turn);
  // A waiter gave up: one such entry goes.
  void withdraw(Turn turn);
  // Whose turn it is to be given an idle server; false if nobody waits, or if that one may not have
  // it because of surplus().
  bool dequeue(Turn& turn);
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
  bool too_many_open() const;
  void count_waiting() { waiting_.store(static_cast<std::uint32_t>(queue_.size())); }
  void compare_with_limits() { beyond_limits_ = open_ > extra_ + limits_.size + limits_.reserve; }

  mutable std::mutex mutex_;
  Limits limits_;
  std::uint32_t open_ = 0;
  std::uint32_t extra_ = 0;  // of those, beyond the limits
  std::deque<Turn> queue_;
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<bool> beyond_limits_{false};
  std::vector<std::atomic<std::uint32_t>> idle_;
  std::atomic<std::uint32_t> pinned_{0};
  std::shared_ptr<ConnectionBudget> database_;
  std::shared_ptr<ConnectionBudget> user_;
};

}  // namespace pgshunt
