#include "proxy/listener.h"

#include "proxy/log/log.h"

namespace pgshunt {
namespace {

// Clients accepted in one turn, so that clients who are there already are served too.
constexpr int kAcceptsPerTurn = 64;
constexpr Clock::duration kRetryAfter = std::chrono::milliseconds(100);

}  // namespace

Listener::Listener(EventLoop& loop, UniqueFd fd, OnAccept on_accept)
    : loop_(loop),
      fd_(std::move(fd)),
      on_accept_(std::move(on_accept)),
      token_(loop.add(fd_.get(), *this, kIoRead)),
      retry_(loop, [this] { loop_.modify(token_, kIoRead); }) {}

Listener::~Listener() { loop_.remove(token_); }

void Listener::on_io(std::uint32_t) {
  // Mostly there is one, and asking for a second would be for nothing; when it was one in the turn
  // before as well, a crowd is coming.
  const bool crowd = last_turn_ + 1 == loop_.turn();
  last_turn_ = loop_.turn();
  const int limit = crowd ? kAcceptsPerTurn : 1;
  const AcceptStatus status = accept_some(fd_.get(), limit, [this](Accepted accepted) {
    on_accept_(accepted.fd.release(), accepted.peer);
  });
  if (status != AcceptStatus::kNoResources) return;
  log_event(LogLevel::kError, "accept_failed", {}, "out of file descriptors or memory");
  loop_.modify(token_, kIoNone);
  retry_.arm_after(kRetryAfter);
}

}  // namespace pgshunt
