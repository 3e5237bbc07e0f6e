// Host names to addresses, off the loops: getaddrinfo blocks, so it runs on one thread the resolver
// owns, and the answer is posted back to the loop that asked. Answers are cached for a short while.
//
// Any thread may ask.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/socket.h"

namespace pgshunt {

class Resolver {
  struct State;

 public:
  // Addresses of a name, all families, best first; ports are 0. Blocks. Replaced by tests.
  using System = std::function<Result<SocketAddresses>(const std::string& host)>;
  using Callback = std::function<void(const Result<SocketAddresses>&)>;

  struct Options {
    Clock::duration found_ttl = std::chrono::seconds(15);
    Clock::duration failed_ttl = std::chrono::seconds(1);
    std::size_t max_cached = 1024;
  };

  // A question on its way, to be destroyed on the thread of the loop it was asked from, and before
  // that loop. Destroying it withdraws the callback.
  class Question {
   public:
    Question() = default;
    Question(Question&&) noexcept = default;
    Question& operator=(Question&& other) noexcept;
    ~Question();
    explicit operator bool() const { return waiter_ != nullptr; }

   private:
    friend class Resolver;
    struct Waiter;
    std::shared_ptr<Waiter> waiter_;
  };

  explicit Resolver(Options options);
  Resolver(Options options, System system);
  // Waits for a look-up in progress, but not longer than a second: DNS can take half a minute to
  // give up, and then the thread ends on its own.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // For later look-ups, after a reload of the configuration.
  void set_options(Options options);

  // What needs no look-up: addresses, Unix socket directories, and what the cache still knows.
  std::optional<Result<SocketAddresses>> at_once(const std::string& host, std::uint16_t port);

  // A name in the cache: no addresses if it was not found.
  struct Known {
    std::string host;
    Clock::duration time_left;
    SocketAddresses addresses;
  };
  std::vector<Known> known() const;  // by name
  std::size_t queries() const;       // names being looked up or waiting for it

  // Asks; `callback` is called on `loop`, never from inside this call.
  [[nodiscard]] Question resolve(EventLoop& loop, const std::string& host, std::uint16_t port,
                                 Callback callback);

 private:
  static void work(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // shared with the thread, which may outlive the resolver
};

}  // namespace pgshunt
