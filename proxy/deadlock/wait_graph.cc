#include "proxy/deadlock/wait_graph.h"

#include <algorithm>
#include <map>
#include <utility>

namespace pgshunt {
namespace {

using Process = std::pair<std::size_t, std::uint32_t>;  // shard and pid

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

// Nodes: sessions by index, then processes that are nobody's, or that a session waits for but does
// not hold.
class WaitGraph {
 public:
  WaitGraph(const std::vector<SessionLocks>& sessions, const std::vector<LockWait>& waits)
      : sessions_(sessions), waits_(waits), edges_(sessions.size()) {
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      for (const SessionServer& server : sessions[i].servers) {
        const Process process{server.shard, server.pid};
        if (server.holds_for_session()) {
          nodes_[process] = i;
        } else {
          const std::size_t own = node_of(process);  // makes room: edges_ moves
          edges_[i].push_back({own, kNone});
        }
      }
    }
    for (std::size_t i = 0; i < waits.size(); ++i) {
      const std::size_t to = blocker_of(waits[i]);
      if (to == kNone) continue;
      const std::size_t from = node_of({waits[i].shard, waits[i].waiter});
      edges_[from].push_back({to, i});
    }
  }

  std::optional<Deadlock> find() {
    states_.assign(edges_.size(), State::kNew);
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      if (visit(i)) return circle();
    }
    return std::nullopt;
  }

  // Who can go on, because nobody is waited for who cannot, and who else, until nobody is left.
  std::vector<std::size_t> held_up() {
    go_on_.assign(edges_.size(), false);
    for (bool more = true; more;) {
      more = false;
      for (std::size_t node = 0; node < edges_.size(); ++node) {
        if (go_on_[node] || !can_go_on(node)) continue;
        go_on_[node] = more = true;
      }
    }
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      if (sessions_[i].queued && !go_on_[i]) out.push_back(i);
    }
    return out;
  }

 private:
  struct Edge {
    std::size_t to = 0;
    std::size_t wait = kNone;  // none: a session waits for its own request
  };
  struct Step {
    std::size_t from = 0;
    std::size_t edge = 0;
  };
  enum class State : std::uint8_t { kNew, kOnPath, kDone };

  std::size_t node_of(const Process& process) {
    const auto [found, added] = nodes_.try_emplace(process, edges_.size());
    if (added) edges_.emplace_back();
    return found->second;
  }

  // Nobody: a prepared transaction that waits for nothing but its coordinator.
  std::size_t blocker_of(const LockWait& wait) {
    if (wait.blocker != 0) return node_of({wait.shard, wait.blocker});
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      if (!sessions_[i].gid.empty() && wait.gid.starts_with(sessions_[i].gid)) return i;
    }
    return kNone;
  }

  bool can_go_on(std::size_t node) const {
    const bool locked = std::any_of(edges_[node].begin(), edges_[node].end(),
                                    [this](const Edge& edge) { return !go_on_[edge.to]; });
    if (locked || node >= sessions_.size() || !sessions_[node].queued) return !locked;
    bool held = false;
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      if (!holds_what_is_queued_for(sessions_[i], sessions_[node])) continue;
      if (go_on_[i]) return true;
      held = true;
    }
    return !held;
  }

  static bool holds_what_is_queued_for(const SessionLocks& holder, const SessionLocks& queued) {
    return holder.user == queued.user && std::any_of(holder.servers.begin(), holder.servers.end(),
                                                     [&](const SessionServer& server) {
                                                       return server.shard == queued.queued->shard;
                                                     });
  }

  // Depth first, with a path of its own instead of the stack. True: path_ ends in a circle over
  // several shards, which begins at the path's `begin_`.
  bool visit(std::size_t start) {
    if (states_[start] != State::kNew) return false;
    path_.assign(1, {start, 0});
    states_[start] = State::kOnPath;
    while (!path_.empty()) {
      Step& last = path_.back();
      if (last.edge == edges_[last.from].size()) {
        states_[last.from] = State::kDone;
        path_.pop_back();
        if (!path_.empty()) ++path_.back().edge;
        continue;
      }
      const std::size_t to = edges_[last.from][last.edge].to;
      if (states_[to] == State::kOnPath && closes_over_shards(to)) return true;
      if (states_[to] == State::kNew) {
        states_[to] = State::kOnPath;
        path_.push_back({to, 0});
      } else {
        ++last.edge;
      }
    }
    return false;
  }

  bool closes_over_shards(std::size_t to) {
    const auto at = std::find_if(path_.begin(), path_.end(),
                                 [to](const Step& step) { return step.from == to; });
    begin_ = static_cast<std::size_t>(at - path_.begin());
    std::optional<std::size_t> shard;
    for (std::size_t i = begin_; i < path_.size(); ++i) {
      const std::size_t wait = edges_[path_[i].from][path_[i].edge].wait;
      if (wait == kNone) continue;
      if (shard && *shard != waits_[wait].shard) return true;
      shard = waits_[wait].shard;
    }
    return false;
  }

  Deadlock circle() const {
    std::vector<Step> steps(path_.begin() + static_cast<std::ptrdiff_t>(begin_), path_.end());
    // From one shard to another it passes through a session.
    const auto first = std::find_if(steps.begin(), steps.end(), [this](const Step& step) {
      return step.from < sessions_.size();
    });
    std::rotate(steps.begin(), first, steps.end());
    Deadlock out;
    for (const Step& step : steps) {
      if (step.from < sessions_.size()) out.push_back({sessions_[step.from], {}});
      const std::size_t wait = edges_[step.from][step.edge].wait;
      if (wait != kNone) out.back().waits.push_back(waits_[wait]);
    }
    return out;
  }

  const std::vector<SessionLocks>& sessions_;
  const std::vector<LockWait>& waits_;
  std::vector<std::vector<Edge>> edges_;  // by node
  std::map<Process, std::size_t> nodes_;
  std::vector<State> states_;
  std::vector<Step> path_;
  std::vector<bool> go_on_;  // by node
  std::size_t begin_ = 0;
};

