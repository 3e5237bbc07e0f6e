// The admin console: what a client of database "pgshunt" talks to. PgBouncer's commands with
// PgBouncer's columns wherever the meaning is the same, and what sharding adds.
//
// Rows come from all workers: each is asked on its own thread, and the answer is sent when the last
// has spoken. Nothing here blocks a worker.
#pragma once

#include <memory>

#include "proxy/session/conversation.h"

namespace pgshunt {

struct Config;
class Session;

// May this user enter the console at all (admin_users, stats_users)?
bool may_use_admin_console(const Config& config, std::string_view user);

class AdminConsole final : public Conversation {
 public:
  explicit AdminConsole(Session& session);
  ~AdminConsole() override;

  std::size_t on_client_bytes(std::string_view bytes) override;
  void on_client_slow(bool) override {}
  void deliver(std::string_view) override {}
  void on_cancel() override;
  bool idle() const override;
  bool idle_in_transaction() const override { return false; }
  TimePoint waiting_since() const override { return {}; }
  TimePoint request_since() const override { return {}; }
  void give_up_waiting(const Error&) override {}

 private:
  class Impl;
  // Shared only so that answers of other workers can find out that the console is gone.
  std::shared_ptr<Impl> impl_;
};

}  // namespace pgshunt
