// What a logged-in client talks to: a plain pool, a sharded database, or the admin console.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "proxy/deadlock/wait_graph.h"
#include "proxy/directory/database_directory.h"
#include "proxy/net/event_loop.h"

namespace pgshunt {

// What a statement reads whose client has canceled it.
inline Error canceled_by_user() {
  return {sqlstate::kQueryCanceled, "canceling statement due to user request", {}};
}

class Conversation {
 public:
  virtual ~Conversation() = default;
  // Client bytes: as many complete messages as can be served now are consumed; returns how many
  // bytes that were. What is left is shown again, with what follows, after Session::resume().
  virtual std::size_t on_client_bytes(std::string_view bytes) = 0;
  // The client's output queue ran full, or has room again.
  virtual void on_client_slow(bool slow) = 0;
  // A whole message that may go out between two replies, never inside a transaction or a result.
  virtual void deliver(std::string_view message) = 0;
  // A CancelRequest for this session.
  virtual void on_cancel() = 0;
  // Nothing is under way: the session may be ended without loss (shutdown, idle time-out).
  virtual bool idle() const = 0;
  // A transaction is open, waiting for its client.
  virtual bool idle_in_transaction() const = 0;
  // Since when the client waits for a server; the epoch if it does not.
  virtual TimePoint waiting_since() const = 0;
  // Since when a request is being served; the epoch if none is.
  virtual TimePoint request_since() const = 0;
  // Ends a wait for a server with an error of the client's own.
  virtual void give_up_waiting(const Error& error) = 0;
  // The answer to a question of this session's KeyInquiry.
  virtual void on_keys_found(std::uint64_t, std::vector<FoundKey>) {}
  // The servers it holds and the commit under way, for who looks for deadlocks.
  virtual void describe_locks(SessionLocks&) const {}
  // It waits for a server, and who holds those there are waits for it.
  virtual void wait_beyond_limits() {}
  // The answer to IdSource::install().
  virtual void on_unique_ids_installed(const Status&) {}
  // "host:port" of the server held now, empty if none; for SHOW CLIENTS.
  virtual std::string server_address() const { return {}; }
};

}  // namespace pgshunt
