// A listening socket on the first worker's thread, which gives each client to the least busy
// worker, itself included: with one worker a login never changes threads. (Accepting in every
// worker with SO_REUSEPORT spreads connections, but long-lived ones skew.)
#pragma once

#include <functional>

#include "proxy/net/event_loop.h"
#include "proxy/net/socket.h"

namespace pgshunt {

class Listener final : public IoHandler {
 public:
  using OnAccept = std::function<void(int fd, const SocketAddress& peer)>;

  Listener(EventLoop& loop, UniqueFd fd, OnAccept on_accept);
  ~Listener();
  void on_io(std::uint32_t events) override;
  int fd() const { return fd_.get(); }

 private:
  EventLoop& loop_;
  UniqueFd fd_;
  OnAccept on_accept_;
  EventLoop::Token token_;
  Timer retry_;  // out of descriptors: not before this
  std::uint64_t last_turn_ = 0;
};

}  // namespace pgshunt
