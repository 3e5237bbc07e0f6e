#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "proxy/net/resolver.h"
#include "tests/proxy/net_test_support.h"

namespace pgshunt {
namespace {

using namespace testing;

// A name service whose answers wait for release().
class Names {
 public:
  Resolver::System system() {
    return [this](const std::string& host) -> Result<SocketAddresses> {
      std::unique_lock lock(mutex_);
      ++asked_[host];
      changed_.notify_all();
      changed_.wait(lock, [&] { return open_; });
      if (host == "missing") return Error{sqlstate::kCannotConnect, "no such host", {}};
      return SocketAddresses{*SocketAddress::numeric("10.1.2.3", 0)};
    };
  }
  void hold() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_until_asked(const std::string& host) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_[host] > 0; });
  }
  int asked(const std::string& host) {
    const std::lock_guard lock(mutex_);
    return asked_[host];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  std::map<std::string, int> asked_;
};

// An answer, as text: addresses or the error.
struct Answer {
  std::string text;
  Resolver::Callback callback() {
    return [this](const Result<SocketAddresses>& found) {
      text = found ? found->front().text() : found.error().message;
    };
  }
};

std::string ask(EventLoop& loop, Resolver& resolver, const std::string& host, std::uint16_t port) {
  Answer answer;
  const Resolver::Question question = resolver.resolve(loop, host, port, answer.callback());
  EXPECT_EQ("", answer.text) << "called from inside resolve()";
  run_until(loop, [&] { return !answer.text.empty(); });
  return answer.text;
}

TEST(Resolver, TellsWhatItKnows) {
  Names names;
  Resolver resolver({}, names.system());
  EventLoop loop;
  ask(loop, resolver, "db.example", 1);
  ask(loop, resolver, "missing", 1);
  const auto known = resolver.known();
  ASSERT_EQ(known.size(), 2u);
  EXPECT_EQ(known[0].host, "db.example");
  EXPECT_EQ(known[0].addresses.at(0).host(), "10.1.2.3");
  EXPECT_GT(known[0].time_left, std::chrono::seconds(10));
  EXPECT_LE(known[0].time_left, std::chrono::seconds(15));
  EXPECT_EQ(known[1].host, "missing");
  EXPECT_TRUE(known[1].addresses.empty());
  EXPECT_EQ(resolver.queries(), 0u);
}

TEST(Resolver, AnswersAddressesAndSocketDirectoriesAtOnce) {
  Names names;
  names.hold();  // nobody may ask
  EventLoop loop;
  Resolver resolver({}, names.system());
  EXPECT_EQ("127.0.0.1:5432", (*resolver.at_once("127.0.0.1", 5432))->front().text());
  EXPECT_EQ("[::1]:1", (*resolver.at_once("::1", 1))->front().text());
  EXPECT_EQ("unix:/run/pg/.s.PGSQL.5433", ask(loop, resolver, "/run/pg", 5433));
  EXPECT_FALSE(resolver.at_once("db", 1).has_value());
  names.release();
}

TEST(Resolver, AsksTheSystemAndRemembers) {
  Names names;
  EventLoop loop;
  Resolver resolver({}, names.system());
  EXPECT_EQ("10.1.2.3:5432", ask(loop, resolver, "db", 5432));
  EXPECT_EQ("10.1.2.3:6000", ask(loop, resolver, "db", 6000));
  EXPECT_EQ("no such host", ask(loop, resolver, "missing", 1));
  EXPECT_EQ("no such host", ask(loop, resolver, "missing", 1));
  EXPECT_EQ(1, names.asked("db"));
  EXPECT_EQ(1, names.asked("missing"));
}

