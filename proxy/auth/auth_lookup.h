// auth_query: a user's secret asked of a server, over a connection of the pool that belongs to
// auth_user. One look-up at a time an object; owned by the worker, on its thread.
//
// What goes wrong is logged in full, by the server's own words; a stranger at the door is told that
// the look-up failed and no more.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "proxy/net/event_loop.h"
#include "proxy/pool/pool.h"

namespace pgshunt {

class AuthLookup final : public LeaseWaiter, public BackendDriver {
 public:
  // Called once, from a turn of its own. `found` false: the query gave no row. An empty secret: the
  // user is there, but has no password. The error is fit for the client's eyes. May destroy the
  // look-up.
  using Done =
      std::function<void(AuthLookup& lookup, const Result<std::string>& secret, bool found)>;

  AuthLookup(Worker& worker, std::string user, std::string database, Done done);
  ~AuthLookup();
  AuthLookup(const AuthLookup&) = delete;
  AuthLookup& operator=(const AuthLookup&) = delete;

  void start();

  void on_lease(Backend& backend) override;
  void on_lease_failed(const Error& error) override;
  const NameValuesPtr& wanted_settings() const override;
  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend&) override {}

 private:
  bool find_pool();
  void ask(Backend& backend);
  bool on_message(char type, std::string_view body);
  void read_row(std::string_view body);
  void give_up(const std::string& why);
  void end();
  void finish();

  Worker& worker_;
  const std::string user_;
  const std::string database_;
  Done done_;
  Timer deadline_;
  Pool* pool_ = nullptr;
  Backend* backend_ = nullptr;
  std::string query_;
  std::string secret_;
  bool found_ = false;
  bool ended_ = false;
  std::string failure_;  // what went wrong, for the log; empty: nothing did
};

}  // namespace pgshunt
