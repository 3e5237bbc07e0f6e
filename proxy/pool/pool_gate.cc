#include "proxy/pool/pool_gate.h"

#include <algorithm>

namespace pgshunt {

bool ConnectionBudget::try_take() {
  std::uint32_t open = open_.load();
  do {
    const std::uint32_t limit = limit_.load();
    if (limit != 0 && open >= limit) {
      pressed_ = true;
      return false;
    }
  } while (!open_.compare_exchange_weak(open, open + 1));
  return true;
}

void ConnectionBudget::put_back() { --open_; }

PoolGate::PoolGate(Limits limits, std::size_t workers, std::shared_ptr<ConnectionBudget> database,
                   std::shared_ptr<ConnectionBudget> user)
    : limits_(limits), idle_(workers), database_(std::move(database)), user_(std::move(user)) {}

void PoolGate::set_limits(Limits limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
  compare_with_limits();
}

PoolGate::Limits PoolGate::limits() const {
  const std::lock_guard lock(mutex_);
  return limits_;
}

bool PoolGate::take_budgets() {
  if (!database_->try_take()) return false;
  if (user_->try_take()) return true;
  database_->put_back();
  return false;
}

bool PoolGate::try_open(std::chrono::duration<double> waited, Urgency urgency) {
  const std::lock_guard lock(mutex_);
  const bool reserve = limits_.reserve > 0 && waited >= limits_.reserve_after;
  if (open_ >= extra_ + limits_.size + (reserve ? limits_.reserve : 0) + urgency) return false;
  if (!take_budgets()) return false;
  ++open_;
  compare_with_limits();
  return true;
}

Urgency PoolGate::enough_to_open() const {
  const std::lock_guard lock(mutex_);
  const std::uint32_t limit = extra_ + limits_.size;
  return open_ < limit ? 0 : open_ - limit + 1;
}

bool PoolGate::surplus() const {
  if (!beyond_limits_.load(std::memory_order_relaxed)) return false;
  const std::lock_guard lock(mutex_);
  return too_many_open();
}

bool PoolGate::too_many_open() const {
  const Urgency first = queue_.empty() ? 0 : queue_.front().urgency;
  return open_ > extra_ + limits_.size + limits_.reserve + first;
}

bool PoolGate::try_open_minimum() {
  const std::lock_guard lock(mutex_);
  const std::uint32_t shared = open_ - extra_;
  if (shared >= limits_.min_size || shared >= limits_.size) return false;
  if (!database_->has_room() || !user_->has_room() || !take_budgets()) return false;
  ++open_;
  return true;
}

bool PoolGate::open_extra() {
  const std::lock_guard lock(mutex_);
  if (!take_budgets()) return false;
  ++open_;
  ++extra_;
  compare_with_limits();
  return true;
}

void PoolGate::end_extra() {
  const std::lock_guard lock(mutex_);
  --extra_;
  compare_with_limits();
}

void PoolGate::closed() {
  const std::lock_guard lock(mutex_);
  --open_;
  compare_with_limits();
  database_->put_back();
  user_->put_back();
}

std::uint32_t PoolGate::open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

void PoolGate::enqueue(Turn turn) {
  const std::lock_guard lock(mutex_);
  const auto behind = std::find_if(queue_.rbegin(), queue_.rend(), [&](const Turn& other) {
    return other.urgency >= turn.urgency;
  });
  queue_.insert(behind.base(), turn);
  count_waiting();
}

void PoolGate::withdraw(Turn turn) {
  const std::lock_guard lock(mutex_);
  auto last = std::find(queue_.rbegin(), queue_.rend(), turn);
  if (last == queue_.rend()) {
    // A server is on its way to it, which will be another one's.
    last = std::find_if(queue_.rbegin(), queue_.rend(),
                        [&](const Turn& other) { return other.worker == turn.worker; });
  }
  if (last != queue_.rend()) queue_.erase(std::prev(last.base()));
  count_waiting();
}

bool PoolGate::dequeue(Turn& turn) {
  const std::lock_guard lock(mutex_);
  if (queue_.empty() || too_many_open()) return false;
  turn = queue_.front();
  queue_.pop_front();
  count_waiting();
  return true;
}

bool PoolGate::try_pin(std::uint32_t limit) {
  std::uint32_t pinned = pinned_.load();
  do {
    if (limit != 0 && pinned >= limit) return false;
  } while (!pinned_.compare_exchange_weak(pinned, pinned + 1));
  return true;
}

bool PoolGate::find_idle(std::uint16_t asking, std::uint16_t& worker) const {
  for (std::size_t i = 0; i < idle_.size(); ++i) {
    if (i == asking || idle_[i].load(std::memory_order_seq_cst) == 0) continue;
    worker = static_cast<std::uint16_t>(i);
    return true;
  }
  return false;
}

}  // namespace pgshunt
