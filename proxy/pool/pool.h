// One worker's server connections for one (database, user, shard): lends them, opens and closes
// them within the limits it shares with the other workers (PoolGate), and takes them back only when
// they are provably clean.
//
// Lives as long as its worker; used on the worker's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/net/socket.h"
#include "proxy/pool/backend.h"
#include "proxy/pool/pool_gate.h"
#include "proxy/pool/routine_watch.h"
#include "proxy/pool/statistics.h"

namespace pgshunt {

class LeaseWaiter;
class ServerOpening;
struct Database;
struct PoolKey;
class TlsContext;
struct ServerCredentials;

// Where and as whom a pool connects, and how it behaves: an immutable snapshot, replaced at reload.
struct PoolSpec {
  std::string database;  // as clients name it
  std::string user;      // as clients name it
  std::string shard;
  std::uint16_t shard_index = 0;
  std::string server_database;
  HostConfig host;
  SslMode tls_mode = SslMode::kPrefer;
  std::shared_ptr<const TlsContext> tls;
  std::vector<std::pair<std::string, std::string>> startup_parameters;
  std::string connect_query;
  // Sessions share its servers: what its routines do to them must be known.
  bool watches_routines = false;
  std::shared_ptr<const Config> config;  // time-outs and the like
};

// Waits in a pool's queue for a server. Embedded in whoever leases.
class LeaseWaiter {
 public:
  // A server is lent. The driver is set by the receiver.
  virtual void on_lease(Backend& backend) = 0;
  virtual void on_lease_failed(const Error& error) = 0;
  // What the lessee has set: a server that already stands so is preferred.
  virtual const NameValuesPtr& wanted_settings() const = 0;
  // Asked once, when it begins to wait.
  virtual Urgency urgency() { return 0; }

  Pool* waiting_in() const { return pool_; }
  TimePoint waiting_since() const { return since_; }

 protected:
  ~LeaseWaiter() = default;

 private:
  friend class Pool;
  Pool* pool_ = nullptr;
  LeaseWaiter* previous_ = nullptr;
  LeaseWaiter* next_ = nullptr;
  TimePoint since_{};
  Urgency urgency_ = 0;
};

class Pool final : public BackendDriver {
 public:
  Pool(Worker& worker, std::shared_ptr<const PoolSpec> spec, std::shared_ptr<PoolGate> gate,
       std::shared_ptr<const ServerCredentials> credentials);
  ~Pool();

  const PoolSpec& spec() const { return *spec_; }
  void set_spec(std::shared_ptr<const PoolSpec> spec);
  // The servers refused what we have: the next client's may do.
  bool wants_credentials() const { return wants_credentials_; }
  void set_credentials(std::shared_ptr<const ServerCredentials> credentials);
  PoolGate& gate() { return *gate_; }
  // What routines of its servers do to the sessions that call them; null if that is not watched.
  // One load as long as nothing changes.
  const RoutineEffects* routine_effects() {
    if (routines_ && routines_->version() != routines_version_) update_routine_effects();
    return routine_effects_.get();
  }
  // Tells apart what routine_effects() returns.
  std::uint32_t routines_version() const { return routines_version_; }
  // A client has changed some.
  void routines_changed();
  PoolStatistics& statistics() { return statistics_; }

  // A server at once, or null: then `waiter` is queued and called later, always from a fresh turn.
  Backend* lease(LeaseWaiter& waiter);
  void stop_waiting(LeaseWaiter& waiter);
  // Makes it the most urgent, as much as it takes to open one more.
  void serve_beyond_limits(LeaseWaiter& waiter);
  // Opens a server beyond the pool's limits, for `waiter` alone: who keeps a server for good must
  // not take it from the clients, and must not wait for them. False: the limits of the database or
  // the user leave no room. It ends in discard(), never in give_back().
  bool open_extra(LeaseWaiter& waiter);
  // The waiter wants it no more: if it is still being opened, it is closed once it is there.
  void stop_extra(LeaseWaiter& waiter);

  // Takes a server back. It must be clean().
  void give_back(Backend& backend);
  // Takes a server back after running `sql` (a reset); closed if that fails.
  void recycle(Backend& backend, std::string_view sql);
  // Takes a server back after running `sql`, which leaves all other state as it is (ROLLBACK,
  // UNLISTEN *).
  void clean_up(Backend& backend, std::string_view sql);
  // Closes a lent or idle server. `why` is for the log.
  void discard(Backend& backend, std::string_view why);

