#include "proxy/worker.h"

#include <algorithm>

#include "proxy/admin/stat_averages.h"
#include "proxy/auth/auth_lookup.h"
#include "proxy/cancel.h"
#include "proxy/database.h"
#include "proxy/listener.h"
#include "proxy/log/log.h"
#include "proxy/pool/server_opening.h"
#include "proxy/proxy.h"
#include "proxy/session/conversation.h"
#include "proxy/session/listen_hub.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/unique_ids/id_stock.h"
#include "router/router.h"
#include "router/topology.h"

namespace pgshunt {
namespace {

constexpr std::size_t kScratchSize = 128 * 1024;
constexpr Clock::duration kTick = std::chrono::milliseconds(100);

}  // namespace

Worker::Worker(Proxy& proxy, std::uint16_t index)
    : proxy_(proxy),
      index_(index),
      ticker_(loop_, [this] { tick(); }),
      snapshot_(proxy.snapshot()),
      client_scratch_(kScratchSize),
      server_scratch_(kScratchSize),
      unique_ids_(std::make_unique<IdStock>(
          [this](const IdSupply& from, std::size_t count) { order_ids(from, count); })),
      stat_averages_(std::make_unique<StatAverages>()) {}

void Worker::order_ids(const IdSupply& from, std::size_t count) {
  proxy_.unique_ids().take(from, count, [this, from](Result<IdStock::Ids> ids) {
    post([from, ids = std::move(ids)](Worker& here) {
      here.unique_ids().arrived(from, ids, here.loop().now());
    });
  });
}

Worker::~Worker() {
  // Sessions first: they hold servers.
  while (!sessions_.empty()) {
    sessions_.back()->close_with({sqlstate::kAdminShutdown, "the proxy is shutting down", {}});
  }
  bury_all();
  listen_hubs_.clear();
  lookups_.clear();
  cancel_senders_.clear();
  pools_.clear();
  bury_all();
}

void Worker::listen(UniqueFd fd) {
  listeners_.push_back(std::make_unique<Listener>(
      loop_, std::move(fd),
      [this](int client, const SocketAddress& peer) { proxy_.distribute(client, peer, *this); }));
}

void Worker::stop_listening() { listeners_.clear(); }

void Worker::start() {
  ticker_.arm_after(kTick);
  thread_ = std::thread([this] { loop_.run(); });
}

void Worker::stop() { loop_.stop(); }

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::post(std::function<void(Worker&)> work) {
  loop_.post([this, work = std::move(work)] { work(*this); });
}

void Worker::post_to(std::uint16_t worker, std::function<void(Worker&)> work) {
  proxy_.workers()[worker]->post(std::move(work));
}

// All that the buried have deferred stands in the queue by now, if not before this call then before
// the one it defers: work is done in order.
void Worker::bury_deeper() {
  for (auto& remains : buried_) deep_buried_.push_back(std::move(remains));
  loop_.defer([this, count = buried_.size()] {
    // What is destroyed may bury more.
    const auto end = deep_buried_.begin() + static_cast<std::ptrdiff_t>(count);
    std::vector<std::shared_ptr<void>> remains(deep_buried_.begin(), end);
    deep_buried_.erase(deep_buried_.begin(), end);
    for (auto& oldest_first : remains) oldest_first.reset();
  });
  buried_.clear();
}

void Worker::bury_all() {
  std::vector<std::shared_ptr<void>> remains;
  remains.swap(deep_buried_);
  for (auto& more : buried_) remains.push_back(std::move(more));
  buried_.clear();
  for (auto& oldest_first : remains) oldest_first.reset();
}

void Worker::defer_release(ServerLink& link) {
  // The link may be gone by then: it is looked for where it would be.
  releasing_.push_back(&link);
  if (releasing_.size() == 1) {
    loop_.defer([this] {
      std::vector<ServerLink*> links;
      links.swap(releasing_);
      for (ServerLink* candidate : links) {
        if (candidate) candidate->release_if_free();
      }
    });
  }
}

void Worker::forget_release(ServerLink& link) {
  std::replace(releasing_.begin(), releasing_.end(), &link, static_cast<ServerLink*>(nullptr));
}

std::uint64_t Worker::next_backend_id() { return proxy_.next_backend_id(); }

Resolver& Worker::resolver() { return proxy_.resolver(); }

namespace {

bool same_shards(const Topology& a, const Topology& b) {
  return std::equal(a.shards.begin(), a.shards.end(), b.shards.begin(), b.shards.end(),
                    [](const Shard& left, const Shard& right) { return left.name == right.name; });
}

}  // namespace

// --- configuration -------------------------------------------------------------------------------

void Worker::set_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  snapshot_ = std::move(snapshot);
  update_routers();
  for (const auto& [key, pool] : pools_) {
    const auto database = snapshot_->find(key.database);
    if (!database || key.shard >= database->config.shards.size()) {
      pool->retire_all();
      continue;
    }
    pool->set_spec(make_pool_spec(key, *database, snapshot_->config));
  }
  // Some may have waited for a catalog.
  for (const auto& session : sessions_) {
    Conversation* conversation = session->conversation();
    if (conversation && conversation->waiting_since() != TimePoint{}) session->resume();
  }
}

