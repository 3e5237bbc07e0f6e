// The reactor: one level-triggered epoll set, one timer heap and one mailbox a worker thread.
//
// Level-triggered on purpose: a handler reads once into a generous buffer and returns; if more is
// there the next turn says so. That costs exactly one recv a wake-up, where an edge-triggered
// reactor needs a second one that only finds EAGAIN.
//
// Everything but post() and stop() is called on the loop's own thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "proxy/net/buffer_pool.h"

namespace pgshunt {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// Readiness wanted or seen.
enum IoEvents : std::uint32_t { kIoNone = 0, kIoRead = 1, kIoWrite = 4 };

// Whoever owns a file descriptor in the loop. on_io() may destroy the handler itself, or any other
// handler: events already fetched for a removed descriptor are dropped.
class IoHandler {
 public:
  // `events`: kIoRead and/or kIoWrite. Errors and hang-ups are reported as both, so that the
  // handler's next recv or send meets them.
  virtual void on_io(std::uint32_t events) = 0;

 protected:
  ~IoHandler() = default;
};

class EventLoop;

// A one-shot timer, owned by whoever waits. Destroying or re-arming it cancels the earlier arming;
// moving a deadline later is O(1) (the old entry is re-queued lazily when it surfaces). The
// callback may re-arm, cancel or destroy this or any other timer. Fires up to 1 ms late, never
// early.
class Timer {
 public:
  Timer(EventLoop& loop, std::function<void()> on_fire);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(TimePoint deadline);           // one in the past fires in the next turn
  void arm_after(Clock::duration delay);  // counted from the loop's now()
  void cancel();
  bool armed() const { return deadline_ != TimePoint::max(); }

 private:
  friend class EventLoop;
  EventLoop& loop_;
  std::function<void()> on_fire_;
  TimePoint deadline_ = TimePoint::max();  // max: not armed
  TimePoint queued_ = TimePoint::max();    // key of this timer's live heap entry, max: none
  std::uint32_t slot_ = 0;                 // index in the loop's timer table
};

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Serves until stop(). Each turn: wait, due timers, ready descriptors, posted work, deferred
  // work.
  void run();
  // One turn with at most `max_wait` of waiting; for tests and for draining.
  void run_once(Clock::duration max_wait);
  // Any thread. A stop() before run() makes that run() return at once.
  void stop();

  // Any thread: runs `work` on the loop's thread, in order of posting. Work still posted when the
  // loop is destroyed is dropped unrun.
  void post(std::function<void()> work);
  // Loop thread: runs `work` at the end of this turn, after all ready descriptors were served and
  // after all that was deferred before it. Work deferred by deferred work runs in the same turn,
  // but what goes on deferring itself leaves the rest to the next turns, which do not wait.
  void defer(std::function<void()> work);

  // A descriptor is watched for exactly the wanted events until remove(); with kIoNone nothing is
  // reported, not even a hang-up. The handler must outlive its registration. `token` identifies the
  // registration in modify() and remove().
  using Token = std::uint32_t;
  Token add(int fd, IoHandler& handler, std::uint32_t wanted);
  void modify(Token token, std::uint32_t wanted);  // no system call when nothing changes
  void remove(Token token);                        // before the descriptor is closed
  void remove_and_close(Token token);              // both, in one system call

  // The time this turn began: good enough for deadlines and statistics, free to read.
  TimePoint now() const { return now_; }
  // Counts the turns.
  std::uint64_t turn() const { return turn_; }
  // Output buffers shared by this loop's connections.
  BufferPool& buffers() { return buffers_; }

 private:
  friend class Timer;
  struct Registration {
    int fd = -1;  // -1: free
    IoHandler* handler = nullptr;
    std::uint32_t wanted = 0;
    // Counts the owners of this slot. An event carries the generation it was asked for, so one that
    // was fetched before its registration was removed is recognised, even if the slot was reused.
    std::uint32_t generation = 0;
  };
  struct TimerEntry {
    TimePoint at;
    std::uint32_t slot;
  };

  void control(int operation, Token token, std::uint32_t wanted);
  void release(Token token);
  void queue_timer(TimePoint at, std::uint32_t slot);
  void orphan_timer_entry();
  void fire_due_timers();
  void fire(const TimerEntry& entry);
  void wake();
  void run_posted();
  void run_deferred();
  int wait_milliseconds(Clock::duration max_wait) const;

  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  std::atomic<bool> stopping_{false};
  TimePoint now_ = Clock::now();
  std::uint64_t turn_ = 0;
  BufferPool buffers_;

  std::vector<Registration> registrations_;
  std::vector<std::uint32_t> free_registrations_;

  // An entry is live when it carries its timer's `queued_`; others are skipped as they surface, and
  // swept out when they are the majority.
  std::vector<TimerEntry> heap_;  // min-heap by `at`
  std::size_t orphans_ = 0;       // entries in heap_ that are not live
  std::vector<TimerEntry> due_;   // taken from heap_ this turn
  std::vector<Timer*> timers_;    // slot -> timer, null when the timer is gone
  std::vector<std::uint32_t> free_timers_;
  Timer* firing_ = nullptr;  // null again when its callback destroyed it

  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> posted_any_{false};  // set: the loop has been woken for posted_
  std::vector<std::function<void()>> running_posted_;
  std::vector<std::function<void()>> deferred_;
  std::vector<std::function<void()>> running_deferred_;
};

}  // namespace pgshunt
