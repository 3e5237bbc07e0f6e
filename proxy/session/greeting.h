// The last step of a login: the client is told the run-time parameters its session begins with, as
// a real server of its pool reports them with the client's startup settings applied.
//
// What a pool's servers report for given settings is remembered, so only the first login of its
// kind needs a server.
#pragma once

#include "proxy/session/server_link.h"

namespace pgshunt {

class Greeting final : public LinkOwner {
 public:
  Greeting(Session& session, Pool& pool);
  // Ends in Session::greeted(), at once or later, or in Session::close_with().
  void start();
  // Since when it waits for a server; never: not at all.
  TimePoint waiting_since() const { return link_.waiting() ? link_.waiting_since() : TimePoint{}; }

  void on_link_ready(ServerLink& link) override;
  void on_link_refused(ServerLink& link, const Error& error) override;
  void on_link_broken(ServerLink& link, const Error& error, bool in_transaction) override;
  void on_link_request_done(ServerLink&) override {}
  void on_link_drained(ServerLink&) override {}

 private:
  Session& session_;
  ServerLink link_;
};

}  // namespace pgshunt
