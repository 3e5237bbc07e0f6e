// Who waits for whom, across shards: no server sees a circle that only closes through a client's
// session. Plain data, no sockets, no clock of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/event_loop.h"

namespace pgshunt {

// A server that a session holds.
struct SessionServer {
  std::size_t shard = 0;
  std::uint32_t pid = 0;
  bool busy = false;
  bool in_transaction = false;
  TimePoint request_at{};  // busy: identifies the request

  // Busy outside of a transaction it lets its locks go by itself; else they are held until the
  // session goes on, whatever it is that the session waits for.
  bool holds_for_session() const { return in_transaction || !busy; }
};

// Since when a session waits for a free server of a shard's pool.
struct QueuedFor {
  std::size_t shard = 0;
  TimePoint since{};
  friend bool operator==(const QueuedFor&, const QueuedFor&) = default;
};

struct SessionLocks {
  std::uint16_t worker = 0;
  std::uint64_t id = 0;
  std::uint32_t name = 0;  // the process id its client was told
  // Of its transaction; the epoch outside of one.
  std::chrono::system_clock::time_point since{};
  std::vector<SessionServer> servers;
  std::string gid;     // of the commit under way; its prepared transactions' begin with it
  std::string user{};  // whose pools its servers are of
  std::optional<QueuedFor> queued{};
};

// One line of what a shard says.
struct LockWait {
  std::size_t shard = 0;
  std::uint32_t waiter = 0;
  std::string since;          // identifies the wait
  std::uint32_t blocker = 0;  // 0: a prepared transaction,
  std::string gid;            // of this name
  friend bool operator==(const LockWait&, const LockWait&) = default;
};

// A session that waits, by way of others perhaps that are no sessions of the proxy's, for the next
// one; the last waits for the first.
struct WaitingSession {
  SessionLocks session;
  std::vector<LockWait> waits;  // the first is its own
};
using Deadlock = std::vector<WaitingSession>;

// A circle that closes over several shards; those on one are their server's to break.
std::optional<Deadlock> find_deadlock(const std::vector<SessionLocks>& sessions,
                                      const std::vector<LockWait>& waits);

// The same transaction of the same session, with the same requests under way?
bool is_same_moment(const SessionLocks& a, const SessionLocks& b);

// What shards said one after the other need never have been true together. It was if all of it is
// still so when they are asked again: the same requests in the same transactions wait the same
// waits.
bool is_confirmed(const Deadlock& deadlock, const std::vector<SessionLocks>& sessions,
                  const std::vector<LockWait>& waits);

// Sessions that wait for a server of a pool, which nobody will give back before they go on: whoever
// holds one waits for a lock that leads to them, or for a server as they do. By index.
std::vector<std::size_t> find_held_up(const std::vector<SessionLocks>& sessions,
                                      const std::vector<LockWait>& waits);

// The one to give way: the youngest transaction, but one that is committing only if all are.
std::size_t victim_of(const Deadlock& deadlock);

}  // namespace pgshunt
