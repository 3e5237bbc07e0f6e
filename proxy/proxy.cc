#include "proxy/proxy.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "proxy/log/log.h"
#include "proxy/session/session.h"

namespace pgshunt {
namespace {

// How long sessions may take to end their transactions after the first SIGTERM is their own affair;
// this is how often they are counted.
constexpr Clock::duration kDrainPoll = std::chrono::milliseconds(20);

// Room for clients that max_client_conn does not admit but that are told so, and for whoever means
// to reach the admin console then.
constexpr std::uint32_t kSpareClients = 100;

// A shell's usual 1,024 descriptors are fewer than clients and servers need by default.
void raise_descriptor_limit(const Config& config) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > config.max_client_conn) return;
  log_event(LogLevel::kWarning, "few_descriptors", {},
            "the system grants " + std::to_string(limit.rlim_cur) +
                " file descriptors (ulimit -n), max_client_conn is " +
                std::to_string(config.max_client_conn));
}

Resolver::Options resolver_options(const Config& config) {
  Resolver::Options options;
  options.found_ttl = std::chrono::duration_cast<Clock::duration>(config.dns_max_ttl);
  return options;
}

PoolGate::Limits gate_limits(const PoolKey& key, const Database& database, const Config& config) {
  PoolGate::Limits limits;
  limits.size = database.config.pool_size.value_or(config.default_pool_size);
  if (const auto user = config.users.find(key.user);
      user != config.users.end() && user->second.pool_size) {
    limits.size = *user->second.pool_size;
  }
  limits.min_size = database.config.min_pool_size.value_or(config.min_pool_size);
  limits.reserve = database.config.reserve_pool_size.value_or(config.reserve_pool_size);
  limits.reserve_after = config.reserve_pool_timeout;
  return limits;
}

std::uint32_t max_connections(const Database& database, const Config& config) {
  const std::uint32_t own = database.config.max_db_connections;
  return own != 0 ? own : config.max_db_connections;
}

std::uint32_t max_connections(const std::string& user, const Config& config) {
  const auto known = config.users.find(user);
  const std::uint32_t own = known == config.users.end() ? 0 : known->second.max_user_connections;
  return own != 0 ? own : config.max_user_connections;
}

}  // namespace

Proxy::Proxy(std::shared_ptr<const Snapshot> snapshot)
    : snapshot_(std::move(snapshot)),
      resolver_(std::make_unique<Resolver>(resolver_options(*snapshot_->config))) {}

Proxy::~Proxy() {
  if (deadlocks_) deadlocks_->stop();  // it waits for answers of workers
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) worker->join();
  catalogs_.reset();  // it posts to workers, and they ask it
  // It posts to workers until here; sessions that end now still tell it what they leave behind.
  if (two_phase_) two_phase_->stop();
  if (unique_ids_) unique_ids_->stop();
  directories_.stop();  // the same
  // Workers refer to each other until none of them runs.
  workers_.clear();
}

DeadlockDetector::Hooks Proxy::deadlock_hooks() {
  DeadlockDetector::Hooks hooks;
  hooks.snapshot = [this] { return snapshot(); };
  hooks.survey = [this](const std::string& database,
                        std::function<void(std::vector<SessionLocks>)> told) {
    for (const auto& each : workers_) {
      each->post([database, told](Worker& worker) {
        std::vector<SessionLocks> out;
        for (const auto& session : worker.sessions()) {
          if (session->state().database != database) continue;
          if (auto locks = session->locks()) out.push_back(std::move(*locks));
        }
        told(std::move(out));
      });
    }
    return workers_.size();
  };
  hooks.end_wait = [this](const SessionLocks& victim, const std::string& detail) {
    workers_[victim.worker]->post([victim, detail](Worker& worker) {
      if (Session* session = worker.find_session(victim.id)) {
        session->break_deadlock(victim, detail);
      }
    });
  };
  hooks.serve = [this](const SessionLocks& queued) {
    workers_[queued.worker]->post([queued](Worker& worker) {
      if (Session* session = worker.find_session(queued.id)) session->serve_beyond_limits(queued);
    });
  };
  return hooks;
}

