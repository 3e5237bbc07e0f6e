#include "proxy/net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace pgshunt {
namespace {

static_assert(std::uint32_t{kIoRead} == std::uint32_t{EPOLLIN} &&
                  std::uint32_t{kIoWrite} == std::uint32_t{EPOLLOUT},
              "IoEvents are passed to epoll as they are");

// Events fetched by one epoll_wait. More ready descriptors than this are served next turn, in turn:
// the kernel rotates its ready list.
constexpr int kMaxEvents = 256;

// How deep deferred work may defer within one turn: ending a session takes three, and another
// epoll_wait would cost more than they do.
constexpr int kDeferredRounds = 4;

// epoll_data of the mailbox's eventfd; no registration has it.
constexpr std::uint64_t kWakeData = ~std::uint64_t{0};

// Below this many orphaned heap entries sweeping is not worth a pass over the heap.
constexpr std::size_t kMinOrphansToSweep = 64;

// A process whose kernel refuses it an epoll set or a watch cannot serve anybody.
[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "pgshunt: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

// For std::push_heap and friends, which keep the largest in front.
constexpr auto later = [](const auto& a, const auto& b) { return a.at > b.at; };

}  // namespace

EventLoop::EventLoop() {
  epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) die("epoll_create1");
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) die("eventfd");
  // Edge-triggered: every write is a new edge, so the counter never has to be read back.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeData;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) < 0) die("epoll_ctl");
}

EventLoop::~EventLoop() {
  // What is left undone may own streams and timers of this loop: let go of it while the loop can
  // still take their removal.
  posted_.clear();
  deferred_.clear();
  ::close(wake_fd_);
  ::close(epoll_fd_);
}

void EventLoop::run() {
  while (!stopping_.exchange(false, std::memory_order_acquire)) run_once(Clock::duration::max());
}

void EventLoop::run_once(Clock::duration max_wait) {
  epoll_event events[kMaxEvents];
  const int count = ::epoll_wait(epoll_fd_, events, kMaxEvents, wait_milliseconds(max_wait));
  if (count < 0 && errno != EINTR) die("epoll_wait");
  now_ = Clock::now();
  ++turn_;

  fire_due_timers();
  for (int i = 0; i < count; ++i) {
    const std::uint64_t data = events[i].data.u64;
    if (data == kWakeData) continue;  // posted_any_ and stopping_ say what it was about
    const Registration& registration = registrations_[static_cast<std::uint32_t>(data)];
    if (registration.generation != static_cast<std::uint32_t>(data >> 32)) continue;
    // An earlier handler of this turn may have withdrawn this one's interest.
    std::uint32_t ready = events[i].events & registration.wanted;
    if (events[i].events & (EPOLLERR | EPOLLHUP) && registration.wanted != kIoNone) {
      ready = kIoRead | kIoWrite;
    }
    if (ready != kIoNone) registration.handler->on_io(ready);
  }
  run_posted();
  run_deferred();
}

int EventLoop::wait_milliseconds(Clock::duration max_wait) const {
  if (!deferred_.empty() || max_wait <= Clock::duration::zero()) return 0;
  Clock::duration wait = max_wait;
  if (!heap_.empty()) {
    // now_ is older than this moment by the length of the last turn, so it is asked anew.
    wait = std::min(wait, heap_.front().at - Clock::now());
    if (wait <= Clock::duration::zero()) return 0;
  }
  constexpr auto kLongest = std::chrono::hours(24);
  if (wait > kLongest) return heap_.empty() && max_wait == Clock::duration::max() ? -1 : 86'400'000;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count());
}

void EventLoop::stop() {
  stopping_.store(true, std::memory_order_release);
  wake();
}

// --- descriptors ---

void EventLoop::control(int operation, Token token, std::uint32_t wanted) {
  const Registration& registration = registrations_[token];
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = std::uint64_t{registration.generation} << 32 | token;
  if (::epoll_ctl(epoll_fd_, operation, registration.fd, &event) < 0) die("epoll_ctl");
}

EventLoop::Token EventLoop::add(int fd, IoHandler& handler, std::uint32_t wanted) {
  assert(fd >= 0);
  Token token;
  if (free_registrations_.empty()) {
    token = static_cast<Token>(registrations_.size());
    registrations_.emplace_back();
  } else {
    token = free_registrations_.back();
    free_registrations_.pop_back();
  }
  Registration& registration = registrations_[token];
  registration.fd = fd;
  registration.handler = &handler;
  registration.wanted = wanted;
  if (wanted != kIoNone) control(EPOLL_CTL_ADD, token, wanted);
  return token;
}

void EventLoop::modify(Token token, std::uint32_t wanted) {
  Registration& registration = registrations_[token];
  assert(registration.fd >= 0);
  if (registration.wanted == wanted) return;
  // epoll reports hang-ups even to those who want nothing, again and again: a descriptor nobody
  // wants to hear of leaves the set.
  const int operation = wanted == kIoNone                ? EPOLL_CTL_DEL
                        : registration.wanted == kIoNone ? EPOLL_CTL_ADD
                                                         : EPOLL_CTL_MOD;
  registration.wanted = wanted;
  control(operation, token, wanted);
}

