// The process: listeners, workers, and what they share. Built and stopped by main, on the main
// thread; what other threads may call says so.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/cancel.h"
#include "proxy/catalog/catalog_keeper.h"
#include "proxy/database.h"
#include "proxy/deadlock/detector.h"
#include "proxy/directory/directories.h"
#include "proxy/net/resolver.h"
#include "proxy/net/socket.h"
#include "proxy/two_phase/two_phase.h"
#include "proxy/unique_ids/id_source.h"
#include "proxy/worker.h"

namespace pgshunt {

class Proxy {
 public:
  explicit Proxy(std::shared_ptr<const Snapshot> snapshot);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // Opens the listening sockets and starts the workers.
  Status start();
  // Serves signals until the end: SIGTERM and SIGINT drain (a second one ends at once), SIGHUP
  // reloads, SIGUSR1 reopens the log.
  void run();
  // Ports actually bound (listen_port 0 picks one); for tests.
  std::uint16_t port() const { return port_; }

  // --- any thread ---
  // A new client for the least loaded worker; `here` is the one whose thread this is.
  void distribute(int fd, const SocketAddress& peer, Worker& here);
  std::uint64_t next_session_id() { return ++last_session_; }
  std::uint64_t next_backend_id() { return ++last_backend_; }
  CancelRegistry& cancels() { return cancels_; }
  void cancel(std::uint32_t pid, std::string_view key);
  std::uint32_t client_count() const;
  // How many clients of a database or a user there may be. Whoever takes of it keeps it.
  std::shared_ptr<ConnectionBudget> client_budget(const std::string& key, std::uint32_t limit);
  Resolver& resolver() { return *resolver_; }
  TwoPhase& two_phase() { return *two_phase_; }
  DeadlockDetector& deadlocks() { return *deadlocks_; }
  IdSource& unique_ids() { return *unique_ids_; }
  const Directories& directories() const { return directories_; }
  std::shared_ptr<PoolGate> gate(const PoolKey& key, const Database& database,
                                 const Config& config);
  std::vector<std::unique_ptr<Worker>>& workers() { return workers_; }
  std::shared_ptr<const Snapshot> snapshot() const;
  TimePoint started_at() const { return started_at_; }

  // Admin commands. An empty database name means all.
  // Loads the configuration file anew. The text lists what needs a restart and what is suspect.
  Result<std::string> reload();
  void pause(const std::string& database);
  void resume(const std::string& database);
  bool paused(const std::string& database) const;
  void set_disabled(const std::string& database, bool disabled);
  bool disabled(const std::string& database) const;
  // Ends the process: as if signalled.
  void shutdown(bool at_once);
  // Takes no more clients, and ends the process when those that are there have left.
  void shutdown_when_clients_left();
  // Somebody has changed what the shards' catalogs say: reads them again, those of all databases if
  // the name is empty. The change is known to all workers once CatalogReport::generation of their
  // snapshot's database has reached the number returned.
  std::uint64_t catalog_changed(const std::string& database);
  // See CatalogKeeper::retry_now().
  void catalog_wanted(const std::string& database, std::size_t shard);
  // Runs `work` on the main thread, where what blocks for a moment harms nobody.
  void post(std::function<void()> work) { loop_.post(std::move(work)); }

 private:
  void stop_listening(bool drain);
  void publish(std::shared_ptr<const Snapshot> snapshot);
  Result<std::string> try_reload();
  void hand_out(std::shared_ptr<const Snapshot> snapshot);
  void publish_catalog(std::uint64_t version, const std::string& database,
                       std::shared_ptr<const Topology> topology,
                       std::shared_ptr<const CatalogReport> report);
  std::shared_ptr<ConnectionBudget> budget(const std::string& key, std::uint32_t limit);
  DeadlockDetector::Hooks deadlock_hooks();

  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::unordered_map<PoolKey, std::shared_ptr<PoolGate>, PoolKeyHash> gates_;
  std::unordered_map<std::string, std::shared_ptr<ConnectionBudget>> budgets_;
  std::set<std::string> disabled_;
  std::set<std::string> paused_;

  const TimePoint started_at_ = Clock::now();
  std::atomic<std::uint64_t> last_session_{0};
  std::atomic<std::uint64_t> last_backend_{0};
  CancelRegistry cancels_;
  std::unique_ptr<Resolver> resolver_;
  Directories directories_;  // asked by workers until they are gone
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<CatalogKeeper> catalogs_;
  std::unique_ptr<TwoPhase> two_phase_;
  std::unique_ptr<DeadlockDetector> deadlocks_;
  std::unique_ptr<IdSource> unique_ids_;
  EventLoop loop_;  // of the main thread: signals, and what blocks for a moment
  std::uint16_t port_ = 0;
  std::string unix_path_;
  int signals_ = 0;                 // how many that ask for the end
  std::unique_ptr<Timer> drained_;  // looks whether the last client has left, once nobody listens
};

// Before any thread is started: the signals Proxy::run() serves are taken from everybody else.
void block_signals();

}  // namespace pgshunt