// Running sessions keep their router: it learns the new map, unless the shards themselves are
// others. Then it is set aside for them, and they end with their transactions.
void Worker::update_routers() {
  for (auto entry = routers_.begin(); entry != routers_.end();) {
    const auto database = snapshot_->find(entry->first);
    const Topology& was = entry->second->topology();
    if (database && database->topology && same_shards(was, *database->topology)) {
      entry->second->set_topology(database->topology);
      ++entry;
      continue;
    }
    for (std::size_t i = sessions_.size(); i-- > 0;) {
      if (i < sessions_.size() && sessions_[i]->state().database == entry->first) {
        sessions_[i]->drain();
      }
    }
    old_routers_.push_back(std::move(entry->second));
    entry = routers_.erase(entry);
  }
}

// A session may have been accepted before the last change of the map, and log in after it.
Router* Worker::router(const Database& database) {
  std::shared_ptr<const Topology> topology = database.topology;
  if (!topology) return nullptr;
  const auto current = snapshot_->find(database.config.name);
  if (current && current->topology && same_shards(*current->topology, *topology) &&
      current->topology->epoch > topology->epoch) {
    topology = current->topology;
  }
  std::unique_ptr<Router>& router = routers_[database.config.name];
  if (!router) {
    router = std::make_unique<Router>(std::move(topology));
    router->set_directory(proxy_.directories().of(database.config));
  } else if (topology->epoch > router->topology().epoch) {
    router->set_topology(std::move(topology));
  }
  return router.get();
}

// --- pools ---------------------------------------------------------------------------------------

Pool& Worker::pool(const PoolKey& key, const Database& database,
                   const ServerCredentials& credentials) {
  std::unique_ptr<Pool>& pool = pools_[key];
  if (!pool) {
    const Config& config = *snapshot_->config;
    pool = std::make_unique<Pool>(
        *this, make_pool_spec(key, database, snapshot_->config), proxy_.gate(key, database, config),
        std::make_shared<const ServerCredentials>(server_credentials(database, credentials)));
  } else if (pool->wants_credentials()) {
    pool->set_credentials(
        std::make_shared<const ServerCredentials>(server_credentials(database, credentials)));
  }
  return *pool;
}

Pool* Worker::find_pool(const PoolKey& key) {
  const auto found = pools_.find(key);
  return found == pools_.end() ? nullptr : found->second.get();
}

PoolKey Worker::key_of(const Pool& pool) const {
  return {pool.spec().database, pool.spec().user, pool.spec().shard_index};
}

// --- sessions ------------------------------------------------------------------------------------

void Worker::accept(int fd, const ClientPeer& peer, std::uint16_t port) {
  sessions_.push_back(std::make_unique<Session>(*this, fd, peer, port));
  sessions_.back()->set_position(sessions_.size() - 1);
}

void Worker::session_ended(Session& session) {
  const std::size_t at = session.position();
  std::unique_ptr<Session> ended = std::move(sessions_[at]);
  if (at + 1 != sessions_.size()) {
    sessions_[at] = std::move(sessions_.back());
    sessions_[at]->set_position(at);
  }
  sessions_.pop_back();
  session_count_.fetch_sub(1, std::memory_order_relaxed);
  bury(std::move(ended));
}

Session* Worker::find_session(std::uint64_t id) {
  for (const auto& session : sessions_) {
    if (session->state().id == id) return session.get();
  }
  return nullptr;
}

void Worker::look_up_secret(Session& session, std::string_view user, std::string_view database) {
  lookups_.push_back(std::make_unique<AuthLookup>(
      *this, std::string(user), std::string(database),
      [this, id = session.state().id](AuthLookup& lookup, const Result<std::string>& secret,
                                      bool found) {
        if (Session* waiting = find_session(id)) waiting->secret_looked_up(secret, found);
        const auto done = std::find_if(lookups_.begin(), lookups_.end(),
                                       [&](const auto& own) { return own.get() == &lookup; });
        if (done == lookups_.end()) return;
        bury(std::move(*done));
        lookups_.erase(done);
      }));
  lookups_.back()->start();
}

ListenHub& Worker::listen_hub(Pool& pool) {
  for (const auto& hub : listen_hubs_) {
    if (&hub->pool() == &pool) return *hub;
  }
  listen_hubs_.push_back(std::make_unique<ListenHub>(*this, pool));
  return *listen_hubs_.back();
}

void Worker::cancel_on_server(Backend& backend) {
  cancel_senders_.push_back(std::make_unique<CancelSender>(*this, backend));
}

void Worker::cancel_sender_done(CancelSender& sender) {
  const auto found = std::find_if(cancel_senders_.begin(), cancel_senders_.end(),
                                  [&](const auto& own) { return own.get() == &sender; });
  if (found == cancel_senders_.end()) return;
  bury(std::move(*found));
  cancel_senders_.erase(found);
}

// --- time ----------------------------------------------------------------------------------------

void Worker::tick() {
  ticker_.arm_after(kTick);
  const TimePoint now = loop_.now();
  // From the back: a session that ends is replaced by the last, which was served already.
  for (std::size_t i = sessions_.size(); i-- > 0;) {
    if (i < sessions_.size()) sessions_[i]->tick(now);
  }
  for (const auto& [key, pool] : pools_) pool->maintain();
  for (const auto& hub : listen_hubs_) hub->maintain();
  stat_averages_->tick(now, std::chrono::seconds(snapshot_->config->stats_period), pools_);
}

void Worker::drain() {
  draining_ = true;
  for (std::size_t i = sessions_.size(); i-- > 0;) {
    if (i < sessions_.size()) sessions_[i]->drain();
  }
}

}  // namespace pgshunt
