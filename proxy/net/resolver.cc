#include "proxy/net/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pgshunt {
namespace {

Result<SocketAddresses> ask_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int result = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (result != 0) return Error{sqlstate::kCannotConnect, ::gai_strerror(result), {}};
  SocketAddresses addresses;
  for (const addrinfo* info = list; info != nullptr; info = info->ai_next) {
    addresses.emplace_back(info->ai_addr, info->ai_addrlen);
  }
  ::freeaddrinfo(list);
  return {std::move(addresses)};
}

Result<SocketAddresses> with_port(Result<SocketAddresses> found, std::uint16_t port) {
  if (found) {
    for (SocketAddress& address : *found) address.set_port(port);
  }
  return found;
}

Result<SocketAddresses> only(Result<SocketAddress> address) {
  if (!address) return address.error();
  return SocketAddresses{*address};
}

}  // namespace

// Shared by the question and the thread that answers it.
struct Resolver::Question::Waiter {
  std::shared_ptr<State> state;
  EventLoop* loop;  // null once withdrawn; guarded by the state's mutex
  std::uint16_t port;
  Callback callback;  // the loop's thread only; null once called or withdrawn
};

struct Resolver::State {
  using Waiter = Question::Waiter;
  struct Cached {
    Result<SocketAddresses> answer;
    TimePoint until;
  };

  explicit State(Options initial, System asked) : options(initial), system(std::move(asked)) {}

  const Cached* fresh(const std::string& host) const {
    const auto found = cache.find(host);
    return found != cache.end() && found->second.until > Clock::now() ? &found->second : nullptr;
  }
  void remember(const std::string& host, const Result<SocketAddresses>& answer) {
    const TimePoint now = Clock::now();
    if (cache.size() >= options.max_cached) {
      std::erase_if(cache, [now](const auto& entry) { return entry.second.until <= now; });
    }
    if (cache.size() >= options.max_cached) cache.clear();
    const TimePoint until = now + (answer ? options.found_ttl : options.failed_ttl);
    cache.insert_or_assign(host, Cached{answer, until});
  }

  std::mutex mutex;  // guards all below but `system`
  Options options;
  const System system;
  std::condition_variable changed;
  bool stopping = false;
  bool ended = false;
  std::deque<std::string> names;  // to look up, each once
  std::unordered_map<std::string, std::vector<std::shared_ptr<Waiter>>> waiters;  // of `names`
  std::unordered_map<std::string, Cached> cache;
  std::thread thread;  // used by the owner only
};

Resolver::Question& Resolver::Question::operator=(Question&& other) noexcept {
  std::swap(waiter_, other.waiter_);
  return *this;
}

Resolver::Question::~Question() {
  if (!waiter_) return;
  waiter_->callback = nullptr;
  const std::lock_guard lock(waiter_->state->mutex);
  waiter_->loop = nullptr;
}

Resolver::Resolver(Options options) : Resolver(options, ask_system) {}

Resolver::Resolver(Options options, System system)
    : state_(std::make_shared<State>(options, std::move(system))) {
  state_->thread = std::thread([state = state_] { work(state); });
}

Resolver::~Resolver() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->waiters.clear();
  state_->changed.notify_all();
  const bool ended =
      state_->changed.wait_for(lock, std::chrono::seconds(1), [this] { return state_->ended; });
  lock.unlock();
  if (ended) {
    state_->thread.join();
  } else {
    state_->thread.detach();
  }
}

void Resolver::set_options(Options options) {
  const std::lock_guard lock(state_->mutex);
  state_->options = options;
}

std::optional<Result<SocketAddresses>> Resolver::at_once(const std::string& host,
                                                         std::uint16_t port) {
  if (is_unix_host(host)) return only(SocketAddress::postgres_unix(host, port));
  if (Result<SocketAddress> address = SocketAddress::numeric(host, port)) {
    return only(std::move(address));
  }
  const std::lock_guard lock(state_->mutex);
  if (const State::Cached* cached = state_->fresh(host)) return with_port(cached->answer, port);
  return std::nullopt;
}

Resolver::Question Resolver::resolve(EventLoop& loop, const std::string& host, std::uint16_t port,
                                     Callback callback) {
  Question question;
  question.waiter_ = std::make_shared<Question::Waiter>(
      Question::Waiter{state_, &loop, port, std::move(callback)});
  if (std::optional<Result<SocketAddresses>> known = at_once(host, port)) {
    loop.post([waiter = question.waiter_, answer = std::move(*known)] {
      if (waiter->callback) std::exchange(waiter->callback, nullptr)(answer);
    });
    return question;
  }
  const std::lock_guard lock(state_->mutex);
  std::vector<std::shared_ptr<Question::Waiter>>& waiting = state_->waiters[host];
  if (waiting.empty()) {
    state_->names.push_back(host);
    state_->changed.notify_all();
  }
  waiting.push_back(question.waiter_);
  return question;
}

std::vector<Resolver::Known> Resolver::known() const {
  std::vector<Known> out;
  {
    const std::lock_guard lock(state_->mutex);
    const TimePoint now = Clock::now();
    for (const auto& [host, cached] : state_->cache) {
      if (cached.until <= now) continue;
      out.push_back({host, cached.until - now, cached.answer ? *cached.answer : SocketAddresses{}});
    }
  }
  std::sort(out.begin(), out.end(), [](const Known& a, const Known& b) { return a.host < b.host; });
  return out;
}

std::size_t Resolver::queries() const {
  const std::lock_guard lock(state_->mutex);
  return state_->waiters.size();
}

void Resolver::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&] { return state->stopping || !state->names.empty(); });
    if (state->stopping) break;
    const std::string host = std::move(state->names.front());
    state->names.pop_front();
    lock.unlock();
    const Result<SocketAddresses> answer = state->system(host);
    lock.lock();
    if (state->stopping) break;
    state->remember(host, answer);
    for (const std::shared_ptr<Question::Waiter>& waiter : state->waiters[host]) {
      if (waiter->loop == nullptr) continue;
      waiter->loop->post([waiter, answer = with_port(answer, waiter->port)] {
        if (waiter->callback) std::exchange(waiter->callback, nullptr)(answer);
      });
    }
    state->waiters.erase(host);
  }
  state->ended = true;
  state->changed.notify_all();
}

}  // namespace pgshunt