Status Proxy::start() {
  const Config& config = *snapshot_->config;
  raise_descriptor_limit(config);
  if (const Status opened = directories_.open(config); !opened) return opened.error();
  ListenOptions options;
  options.backlog = static_cast<int>(config.listen_backlog);
  std::uint32_t count = config.workers;
  if (count == 0) count = std::max(1u, std::thread::hardware_concurrency());
  for (std::uint32_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<Worker>(*this, static_cast<std::uint16_t>(i)));
  }
  two_phase_ = std::make_unique<TwoPhase>([this] { return snapshot(); });
  deadlocks_ = std::make_unique<DeadlockDetector>(deadlock_hooks());
  unique_ids_ = std::make_unique<IdSource>([this] { return snapshot(); });
  Worker& listener = *workers_.front();
  port_ = config.listen_port;
  for (const std::string& host : config.listen_addr) {
    const auto addresses = listen_addresses(host, port_);
    if (!addresses) return addresses.error();
    for (const SocketAddress& address : *addresses) {
      auto fd = listen_tcp(address, options);
      if (!fd) return fd.error();
      if (port_ == 0) port_ = local_address(fd->get()).port();
      log_event(LogLevel::kInfo, "listening", {}, local_address(fd->get()).text());
      listener.listen(std::move(*fd));
    }
  }
  if (!config.unix_socket_dir.empty()) {
    const std::string path = config.unix_socket_dir + "/.s.PGSQL." + std::to_string(port_);
    auto fd = listen_unix(path, config.unix_socket_mode, options);
    if (!fd) return fd.error();
    unix_path_ = path;
    log_event(LogLevel::kInfo, "listening", {}, path);
    listener.listen(std::move(*fd));
  }
  // Before the workers, who ask it.
  catalogs_ =
      std::make_unique<CatalogKeeper>([this](std::uint64_t version, const std::string& database,
                                             std::shared_ptr<const Topology> topology,
                                             std::shared_ptr<const CatalogReport> report) {
        publish_catalog(version, database, std::move(topology), std::move(report));
      });
  catalogs_->set_snapshot(*snapshot());
  for (const auto& worker : workers_) worker->start();
  return Ok{};
}

void Proxy::publish(std::shared_ptr<const Snapshot> snapshot) {
  const std::lock_guard lock(mutex_);
  hand_out(std::move(snapshot));
}

// Under the lock, so that all workers see snapshots in one order.
void Proxy::hand_out(std::shared_ptr<const Snapshot> snapshot) {
  snapshot_ = snapshot;
  for (const auto& worker : workers_) {
    worker->post([snapshot](Worker& there) { there.set_snapshot(snapshot); });
  }
}

void Proxy::publish_catalog(std::uint64_t version, const std::string& database,
                            std::shared_ptr<const Topology> topology,
                            std::shared_ptr<const CatalogReport> report) {
  const std::lock_guard lock(mutex_);
  // A reload has come in between: its own catalogs follow.
  if (snapshot_->version != version) return;
  const auto known = snapshot_->databases.find(database);
  if (known == snapshot_->databases.end()) return;
  auto informed = std::make_shared<Database>(*known->second);
  informed->topology = std::move(topology);
  informed->catalog = std::move(report);
  auto fresh = std::make_shared<Snapshot>(*snapshot_);
  fresh->databases[database] = std::move(informed);
  hand_out(std::move(fresh));
}

std::uint64_t Proxy::catalog_changed(const std::string& database) {
  return catalogs_->refresh(database);
}

void Proxy::catalog_wanted(const std::string& database, std::size_t shard) {
  catalogs_->retry_now(database, shard);
}

