#include "proxy/session/greeting.h"

#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {

Greeting::Greeting(Session& session, Pool& pool) : session_(session), link_(session, *this, pool) {}

void Greeting::start() {
  SessionState& state = session_.state();
  if (const Pool::Reported* known = link_.pool().reported_for(state.settings.current())) {
    session_.enqueue(known->messages);
    state.known = known->parameters;
    session_.greeted();
    return;
  }
  if (link_.acquire()) on_link_ready(link_);
}

// The link has told the client every parameter it did not know: all of them.
void Greeting::on_link_ready(ServerLink& link) {
  link.pool().remember_reported(session_.state().settings.current(), session_.state().known);
  link.release_if_free();
  session_.greeted();
}

void Greeting::on_link_refused(ServerLink&, const Error& error) { session_.close_with(error); }

void Greeting::on_link_broken(ServerLink&, const Error& error, bool) { session_.close_with(error); }

}  // namespace pgshunt