  // A server from another worker, for this worker's oldest waiter.
  void adopt(Backend::Moved moved);
  // A CancelRequest to one of our servers is over. Once it is settled the server may be lent again.
  void cancel_finished(std::uint64_t backend_id, bool settled);
  // Another worker has waiters and we may have idle servers.
  void hand_over_idle();

  // Time-outs, minimum size, retries: several times a second.
  void maintain();
  // RECONNECT: every server is closed when it comes back.
  void retire_all();
  void close_idle();

  struct Counts {
    std::uint32_t idle = 0;
    std::uint32_t used = 0;    // idle, but to be tested before use
    std::uint32_t tested = 0;  // running a check or reset query
    std::uint32_t active = 0;
    std::uint32_t login = 0;
    std::uint32_t being_canceled = 0;
    std::uint32_t waiting = 0;
    std::uint32_t pinned = 0;
    Clock::duration longest_wait{0};
  };
  Counts counts() const;
  const std::vector<std::unique_ptr<Backend>>& backends() const { return backends_; }
  std::uint32_t pinned = 0;  // sessions that hold a server between transactions

  // BackendDriver, for idle servers and those being reset or checked.
  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend& backend) override;

  // From ServerOpening.
  void opened(Backend& backend);
  void opening_failed(Backend& backend, const Error& error, bool permanent);
  const std::shared_ptr<const ServerCredentials>& credentials() const { return credentials_; }

  // What this pool's servers report when these session settings hold, and the ParameterStatus
  // messages that say so. For greeting clients without a server.
  struct Reported {
    NameValuesPtr parameters;
    std::string messages;
  };
  // Null if it was not seen yet. Valid until the next call that is not const.
  const Reported* reported_for(const NameValuesPtr& settings) const;
  void remember_reported(const NameValuesPtr& settings, const NameValuesPtr& reported);

 private:
  Backend& start_opening();
  void end_opening(Backend& backend);
  void open_for_waiters();
  void queue(LeaseWaiter& waiter, Urgency urgency);
  Backend* take_idle(const NameValuesPtr& wanted);
  void make_available(Backend& backend);
  bool gives_way();
  void lend_to_first_waiter(Backend& backend);
  void send_to_worker(Backend& backend, std::uint16_t worker);
  void push_idle(Backend& backend);
  void close_surplus();
  void remove_idle(Backend& backend);
  std::unique_ptr<Backend> release_ownership(Backend& backend);
  void fail_waiters(const Error& error);
  bool expired(const Backend& backend) const;
  void update_routine_effects();
  bool read_routines(Backend& backend);
  void run_query(Backend& backend, std::string_view sql, Backend::State state);

  Worker& worker_;
  std::shared_ptr<const PoolSpec> spec_;
  std::shared_ptr<PoolGate> gate_;
  std::shared_ptr<const ServerCredentials> credentials_;
  PoolStatistics statistics_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<Backend*> idle_;  // most recently used last
  std::vector<std::unique_ptr<ServerOpening>> openings_;
  // Servers beyond the limits, and whose they are (null: nobody's any more).
  struct Extra {
    const Backend* backend = nullptr;
    LeaseWaiter* waiter = nullptr;
    bool opening = true;
  };
  std::vector<Extra> extras_;
  Extra* find_extra(const Backend& backend);
  std::size_t shared_openings() const;
  LeaseWaiter* first_waiter_ = nullptr;  // the most urgent
  LeaseWaiter* last_waiter_ = nullptr;
  std::uint32_t waiter_count_ = 0;
  TimePoint next_opening_{};  // not before: back-off after a failure
  Clock::duration opening_backoff_{};
  bool wants_credentials_ = false;
  std::shared_ptr<RoutineWatch> routines_;
  std::uint32_t routines_version_ = 0;
  std::shared_ptr<const RoutineEffects> routine_effects_;
  std::unordered_map<NameValuesPtr, Reported> reported_for_;
};

std::shared_ptr<const PoolSpec> make_pool_spec(const PoolKey& key, const Database& database,
                                               std::shared_ptr<const Config> config);
// As whom the servers of a database are entered on behalf of a client.
ServerCredentials server_credentials(const Database& database, const ServerCredentials& client);
KeepaliveOptions keepalive_options(const Config& config);

}  // namespace pgshunt