void Proxy::distribute(int fd, const SocketAddress& peer, Worker& here) {
  // Strangers who never log in would otherwise take every descriptor there is.
  const std::uint64_t most = here.snapshot()->config->max_client_conn;
  if (client_count() >= 2 * most + kSpareClients) {
    log_event(LogLevel::kWarning, "client_refused", {.client = peer.text()},
              "too many connections that have not logged in");
    ::close(fd);
    return;
  }
  // The least loaded worker: clients stay for long, so the count decides, not the moment.
  const auto least =
      std::min_element(workers_.begin(), workers_.end(), [](const auto& a, const auto& b) {
        return a->session_count().load(std::memory_order_relaxed) <
               b->session_count().load(std::memory_order_relaxed);
      });
  (*least)->session_count().fetch_add(1, std::memory_order_relaxed);
  ClientPeer from;
  from.unix_socket = peer.is_unix();
  if (!from.unix_socket) from.address = IpAddress::from_sockaddr(peer.get());
  if (least->get() == &here) return here.accept(fd, from, peer.port());
  (*least)->post([fd, from, port = peer.port()](Worker& worker) { worker.accept(fd, from, port); });
}

// --- signals and the end -------------------------------------------------------------------------

namespace {

// Signals as bytes on a descriptor, served by the main loop.
class Signals final : public IoHandler {
 public:
  Signals(EventLoop& loop, std::function<void(int)> on_signal)
      : loop_(loop), on_signal_(std::move(on_signal)) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
    fd_ = UniqueFd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    token_ = loop.add(fd_.get(), *this, kIoRead);
  }
  ~Signals() { loop_.remove(token_); }
  void on_io(std::uint32_t) override {
    signalfd_siginfo info;
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
      on_signal_(static_cast<int>(info.ssi_signo));
    }
  }

 private:
  EventLoop& loop_;
  std::function<void(int)> on_signal_;
  UniqueFd fd_;
  EventLoop::Token token_ = 0;
};

void reopen_log_or_say_so() {
  if (const Status reopened = reopen_log(); !reopened) {
    log_event(LogLevel::kError, "log_not_reopened", {}, reopened.error().message);
  }
}

}  // namespace

void block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of whoever writes it
}

void Proxy::run() {
  Signals signals(loop_, [this](int signal) {
    if (signal == SIGHUP) {
      static_cast<void>(reload());
      reopen_log_or_say_so();
    } else if (signal == SIGUSR1) {
      reopen_log_or_say_so();
    } else {
      shutdown(signals_ > 0);
    }
  });
  Timer housekeeping(loop_, [&] {
    log_housekeeping();
    housekeeping.arm_after(std::chrono::seconds(1));
  });
  housekeeping.arm_after(std::chrono::seconds(1));
  drained_ = std::make_unique<Timer>(loop_, [this] {
    if (client_count() == 0) return loop_.stop();
    drained_->arm_after(kDrainPoll);
  });
  loop_.run();
  drained_.reset();
  if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
}

void Proxy::shutdown(bool at_once) {
  loop_.post([this, at_once] {
    log_event(LogLevel::kInfo, "shutdown", {},
              at_once ? "at once" : "waiting for transactions to end");
    ++signals_;
    if (at_once) return loop_.stop();
    stop_listening(true);
  });
}

void Proxy::shutdown_when_clients_left() {
  loop_.post([this] {
    log_event(LogLevel::kInfo, "shutdown", {}, "waiting for clients to leave");
    ++signals_;
    stop_listening(false);
  });
}

// The first worker's last clients reach the other workers before the request to drain does.
void Proxy::stop_listening(bool drain) {
  workers_.front()->post([this, drain](Worker& first) {
    first.stop_listening();
    if (drain) {
      for (const auto& worker : workers_) worker->post([](Worker& there) { there.drain(); });
    }
    loop_.post([this] { drained_->arm_after({}); });
  });
}

// --- shared state --------------------------------------------------------------------------------

std::shared_ptr<const Snapshot> Proxy::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

std::uint32_t Proxy::client_count() const {
  std::uint32_t count = 0;
  for (const auto& worker : workers_) {
    count += worker->session_count().load(std::memory_order_relaxed);
  }
  return count;
}

void Proxy::cancel(std::uint32_t pid, std::string_view key) {
  std::uint16_t worker = 0;
  std::uint64_t session = 0;
  if (!cancels_.find(pid, key, worker, session)) return;
  workers_[worker]->post([session](Worker& there) {
    if (Session* found = there.find_session(session)) found->cancel();
  });
}

std::shared_ptr<ConnectionBudget> Proxy::budget(const std::string& key, std::uint32_t limit) {
  std::shared_ptr<ConnectionBudget>& budget = budgets_[key];
  if (!budget) budget = std::make_shared<ConnectionBudget>(limit);
  budget->set_limit(limit);
  return budget;
}

