#include "proxy/admin/action.h"

#include <numeric>

#include "proxy/admin/ask_workers.h"
#include "proxy/database.h"
#include "proxy/proxy.h"
#include "proxy/session/conversations.h"
#include "proxy/session/session.h"

namespace pgshunt {
namespace {

// How often servers on their way out are counted again.
constexpr Clock::duration kPollInterval = std::chrono::milliseconds(20);

bool concerns(const std::string& wanted, const std::string& database) {
  return wanted.empty() || wanted == database;
}

// Closes the servers nobody uses and marks the others to follow; how many are still there.
std::uint32_t send_servers_away(Worker& worker, const std::string& database) {
  std::uint32_t left = 0;
  for (const auto& [key, pool] : worker.pools()) {
    if (!concerns(database, key.database)) continue;
    for (const auto& backend : pool->backends()) backend->close_when_idle = true;
    pool->close_idle();
    left += static_cast<std::uint32_t>(pool->backends().size());
  }
  return left;
}

std::uint32_t servers_to_close(Worker& worker, const std::string& database) {
  std::uint32_t left = 0;
  for (const auto& [key, pool] : worker.pools()) {
    if (!concerns(database, key.database)) continue;
    for (const auto& backend : pool->backends()) left += backend->close_when_idle ? 1 : 0;
  }
  return left;
}

std::uint32_t retire_servers(Worker& worker, const std::string& database) {
  for (const auto& [key, pool] : worker.pools()) {
    if (concerns(database, key.database)) pool->retire_all();
  }
  return 0;
}

const Error& killed_error() {
  static const Error error{
      sqlstate::kAdminShutdown, "terminating connection due to administrator command", {}};
  return error;
}

std::uint32_t kill_clients(Worker& worker, const std::string& database) {
  const auto& sessions = worker.sessions();
  // From the back: one that ends is replaced by the last.
  for (std::size_t i = sessions.size(); i-- > 0;) {
    if (i >= sessions.size()) continue;
    const std::string& own = sessions[i]->state().database;
    // Still logging in: it has none yet, and will wait for RESUME.
    if (own.empty() || own == kAdminDatabase || !concerns(database, own)) continue;
    sessions[i]->close_with(killed_error());
  }
  send_servers_away(worker, database);
  return 0;
}

std::uint32_t kill_client(Worker& worker, std::uint64_t id) {
  Session* session = worker.find_session(id);
  if (!session) return 0;
  session->close_with(killed_error());
  return 1;
}

}  // namespace

Action::Action(Worker& worker, AdminCommand command, Done done)
    : worker_(worker),
      command_(std::move(command)),
      done_(std::move(done)),
      poll_(worker.loop(), [this] { wait_until_none(remaining_); }) {}

void Action::start() {
  if (!command_.name.empty() && !database_exists()) {
    finish_later(Error{sqlstate::kInvalidCatalogName,
                       "there is no database \"" + command_.name + "\"",
                       "SHOW DATABASES lists them."});
    return;
  }
  switch (command_.verb) {
    case AdminVerb::kPause:
      pause();
      break;
    case AdminVerb::kResume:
      resume();
      break;
    case AdminVerb::kReload:
      reload();
      break;
    case AdminVerb::kRefreshCatalog:
      refresh_catalog();
      break;
    case AdminVerb::kSpreadSequences:
      spread_sequences();
      break;
    case AdminVerb::kReconnect:
      on_all_workers(
          [database = command_.name](Worker& there) { return retire_servers(there, database); },
          [](Action& action, std::uint32_t) { action.finish(std::string()); });
      break;
    case AdminVerb::kWaitClose:
      wait_until_none(
          [database = command_.name](Worker& there) { return servers_to_close(there, database); });
      break;
    case AdminVerb::kKill:
      kill();
      break;
    case AdminVerb::kKillClient:
      on_all_workers(
          [id = command_.client](Worker& there) { return kill_client(there, id); },
          [](Action& action, std::uint32_t killed) {
            if (killed > 0) return action.finish(std::string());
            action.finish(Error{sqlstate::kObjectNotInPrerequisiteState,
                                "there is no client " + std::to_string(action.command_.client),
                                "SHOW CLIENTS has the numbers in its column \"id\"."});
          });
      break;
    case AdminVerb::kDisable:
      set_disabled(true);
      break;
    case AdminVerb::kEnable:
      set_disabled(false);
      break;
    case AdminVerb::kShutdown:
      shut_down();
      break;
    default:
      finish_later(std::string());
      break;
  }
}

void Action::cancel() {
  poll_.cancel();
  if (command_.verb == AdminVerb::kPause) worker_.proxy().resume(command_.name);
  finish_later(Error{sqlstate::kQueryCanceled,
                     command_.verb == AdminVerb::kPause ? "PAUSE is canceled and taken back"
                                                        : "canceling command due to user request",
                     {}});
}

void Action::pause() {
  Proxy& proxy = worker_.proxy();
  if (proxy.paused(command_.name)) {
    finish_later(Error{sqlstate::kObjectNotInPrerequisiteState, "it is paused already",
                       "RESUME ends the pause."});
    return;
  }
  proxy.pause(command_.name);
  wait_until_none(
      [database = command_.name](Worker& there) { return send_servers_away(there, database); });
}

void Action::resume() {
  Proxy& proxy = worker_.proxy();
  Error error{sqlstate::kObjectNotInPrerequisiteState, {}, {}};
  if (!command_.name.empty() && proxy.paused("")) {
    error.message = "all databases are paused";
    error.hint = "RESUME without a name ends that.";
  } else if (!command_.name.empty() && !proxy.paused(command_.name)) {
    error.message = "database \"" + command_.name + "\" is not paused";
  }
  if (!error.message.empty()) return finish_later(std::move(error));
  proxy.resume(command_.name);
  finish_later(std::string());
}

void Action::reload() {
  Proxy& proxy = worker_.proxy();
  // Files are read where nobody waits for it.
  proxy.post([&proxy, home = worker_.index(), weak = weak_from_this()] {
    auto result = proxy.reload();
    proxy.workers()[home]->post([weak, result = std::move(result)](Worker&) {
      if (const auto action = weak.lock()) action->finish(result);
    });
  });
}

// Until every worker has what was read.
void Action::refresh_catalog() {
  const std::string& database = command_.name;
  if (!database.empty() && !worker_.snapshot()->databases.contains(database)) {
    return finish_later(std::string());  // made from "*": nothing is declared for it
  }
  const std::uint64_t generation = worker_.proxy().catalog_changed(database);
  wait_until_none([database, generation](Worker& there) {
    std::uint32_t left = 0;
    for (const auto& [name, each] : there.snapshot()->databases) {
      if (!each->topology || !concerns(database, name)) continue;
      left += !each->catalog || each->catalog->generation < generation ? 1 : 0;
    }
    return left;
  });
}

// Sequences of sharded tables that give the same numbers on several shards give others from then
// on.
void Action::spread_sequences() {
  Proxy& proxy = worker_.proxy();
  proxy.unique_ids().install(
      command_.name, true,
      [&proxy, home = worker_.index(), weak = weak_from_this()](const Status& done) {
        proxy.workers()[home]->post([weak, done](Worker&) {
          const auto action = weak.lock();
          if (!action) return;
          if (!done) return action->finish(done.error());
          action->refresh_catalog();
        });
      });
}

void Action::kill() {
  worker_.proxy().pause(command_.name);
  on_all_workers(
      [database = command_.name](Worker& there) { return kill_clients(there, database); },
      [](Action& action, std::uint32_t) {
        action.finish(std::string("New clients wait until RESUME."));
      });
}

void Action::set_disabled(bool disabled) {
  worker_.proxy().set_disabled(command_.name, disabled);
  finish_later(std::string());
}

void Action::shut_down() {
  Proxy& proxy = worker_.proxy();
  switch (command_.when) {
    case ShutdownWhen::kNow:
      proxy.shutdown(true);
      break;
    case ShutdownWhen::kServersFree:
      proxy.shutdown(false);
      break;
    case ShutdownWhen::kClientsGone:
      proxy.shutdown_when_clients_left();
      break;
  }
  finish_later(std::string());
}

void Action::wait_until_none(std::function<std::uint32_t(Worker&)> remaining) {
  remaining_ = std::move(remaining);
  on_all_workers(remaining_, [](Action& action, std::uint32_t left) {
    if (left == 0) return action.finish(std::string());
    action.poll_.arm_after(kPollInterval);
  });
}

void Action::on_all_workers(std::function<std::uint32_t(Worker&)> work,
                            std::function<void(Action&, std::uint32_t)> then) {
  ask_workers<std::uint32_t>(
      worker_, std::move(work),
      [weak = weak_from_this(), then = std::move(then)](const std::vector<std::uint32_t>& answers) {
        const auto action = weak.lock();
        if (!action || !action->done_) return;
        then(*action, std::accumulate(answers.begin(), answers.end(), std::uint32_t{0}));
      });
}

bool Action::database_exists() const { return worker_.snapshot()->find(command_.name) != nullptr; }

void Action::finish_later(Result<std::string> result) {
  worker_.defer([self = shared_from_this(), result = std::move(result)] { self->finish(result); });
}

void Action::finish(const Result<std::string>& result) {
  // Whoever is told may let go of us.
  const auto self = shared_from_this();
  Done done;
  done.swap(done_);
  if (done) done(result);
}

}  // namespace pgshunt
