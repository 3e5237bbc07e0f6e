#include "proxy/pool/pool_gate.h"

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
    : limits_(limits),
      queue_(64),
      idle_(workers),
      database_(std::move(database)),
      user_(std::move(user)) {}

void PoolGate::set_limits(Limits limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
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

bool PoolGate::try_open(std::chrono::duration<double> waited) {
  const std::lock_guard lock(mutex_);
  const bool reserve = limits_.reserve > 0 && waited >= limits_.reserve_after;
  if (open_ >= extra_ + limits_.size + (reserve ? limits_.reserve : 0)) return false;
  if (!take_budgets()) return false;
  ++open_;
  return true;
}

bool PoolGate::try_open_minimum() {
  const std::lock_guard lock(mutex_);
  const std::uint32_t shared = open_ - extra_;
  if (shared >= limits_.min_size || shared >= limits_.size || !take_budgets()) return false;
  ++open_;
  return true;
}

bool PoolGate::open_extra() {
  const std::lock_guard lock(mutex_);
  if (!take_budgets()) return false;
  ++open_;
  ++extra_;
  return true;
}

void PoolGate::end_extra() {
  const std::lock_guard lock(mutex_);
  --extra_;
}

void PoolGate::closed() {
  const std::lock_guard lock(mutex_);
  --open_;
  database_->put_back();
  user_->put_back();
}

std::uint32_t PoolGate::open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

void PoolGate::enqueue(std::uint16_t worker) {
  const std::lock_guard lock(mutex_);
  const std::size_t count = waiting_.load(std::memory_order_relaxed);
  if (count == queue_.size()) {
    std::vector<std::uint16_t> larger(queue_.size() * 2);
    for (std::size_t i = 0; i < count; ++i) larger[i] = queue_[(head_ + i) % queue_.size()];
    queue_.swap(larger);
    head_ = 0;
  }
  queue_[(head_ + count) % queue_.size()] = worker;
  waiting_.store(static_cast<std::uint32_t>(count + 1), std::memory_order_seq_cst);
}

void PoolGate::withdraw(std::uint16_t worker) {
  const std::lock_guard lock(mutex_);
  const std::size_t count = waiting_.load(std::memory_order_relaxed);
  for (std::size_t i = count; i-- > 0;) {
    if (queue_[(head_ + i) % queue_.size()] != worker) continue;
    for (std::size_t j = i; j + 1 < count; ++j) {
      queue_[(head_ + j) % queue_.size()] = queue_[(head_ + j + 1) % queue_.size()];
    }
    waiting_.store(static_cast<std::uint32_t>(count - 1), std::memory_order_seq_cst);
    return;
  }
}

bool PoolGate::dequeue(std::uint16_t& worker) {
  const std::lock_guard lock(mutex_);
  const std::uint32_t count = waiting_.load(std::memory_order_relaxed);
  if (count == 0) return false;
  worker = queue_[head_];
  head_ = (head_ + 1) % queue_.size();
  waiting_.store(count - 1, std::memory_order_seq_cst);
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
