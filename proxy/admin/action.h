// The console's commands that do something, from the order to its end, however long that takes.
//
// One Action is one command under way. Owned by the console that was given the order, used on its
// worker's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "proxy/admin/command.h"
#include "proxy/worker.h"

namespace pgshunt {

class Action : public std::enable_shared_from_this<Action> {
 public:
  // Called once, from a turn of its own. A non-empty text is a notice for the user.
  using Done = std::function<void(const Result<std::string>& notice)>;

  Action(Worker& worker, AdminCommand command, Done done);

  void start();
  // The user has lost patience. A PAUSE that is waited for is taken back, as in PgBouncer; what
  // else was ordered stays ordered.
  void cancel();

 private:
  void pause();
  void resume();
  void reload();
  void refresh_catalog();
  void spread_sequences();
  void kill();
  void set_disabled(bool disabled);
  void shut_down();
  // Asks every worker how many things there are left to wait for, again and again until there are
  // none.
  void wait_until_none(std::function<std::uint32_t(Worker&)> remaining);
  // Has every worker do something; `then` gets the sum of what they returned.
  void on_all_workers(std::function<std::uint32_t(Worker&)> work,
                      std::function<void(Action&, std::uint32_t)> then);
  bool database_exists() const;
  void finish_later(Result<std::string> result);
  void finish(const Result<std::string>& result);

  Worker& worker_;
  const AdminCommand command_;
  Done done_;
  std::function<std::uint32_t(Worker&)> remaining_;
  Timer poll_;
};

}  // namespace pgshunt