std::shared_ptr<ConnectionBudget> Proxy::client_budget(const std::string& key,
                                                       std::uint32_t limit) {
  const std::lock_guard lock(mutex_);
  return budget("clients of " + key, limit);
}

std::shared_ptr<PoolGate> Proxy::gate(const PoolKey& key, const Database& database,
                                      const Config& config) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<PoolGate>& gate = gates_[key];
  if (!gate) {
    gate = std::make_shared<PoolGate>(
        gate_limits(key, database, config), workers_.size(),
        budget("database " + key.database, max_connections(database, config)),
        budget("user " + key.user, max_connections(key.user, config)));
    gate->paused = paused_.contains("") || paused_.contains(key.database);
  }
  return gate;
}

Result<std::string> Proxy::reload() {
  Result<std::string> outcome = try_reload();
  if (!outcome) log_event(LogLevel::kError, "reload_failed", {}, outcome.error().message);
  return outcome;
}

// Whatever can fail comes first: a reload that fails changes nothing.
Result<std::string> Proxy::try_reload() {
  const std::shared_ptr<const Snapshot> running = snapshot();
  const ConfigResult loaded = load_config(running->config->file);
  if (!loaded.config) {
    std::string text;
    for (const ConfigIssue& issue : loaded.issues) {
      text += (text.empty() ? "" : "\n") + issue.to_string();
    }
    return Error{sqlstate::kConfigFileError, text, "The running configuration stays in force."};
  }
  const std::shared_ptr<const Config> config = reloaded_config(*running->config, *loaded.config);
  auto fresh = make_snapshot(config, running->version + 1);
  if (!fresh) return fresh.error();
  if (const Status opened = directories_.open(*config); !opened) return opened.error();
  if (const Status configured = configure_log(log_settings(*config)); !configured) {
    return configured.error();
  }
  resolver_->set_options(resolver_options(*config));
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, gate] : gates_) {
      if (const auto database = (*fresh)->find(key.database)) {
        gate->set_limits(gate_limits(key, *database, *config));
        gate->database_budget().set_limit(max_connections(*database, *config));
        gate->user_budget().set_limit(max_connections(key.user, *config));
      }
    }
  }
  publish(*fresh);
  catalogs_->set_snapshot(**fresh);
  std::string note;
  for (const std::string& key : restart_needed(*running->config, *loaded.config)) {
    note += (note.empty() ? "needs a restart: " : ", ") + key;
  }
  log_event(LogLevel::kInfo, "reloaded", {}, note.empty() ? config->file : note);
  for (const ConfigIssue& warning : loaded.warnings) {
    log_event(LogLevel::kWarning, "config_warning", {}, warning.to_string());
    note += (note.empty() ? "" : "\n") + warning.to_string();
  }
  return note;
}

void Proxy::pause(const std::string& database) {
  const std::lock_guard lock(mutex_);
  paused_.insert(database);
  for (const auto& [key, gate] : gates_) {
    if (database.empty() || key.database == database) gate->paused = true;
  }
}

void Proxy::resume(const std::string& database) {
  {
    const std::lock_guard lock(mutex_);
    if (database.empty()) {
      paused_.clear();
    } else {
      paused_.erase(database);
    }
    for (const auto& [key, gate] : gates_) {
      if (database.empty() || key.database == database) gate->paused = false;
    }
  }
  for (const auto& worker : workers_) {
    worker->post([](Worker& there) {
      for (const auto& [key, pool] : there.pools()) pool->maintain();
    });
  }
}

bool Proxy::paused(const std::string& database) const {
  const std::lock_guard lock(mutex_);
  return paused_.contains("") || paused_.contains(database);
}

void Proxy::set_disabled(const std::string& database, bool disabled) {
  const std::lock_guard lock(mutex_);
  if (disabled) {
    disabled_.insert(database);
  } else {
    disabled_.erase(database);
  }
}

bool Proxy::disabled(const std::string& database) const {
  const std::lock_guard lock(mutex_);
  return disabled_.contains(database);
}

}  // namespace pgshunt