bool is_same(const SessionServer& a, const SessionServer& b) {
  return a.shard == b.shard && a.pid == b.pid && a.busy == b.busy &&
         a.in_transaction == b.in_transaction && (!a.busy || a.request_at == b.request_at);
}

}  // namespace

std::optional<Deadlock> find_deadlock(const std::vector<SessionLocks>& sessions,
                                      const std::vector<LockWait>& waits) {
  return WaitGraph(sessions, waits).find();
}

std::vector<std::size_t> find_held_up(const std::vector<SessionLocks>& sessions,
                                      const std::vector<LockWait>& waits) {
  return WaitGraph(sessions, waits).held_up();
}

bool is_same_moment(const SessionLocks& a, const SessionLocks& b) {
  return a.id == b.id && a.since == b.since && a.gid == b.gid && a.queued == b.queued &&
         std::equal(a.servers.begin(), a.servers.end(), b.servers.begin(), b.servers.end(),
                    is_same);
}

bool is_confirmed(const Deadlock& deadlock, const std::vector<SessionLocks>& sessions,
                  const std::vector<LockWait>& waits) {
  return std::all_of(deadlock.begin(), deadlock.end(), [&](const WaitingSession& waiting) {
    const SessionLocks& before = waiting.session;
    return std::any_of(sessions.begin(), sessions.end(),
                       [&](const SessionLocks& each) { return is_same_moment(each, before); }) &&
           std::all_of(waiting.waits.begin(), waiting.waits.end(), [&](const LockWait& wait) {
             return std::find(waits.begin(), waits.end(), wait) != waits.end();
           });
  });
}

std::size_t victim_of(const Deadlock& deadlock) {
  const auto goes_first = [](const WaitingSession& a, const WaitingSession& b) {
    const bool a_commits = !a.session.gid.empty();
    const bool b_commits = !b.session.gid.empty();
    if (a_commits != b_commits) return a_commits;
    if (a.session.since != b.session.since) return a.session.since < b.session.since;
    return a.session.id < b.session.id;
  };
  return static_cast<std::size_t>(std::max_element(deadlock.begin(), deadlock.end(), goes_first) -
                                  deadlock.begin());
}

}  // namespace pgshunt