void EventLoop::remove(Token token) {
  assert(registrations_[token].fd >= 0);
  if (registrations_[token].wanted != kIoNone) control(EPOLL_CTL_DEL, token, kIoNone);
  release(token);
}

void EventLoop::remove_and_close(Token token) {
  assert(registrations_[token].fd >= 0);
  ::close(registrations_[token].fd);
  release(token);
}

void EventLoop::release(Token token) {
  Registration& registration = registrations_[token];
  registration.fd = -1;
  registration.handler = nullptr;
  registration.wanted = kIoNone;
  ++registration.generation;
  free_registrations_.push_back(token);
}

// --- timers ---

Timer::Timer(EventLoop& loop, std::function<void()> on_fire)
    : loop_(loop), on_fire_(std::move(on_fire)) {
  if (loop_.free_timers_.empty()) {
    slot_ = static_cast<std::uint32_t>(loop_.timers_.size());
    loop_.timers_.push_back(this);
  } else {
    slot_ = loop_.free_timers_.back();
    loop_.free_timers_.pop_back();
    loop_.timers_[slot_] = this;
  }
}

Timer::~Timer() {
  if (loop_.firing_ == this) loop_.firing_ = nullptr;
  loop_.timers_[slot_] = nullptr;
  loop_.free_timers_.push_back(slot_);
  if (queued_ != TimePoint::max()) loop_.orphan_timer_entry();
}

void Timer::arm(TimePoint deadline) {
  deadline_ = deadline;
  // An entry that surfaces too early is moved to the deadline then; a cancelled one is found
  // cancelled. Only an earlier deadline needs an entry of its own.
  if (queued_ <= deadline) return;
  const bool had_entry = queued_ != TimePoint::max();
  queued_ = deadline;
  loop_.queue_timer(deadline, slot_);
  if (had_entry) loop_.orphan_timer_entry();
}

void Timer::arm_after(Clock::duration delay) { arm(loop_.now() + delay); }

void Timer::cancel() { deadline_ = TimePoint::max(); }

void EventLoop::queue_timer(TimePoint at, std::uint32_t slot) {
  heap_.push_back({at, slot});
  std::push_heap(heap_.begin(), heap_.end(), later);
}

// An entry lost its timer or was superseded. Short-lived timers with long deadlines leave many of
// these, so the heap is swept when they outnumber the live ones.
void EventLoop::orphan_timer_entry() {
  ++orphans_;
  if (orphans_ < kMinOrphansToSweep || orphans_ * 2 < heap_.size()) return;
  std::erase_if(heap_, [this](const TimerEntry& entry) {
    const Timer* timer = timers_[entry.slot];
    return timer == nullptr || timer->queued_ != entry.at;
  });
  std::make_heap(heap_.begin(), heap_.end(), later);
  orphans_ = 0;
}

void EventLoop::fire_due_timers() {
  // Taken out before any callback runs, so that a callback arming a timer in the past cannot keep
  // this turn from ending.
  while (!heap_.empty() && heap_.front().at <= now_) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    due_.push_back(heap_.back());
    heap_.pop_back();
  }
  for (const TimerEntry& entry : due_) fire(entry);
  due_.clear();
}

void EventLoop::fire(const TimerEntry& entry) {
  Timer* timer = timers_[entry.slot];
  if (timer == nullptr || timer->queued_ != entry.at) {
    if (orphans_ > 0) --orphans_;
    return;
  }
  timer->queued_ = TimePoint::max();
  if (timer->deadline_ > now_) {
    if (timer->armed()) {
      timer->queued_ = timer->deadline_;
      queue_timer(timer->deadline_, entry.slot);
    }
    return;
  }
  timer->deadline_ = TimePoint::max();
  // The callback may destroy its timer: it runs from here, and moves back only if the timer lives.
  firing_ = timer;
  std::function<void()> on_fire = std::move(timer->on_fire_);
  on_fire();
  if (firing_ != nullptr) timer->on_fire_ = std::move(on_fire);
  firing_ = nullptr;
}

// --- posted and deferred work ---

void EventLoop::post(std::function<void()> work) {
  {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(work));
  }
  if (!posted_any_.exchange(true, std::memory_order_acq_rel)) wake();
}

void EventLoop::wake() {
  const std::uint64_t one = 1;
  // Fails only when the counter is at its end, 2^64 posts from now.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void EventLoop::run_posted() {
  if (!posted_any_.load(std::memory_order_relaxed)) return;
  // Cleared before the work is taken: a post from now on wakes the loop again.
  posted_any_.exchange(false, std::memory_order_acq_rel);
  {
    const std::lock_guard lock(posted_mutex_);
    running_posted_.swap(posted_);
  }
  for (std::function<void()>& work : running_posted_) work();
  running_posted_.clear();
}

void EventLoop::defer(std::function<void()> work) { deferred_.push_back(std::move(work)); }

void EventLoop::run_deferred() {
  for (int round = 0; round < kDeferredRounds && !deferred_.empty(); ++round) {
    running_deferred_.swap(deferred_);
    for (std::function<void()>& work : running_deferred_) work();
    running_deferred_.clear();
  }
}

}  // namespace pgshunt
