// A worker: one thread, one event loop, and everything that lives there: client sessions, server
// pools, the statements they prepared, the routers. Nothing here is locked; other threads reach it
// through post().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/net/socket.h"
#include "proxy/pool/pool.h"
#include "proxy/scratch_buffer.h"
#include "proxy/session/statement.h"

namespace pgshunt {

class AuthLookup;
class CancelSender;
class IdStock;
struct IdSupply;
class ListenHub;
class Listener;
class Proxy;
class Resolver;
class Router;
class ServerLink;
class Session;
class StatAverages;
struct ClientPeer;
struct Database;
struct ServerCredentials;
struct Snapshot;

// Names a pool in the process: its gate, and each worker's Pool.
struct PoolKey {
  std::string database;
  std::string user;
  std::uint16_t shard = 0;
  friend bool operator==(const PoolKey&, const PoolKey&) = default;
};
struct PoolKeyHash {
  std::size_t operator()(const PoolKey& key) const {
    return std::hash<std::string>{}(key.database) * 31 + std::hash<std::string>{}(key.user) +
           key.shard;
  }
};

class Worker {
 public:
  Worker(Proxy& proxy, std::uint16_t index);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Before start(): takes clients from this socket, for all workers.
  void listen(UniqueFd fd);
  void stop_listening();
  void start();
  // Any thread. join() after stop().
  void stop();
  void join();
  // Any thread: `work` runs on this worker's thread.
  void post(std::function<void(Worker&)> work);

  // --- on the worker's thread only ---
  std::uint16_t index() const { return index_; }
  EventLoop& loop() { return loop_; }
  Proxy& proxy() { return proxy_; }
  const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }
  void set_snapshot(std::shared_ptr<const Snapshot> snapshot);

  void post_to(std::uint16_t worker, std::function<void(Worker&)> work);
  void defer(std::function<void()> work) { loop_.defer(std::move(work)); }
  // Destroys in a later turn: what calls this may still be on the stack, and what it has deferred
  // before is still to run.
  template <class T>
  void bury(std::unique_ptr<T> remains) {
    buried_.push_back(std::shared_ptr<void>(std::move(remains)));
    if (buried_.size() == 1) loop_.defer([this] { bury_deeper(); });
  }

  // Read buffers. Two, because serving a client's bytes may hand out a server's, and back.
  ScratchBuffer& client_scratch() { return client_scratch_; }
  ScratchBuffer& server_scratch() { return server_scratch_; }
  // Messages being put together before one send; empty between uses.
  std::string& client_out() { return client_out_; }
  std::string& server_out() { return server_out_; }

  // Gives the link's server back at the end of this turn, if nothing ties it then.
  void defer_release(ServerLink& link);
  void forget_release(ServerLink& link);

  // The pool, made if this is its first use on this worker. `credentials`: what the client that
  // asks has shown, for servers to be entered with.
  Pool& pool(const PoolKey& key, const Database& database, const ServerCredentials& credentials);
  Pool* find_pool(const PoolKey& key);
  PoolKey key_of(const Pool& pool) const;
  const std::unordered_map<PoolKey, std::unique_ptr<Pool>, PoolKeyHash>& pools() const {
    return pools_;
  }
  std::uint64_t next_backend_id();

  StatementTable& statements() { return statements_; }
  // The router of a sharded database; null for a plain one.
  Router* router(const Database& database);
  Resolver& resolver();
  ListenHub& listen_hub(Pool& pool);
  IdStock& unique_ids() { return *unique_ids_; }

  void accept(int fd, const ClientPeer& peer, std::uint16_t port);
  void session_ended(Session& session);
  Session* find_session(std::uint64_t id);
  // auth_query: the answer goes to Session::secret_looked_up().
  void look_up_secret(Session& session, std::string_view user, std::string_view database);
  const std::vector<std::unique_ptr<Session>>& sessions() const { return sessions_; }
  const StatAverages& stat_averages() const { return *stat_averages_; }
  // Connected clients, those just accepted included; read by any thread.
  std::atomic<std::uint32_t>& session_count() { return session_count_; }
  // Sends a CancelRequest to a server; it is not lent to anybody else before its fate is known.
  void cancel_on_server(Backend& backend);
  void cancel_sender_done(CancelSender& sender);

  void count_server_bytes(std::size_t) {}
  // Stops serving: idle clients are told and closed now, others at the end of their transaction.
  void drain();
  bool draining() const { return draining_; }

 private:
  void tick();
  void bury_deeper();
  void bury_all();
  void update_routers();
  void order_ids(const IdSupply& from, std::size_t count);

  Proxy& proxy_;
  const std::uint16_t index_;
  EventLoop loop_;
  Timer ticker_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::thread thread_;
  std::shared_ptr<const Snapshot> snapshot_;
  ScratchBuffer client_scratch_;
  ScratchBuffer server_scratch_;
  std::string client_out_;
  std::string server_out_;
  StatementTable statements_;
  std::unordered_map<PoolKey, std::unique_ptr<Pool>, PoolKeyHash> pools_;
  std::unordered_map<std::string, std::unique_ptr<Router>> routers_;
  std::vector<std::unique_ptr<Router>> old_routers_;  // of databases that sessions still see
  std::vector<std::unique_ptr<CancelSender>> cancel_senders_;
  std::vector<std::unique_ptr<AuthLookup>> lookups_;
  std::vector<std::unique_ptr<ListenHub>> listen_hubs_;
  std::unique_ptr<IdStock> unique_ids_;
  std::vector<ServerLink*> releasing_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<std::shared_ptr<void>> buried_;
  std::vector<std::shared_ptr<void>> deep_buried_;  // go in the next turn, in order
  std::unique_ptr<StatAverages> stat_averages_;
  std::atomic<std::uint32_t> session_count_{0};
  bool draining_ = false;
};

}  // namespace pgshunt
