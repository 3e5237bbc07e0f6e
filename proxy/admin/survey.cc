#include "proxy/admin/survey.h"

#include <unordered_map>
#include <unordered_set>

#include "proxy/admin/stat_averages.h"
#include "proxy/database.h"
#include "proxy/session/conversations.h"
#include "proxy/session/session.h"

namespace pgshunt {
namespace {

std::string_view name_of(Backend::State state) {
  switch (state) {
    case Backend::State::kConnecting:
    case Backend::State::kLogin:
      return "login";
    case Backend::State::kIdle:
      return "idle";
    case Backend::State::kActive:
      return "active";
    case Backend::State::kTested:
    case Backend::State::kReset:
      return "tested";
    case Backend::State::kClosed:
      break;
  }
  return "closed";
}

ClientReport report(Session& session, TimePoint now) {
  const SessionState& state = session.state();
  const Session::Facts& facts = session.facts();
  const SocketAddress local = local_address(session.stream().fd());
  ClientReport out;
  out.id = state.id;
  out.user = state.user;
  out.database = state.database;
  out.address = facts.client_address;
  out.port = facts.client_port;
  out.local_address = local.is_unix() ? "unix" : local.host();
  out.local_port = local.port();
  out.connected_at = facts.connected_at;
  out.last_request = facts.last_request;
  out.remote_pid = facts.cancel_pid;
  out.tls = session.stream().tls_description();
  if (const std::string* name = state.known->find("application_name")) {
    out.application_name = *name;
  }
  out.prepared_statements = state.names.size();
  out.channels = state.channels.size();
  out.state = "login";
  if (const Conversation* conversation = session.conversation()) {
    const TimePoint since = conversation->waiting_since();
    out.state = since == TimePoint{} ? "active" : "waiting";
    if (since != TimePoint{}) out.waiting = now - since;
  }
  if (state.pins != kEffectNone) {
    out.pins = describe_pins(state.pins);
    out.pinned_for = now - state.pinned_since;
  }
  return out;
}

ServerReport report(Backend& backend, const PoolKey& key) {
  ServerReport out;
  out.id = backend.identity.id;
  out.pool = key;
  out.shard = backend.pool.spec().shard;
  out.state = name_of(backend.state);
  out.address = backend.identity.address;
  out.connected_at = backend.identity.connected_at;
  out.last_request = backend.request_at;
  out.close_needed = backend.close_when_idle;
  out.remote_pid = backend.identity.server_pid;
  out.tls = backend.identity.tls;
  out.prepared_statements = backend.memory.prepared.size();
  if (backend.state == Backend::State::kActive) out.client = backend.client;
  if (backend.cancels_under_way > 0) {
    out.state = out.client != 0 ? "active_cancel" : "being_canceled";
  }
  if (backend.connected()) {
    const SocketAddress local = local_address(backend.stream().fd());
    out.local_address = local.is_unix() ? "unix" : local.host();
    out.local_port = local.port();
  }
  return out;
}

struct ClientCount {
  std::uint32_t clients = 0;
  std::uint32_t waiting = 0;
};
using ClientCounts = std::unordered_map<PoolKey, ClientCount, PoolKeyHash>;

// Clients of each (database, user), under the key of its first shard.
ClientCounts count_clients(const Worker& worker) {
  ClientCounts counts;
  for (const auto& session : worker.sessions()) {
    const Conversation* conversation = session->conversation();
    if (!conversation) continue;
    ClientCount& count = counts[{session->state().database, session->state().user, 0}];
    ++count.clients;
    if (conversation->waiting_since() != TimePoint{}) ++count.waiting;
  }
  return counts;
}

// Who keeps servers between transactions.
std::unordered_set<std::uint64_t> pinning_clients(const Worker& worker) {
  std::unordered_set<std::uint64_t> clients;
  for (const auto& session : worker.sessions()) {
    if (session->state().pins != kEffectNone) clients.insert(session->state().id);
  }
  return clients;
}

}  // namespace

PoolMode pool_mode_of(const Config& config, const DatabaseConfig* database,
                      const std::string& user) {
  const auto found = config.users.find(user);
  if (found != config.users.end() && found->second.pool_mode) return *found->second.pool_mode;
  if (database && database->pool_mode) return *database->pool_mode;
  return config.pool_mode;
}

WorkerReport survey(Worker& worker, SurveyParts parts) {
  const TimePoint now = worker.loop().now();
  const Snapshot& snapshot = *worker.snapshot();
  const ClientCounts clients = count_clients(worker);
  const auto pinning = pinning_clients(worker);
  WorkerReport out;
  out.period_seconds = worker.stat_averages().period_seconds();
  out.statements = worker.statements().size();
  for (const auto& session : worker.sessions()) {
    ++out.clients_total;
    if (!session->logged_in()) ++out.clients_in_login;
    if (parts.clients) out.clients.push_back(report(*session, now));
  }
  for (const auto& [key, pool] : worker.pools()) {
    PoolReport& entry = out.pools.emplace_back();
    const auto database = snapshot.find(key.database);
    entry.key = key;
    entry.shard = pool->spec().shard;
    entry.mode = pool_mode_of(*snapshot.config, database ? &database->config : nullptr, key.user);
    entry.counts = pool->counts();
    entry.totals = pool->statistics();
    entry.last_period = worker.stat_averages().last_period(key);
    if (const auto count = clients.find(key); count != clients.end()) {
      entry.clients = count->second.clients;
      entry.waiting = count->second.waiting;
    }
    for (const auto& backend : pool->backends()) {
      if (backend->state == Backend::State::kClosed) continue;
      const bool held = backend->state == Backend::State::kActive;
      if (held && pinning.contains(backend->client)) ++entry.pinned;
      if (parts.servers) out.servers.push_back(report(*backend, key));
    }
  }
  return out;
}

}  // namespace pgshunt