TEST(Resolver, ForgetsAfterItsTime) {
  Names names;
  EventLoop loop;
  Resolver resolver({.found_ttl = 0s, .failed_ttl = 1h}, names.system());
  for (const char* host : {"db", "missing"}) {
    ask(loop, resolver, host, 1);
    ask(loop, resolver, host, 1);
  }
  EXPECT_EQ(2, names.asked("db"));
  EXPECT_EQ(1, names.asked("missing"));
  resolver.set_options({.found_ttl = 1h, .failed_ttl = 0s});
  ask(loop, resolver, "db", 1);
  ask(loop, resolver, "db", 1);
  EXPECT_EQ(3, names.asked("db"));
}

TEST(Resolver, BoundsItsCache) {
  Names names;
  EventLoop loop;
  Resolver resolver({.max_cached = 2}, names.system());
  for (const char* host : {"a", "b", "c", "d", "d"}) ask(loop, resolver, host, 1);
  EXPECT_EQ(1, names.asked("d"));
  ask(loop, resolver, "a", 1);
  EXPECT_EQ(2, names.asked("a"));
}

TEST(Resolver, AsksOnceForAllWhoWait) {
  Names names;
  names.hold();
  EventLoop loop;
  Resolver resolver({.found_ttl = 0s}, names.system());
  Answer first, second;
  const auto one = resolver.resolve(loop, "db", 1, first.callback());
  names.wait_until_asked("db");
  const auto two = resolver.resolve(loop, "db", 2, second.callback());
  names.release();
  run_until(loop, [&] { return !first.text.empty() && !second.text.empty(); });
  EXPECT_EQ("10.1.2.3:1", first.text);
  EXPECT_EQ("10.1.2.3:2", second.text);
  ask(loop, resolver, "other", 1);  // look-ups are made in order: no second one is on its way
  EXPECT_EQ(1, names.asked("db"));
}

TEST(Resolver, DoesNotCallBackWhoWithdrew) {
  Names names;
  names.hold();
  EventLoop loop;
  Resolver resolver({}, names.system());
  Answer kept;
  {
    const auto withdrawn = resolver.resolve(
        loop, "db", 1, [](const Result<SocketAddresses>&) { FAIL() << "withdrawn"; });
    names.wait_until_asked("db");
  }
  // Also one whose answer is posted already.
  const auto question = resolver.resolve(loop, "db", 1, kept.callback());
  {
    const auto at_once = resolver.resolve(
        loop, "127.0.0.1", 1, [](const Result<SocketAddresses>&) { FAIL() << "withdrawn"; });
  }
  names.release();
  run_until(loop, [&] { return !kept.text.empty(); });
}

TEST(Resolver, EndsWhileALookUpHangs) {
  const auto names = std::make_shared<Names>();
  names->hold();
  EventLoop loop;
  {
    Resolver resolver(
        {}, [names, system = names->system()](const std::string& host) { return system(host); });
    const auto question = resolver.resolve(
        loop, "db", 1, [](const Result<SocketAddresses>&) { FAIL() << "after the end"; });
    names->wait_until_asked("db");
  }
  names->release();
  loop.run_once(0ms);
}

TEST(Resolver, ServesLoopsOfManyThreads) {
  Names names;
  Resolver resolver({.found_ttl = 0s}, names.system());
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      EventLoop loop;
      for (int i = 0; i < 50; ++i) {
        const std::string host = "db" + std::to_string((t + i) % 3);
        if (i % 5 == 0) {  // asked and withdrawn
          const auto question =
              resolver.resolve(loop, host, 1, [](const Result<SocketAddresses>&) {});
        }
        if (ask(loop, resolver, host, 1) == "10.1.2.3:1") ++answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(200, answered);
}

TEST(Resolver, FindsLocalhostByTheSystem) {
  EventLoop loop;
  Resolver resolver({});
  const std::string text = ask(loop, resolver, "localhost", 5432);
  EXPECT_TRUE(text == "127.0.0.1:5432" || text == "[::1]:5432") << text;
  const std::string error = ask(loop, resolver, "no-such-host.invalid", 1);
  EXPECT_EQ(std::string::npos, error.find(':')) << error;
}

}  // namespace
}  // namespace pgshunt
